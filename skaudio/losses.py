"""Training losses beside torch's own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["ConcordanceLoss", "FocalLoss", "OrdinalLoss"]


class FocalLoss(nn.Module):
    r"""Cross-entropy that cares less for clips which are already right.

    With :math:`p` the softmax probability of the clip's class :math:`y`, its loss is

    .. math:: -\alpha_y (1 - p)^\gamma \ln p

    Parameters
    ----------
    gamma : float, default=2.0
        Focus, >= 0; 0 is `alpha` times the cross-entropy.
    alpha : float or sequence of float, default=0.25
        Factor, > 0: one for all classes, or one for each in sorted order.

    Raises
    ------
    ValueError
        If a parameter is out of range, or `alpha` has another number of classes than the
        logits.

    Notes
    -----
    Two classes may also be told apart by one sigmoid. That is the same thing: the softmax of
    two logits gives the second class the sigmoid of their difference. The focal loss of one
    sigmoid as [1]_ and [2]_ have it, 0.25 on positives and 0.75 on negatives, is
    ``FocalLoss(alpha=(0.75, 0.25))``.

    Shape: logits ``(batch, n_classes)`` with ``n_classes >= 2``, target ``(batch,)`` of
    integers; output ``(batch,)``, at least float32.

    References
    ----------
    .. [1] Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 5.
    .. [2] Gerczuk et al., "EmoNet: A Transfer Learning Framework for Multi-Corpus Speech
       Emotion Recognition", arXiv 2103.08310, 2021.

    Examples
    --------
    >>> import torch
    >>> from skaudio.losses import FocalLoss
    >>> loss = FocalLoss()(torch.tensor([[0.0, 0.0], [0.0, 4.0]]), torch.tensor([0, 1]))
    >>> [round(value, 6) for value in loss.tolist()]
    [0.043322, 1e-06]
    """

    alpha: Tensor

    def __init__(self, gamma: float = 2.0, alpha: float | Sequence[float] = 0.25) -> None:
        super().__init__()
        factor = torch.as_tensor(alpha, dtype=torch.float32)
        if not gamma >= 0:
            raise ValueError(f"FocalLoss: gamma is {gamma}, but expected a number >= 0.")
        if factor.ndim > 1 or not (factor > 0).all():
            raise ValueError(
                f"FocalLoss: alpha is {alpha}, but expected a number > 0 or one per class."
            )
        self.gamma = gamma
        self.register_buffer("alpha", factor, persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Give the loss of each clip."""
        self._check_classes(logits.shape[1])
        log_prob = _log_prob(logits)
        log_hit = log_prob.gather(1, target[:, None])[:, 0]
        # ln(1 - p) from the other classes: 1 - p itself would be lost to rounding near p = 1,
        # and its power would have no gradient there.
        others = log_prob.scatter(1, target[:, None], float("-inf"))
        log_miss = torch.logsumexp(others, dim=1)
        alpha = self.alpha if self.alpha.ndim == 0 else self.alpha[target]
        return -alpha * torch.exp(self.gamma * log_miss) * log_hit

    def _check_classes(self, n_classes: int) -> None:
        if n_classes < 2:
            raise ValueError("FocalLoss: got logits of one class, but expected two or more.")
        if self.alpha.ndim and len(self.alpha) != n_classes:
            raise ValueError(
                f"FocalLoss: alpha has {len(self.alpha)} factors, but there are {n_classes} "
                "classes. Give one factor per class, or one number for all."
            )

    def extra_repr(self) -> str:
        """Show the parameters."""
        return f"gamma={self.gamma}, alpha={self.alpha.tolist()}"


