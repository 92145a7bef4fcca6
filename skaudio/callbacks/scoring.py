"""What stands in the history beside the losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skorch.callbacks import Callback

__all__ = ["NamedScores", "ValidationScore"]


class ValidationScore(Callback):
    """Record loss and score of all validation clips together.

    They become ``valid_loss`` and ``valid_score``. Averages over batches would not do: clips of
    unequal length come in batches of their own, often one by one, where a concordance says
    nothing. The score of outputs that are not finite is NaN.

    Parameters
    ----------
    score : callable
        ``score(y_true, y_pred) -> float`` on arrays with one row per clip; `y_pred` holds what
        the network gives out.
    """

    def __init__(self, score: Callable[[NDArray, NDArray], float]) -> None:
        self.score = score

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Forget the epoch before."""
        self.batches_: list[tuple[torch.Tensor, ...]] = []

    def on_batch_end(
        self, net: Any, batch: Any = None, training: bool = False, y_pred: Any = None, **kwargs: Any
    ) -> None:
        """Collect a validation batch."""
        if not training:
            targets = batch[1] if isinstance(batch[1], (tuple, list)) else [batch[1]]
            self.batches_.append((y_pred.detach().cpu(), *targets))

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Score what was collected."""
        if not self.batches_:
            return
        output, target, *weight = (torch.cat(part) for part in zip(*self.batches_, strict=True))
        with torch.inference_mode():
            loss = net.get_loss(output.to(net.device), (target, weight[0] if weight else None))
        net.history.record("valid_loss", float(loss))
        finite = bool(output.isfinite().all())
        score = self.score(target.numpy(), output.numpy()) if finite else float("nan")
        net.history.record("valid_score", float(score))
        self.batches_ = []


class NamedScores(Callback):
    """Record what a network reports beside its logits, averaged over the training batches.

    A network may return ``(logits, named)``; each of the `named` scalars becomes a column of the
    history under its own name.
    """

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Forget the epoch before."""
        self.values_: dict[str, list[float]] = {}

    def on_batch_end(
        self, net: Any, training: bool = False, named: dict | None = None, **kwargs: Any
    ) -> None:
        """Collect a training batch."""
        if training:
            for name, value in (named or {}).items():
                self.values_.setdefault(name, []).append(float(value))

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Average what was collected."""
        for name, values in self.values_.items():
            net.history.record(name, float(np.mean(values)))
