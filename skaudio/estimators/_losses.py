"""Losses by name, all called alike: ``(output, target, weight) -> scalar``."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from skaudio.losses import ConcordanceLoss, FocalLoss, OrdinalLoss

__all__ = ["CLASSIFICATION_LOSSES", "REGRESSION_LOSSES", "make_loss"]

CLASSIFICATION_LOSSES: dict[str, Callable[..., nn.Module]] = {
    "cross_entropy": nn.CrossEntropyLoss,
    "focal": FocalLoss,
    "ordinal": OrdinalLoss,
}

REGRESSION_LOSSES: dict[str, Callable[..., nn.Module]] = {
    "squared_error": nn.MSELoss,
    "absolute_error": nn.L1Loss,
    "huber": nn.HuberLoss,
    "concordance": ConcordanceLoss,
}


def make_loss(loss: str | Callable, *, label_smoothing: float = 0.0) -> nn.Module:
    """Resolve a loss to a module that takes a weight per clip.

    Parameters
    ----------
    loss : str or callable
        A callable is given the network's output and the targets, and returns one loss per clip,
        or their mean. A module is copied: the user's own stays on its device. The concordance
        loss takes the weights itself.
    label_smoothing : float, default=0.0
        Only for the cross-entropy.

    Raises
    ------
    TypeError
        If `loss` is a class.
    """
    if inspect.isclass(loss):
        raise TypeError(
            f"loss is the class {loss.__name__}, but expected an object of it. Call it: "
            f"loss={loss.__name__}()."
        )
    if isinstance(loss, ConcordanceLoss):
        return copy.deepcopy(loss)
    if isinstance(loss, nn.Module):
        return _Weighted(copy.deepcopy(loss))
    if callable(loss):
        return _Weighted(loss)
    if loss == "cross_entropy":
        return _Weighted(nn.CrossEntropyLoss(reduction="none", label_smoothing=label_smoothing))
    if loss == "concordance":
        return ConcordanceLoss()
    if loss in CLASSIFICATION_LOSSES:
        return _Weighted(CLASSIFICATION_LOSSES[loss]())
    return _Weighted(REGRESSION_LOSSES[loss](reduction="none"))


class _Weighted(nn.Module):
    """Average one loss per clip, each counted with its weight."""

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        losses: Any = self.loss(output, target)
        if losses.ndim == 0:
            if weight is None:
                return losses
            raise ValueError(
                f"loss {self.loss!r} returned one number for the batch, but weighted clips (or "
                "mixup) need one loss per clip. Return a tensor of shape (batch,)."
            )
        if losses.ndim > 1:
            losses = losses.flatten(1).mean(1)
        return losses.mean() if weight is None else (losses * weight).mean()