class OrdinalLoss(nn.Module):
    r"""Cross-entropy for classes with an order: near misses cost less than far ones.

    The target of a clip of class :math:`y` is not one class but a distribution around it,
    :math:`q_i = \mathrm{softmax}_i(-|i - y|)`; the loss is :math:`-\sum_i q_i \ln p_i`.

    Classes are in the order an estimator sorts them: numbers by value, strings by the
    alphabet, so ``"high" < "low" < "middle"``. Give ordered classes as numbers.

    Shape: logits ``(batch, n_classes)``, target ``(batch,)`` of integers; output ``(batch,)``,
    at least float32. Its minimum is the entropy of :math:`q`, not zero.

    References
    ----------
    .. [1] Diaz and Marathe, "Soft Labels for Ordinal Regression", CVPR 2019, equation 1.

    Examples
    --------
    >>> import torch
    >>> from skaudio.losses import OrdinalLoss
    >>> sure_of_last = torch.tensor([[0.0, 0.0, 5.0]]).expand(3, -1)
    >>> OrdinalLoss()(sure_of_last, torch.tensor([0, 1, 2])).argsort().tolist()
    [2, 1, 0]
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Give the loss of each clip."""
        log_prob = _log_prob(logits)
        classes = torch.arange(logits.shape[1], device=target.device)
        distance = (classes - target[:, None]).abs()  # clip, class
        return -(torch.softmax(-distance.to(log_prob.dtype), dim=1) * log_prob).sum(dim=1)


class ConcordanceLoss(nn.Module):
    r"""One minus the concordance correlation coefficient, averaged over the targets.

    A loss of the whole batch: it compares means, spreads and correlation of what is predicted
    and what is true (:func:`skaudio.metrics.concordance_correlation` has the formula). A batch
    without any spread in its targets teaches nothing: its gradient is zero, and its loss is 1,
    or 0 where the predictions are perfect.

    Shape: output and target ``(batch, n_targets)``, weight ``(batch,)``, >= 0; the loss is a
    scalar in [0, 2], at least float32.

    Raises
    ------
    ValueError
        If output and target differ in shape.

    References
    ----------
    .. [1] Lin, "A concordance correlation coefficient to evaluate reproducibility",
       Biometrics 45(1), 1989, equation 1.
    .. [2] Weninger et al., "Discriminatively Trained Recurrent Neural Networks for Continuous
       Dimensional Emotion Recognition from Audio", IJCAI 2016.

    Examples
    --------
    >>> import torch
    >>> from skaudio.losses import ConcordanceLoss
    >>> target = torch.tensor([[1.0], [2.0], [3.0]])
    >>> round(ConcordanceLoss()(target + 1, target).item(), 3)
    0.429
    """

    def forward(self, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Give the loss of the batch."""
        output, target = _paired(output, target)
        share = _shares(weight, target)  # clip, 1
        mean_out, mean_true = (share * output).sum(0), (share * target).sum(0)
        out, true = output - mean_out, target - mean_true
        covariance = (share * out * true).sum(0)
        spread = (share * (out.square() + true.square())).sum(0) + (mean_out - mean_true).square()
        flat = spread == 0
        return 1 - torch.where(flat, 1, 2 * covariance / torch.where(flat, 1, spread)).mean()


def _log_prob(logits: Tensor) -> Tensor:
    return torch.log_softmax(logits, dim=1, dtype=torch.promote_types(logits.dtype, torch.float32))


def _paired(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Give both sides one dtype and the first clip's target as origin.

    The origin does not change the loss. Constant targets are exactly zero then, and not a
    rounding error whose square would be divided by another one.
    """
    if output.shape != target.shape:
        raise ValueError(
            f"ConcordanceLoss: the output has shape {tuple(output.shape)}, but the target has "
            f"{tuple(target.shape)}. Both need (batch, n_targets)."
        )
    dtype = torch.promote_types(torch.promote_types(output.dtype, target.dtype), torch.float32)
    origin = target[:1].to(dtype)
    return output.to(dtype) - origin, target.to(dtype) - origin


def _shares(weight: Tensor | None, target: Tensor) -> Tensor:
    if weight is None:
        return torch.full_like(target[:, :1], 1 / len(target))
    weight = weight.to(target.dtype)[:, None]
    return weight / weight.sum().clamp(min=torch.finfo(target.dtype).tiny)
