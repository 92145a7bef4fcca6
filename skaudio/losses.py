"""Training losses that torch does not have: focal, ordinal, concordance."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

__all__ = [
    "CLASSIFICATION_LOSSES",
    "REGRESSION_LOSSES",
    "ClassificationLoss",
    "ConcordanceLoss",
    "FocalLoss",
    "OrdinalLoss",
    "RegressionLoss",
    "make_loss",
    "size_rule",
]


class FocalLoss(nn.Module):
    r"""Compute the focal loss: cross-entropy with less weight on clips that are already right.

    With :math:`p` the softmax probability of the clip's class :math:`y`, its loss is

    .. math:: -\alpha_y (1 - p)^\gamma \ln p

    Parameters
    ----------
    gamma : float, default=2.0
        Focusing exponent, >= 0; with 0 the loss is `alpha` times the cross-entropy.
    alpha : float or sequence of float, default=0.25
        Factor, > 0: one for all classes, or one per class in the order of the logits' columns
        (an estimator's ``classes_``).

    Raises
    ------
    ValueError
        If a parameter is out of range, or `alpha` has another number of classes than the
        logits.

    See Also
    --------
    OrdinalLoss : For classes with an order.
    torch.nn.CrossEntropyLoss : The loss without the focusing factor.

    Notes
    -----
    A network for two classes may also end in one sigmoid. That is equivalent: the softmax of
    two logits gives the second class the sigmoid of their difference. The focal loss of one
    sigmoid in [1]_ and [2]_, with 0.25 on positives and 0.75 on negatives, is
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
        if not 0 <= gamma < math.inf:
            raise ValueError(f"FocalLoss: gamma is {gamma}, but expected a finite number >= 0.")
        if factor.ndim > 1 or not (factor > 0).all() or not factor.isfinite().all():
            raise ValueError(
                f"FocalLoss: alpha is {alpha}, but expected a finite number > 0 or one per class."
            )
        self.gamma = gamma
        self.register_buffer("alpha", factor, persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of each clip, a tensor of shape ``(batch,)``."""
        self._check_classes(logits.shape[1])
        log_prob = _log_prob(logits)
        log_hit = log_prob.gather(1, target[:, None])[:, 0]
        # (1 - p) ** gamma = exp(gamma * ln(1 - p)), and 1 - p is the sum of the other classes'
        # probabilities, so that ln(1 - p) = logsumexp of their logarithms. Computed as 1 - p in
        # float32 it would round to 0 as soon as p > 1 - 2 ** -25, and its power would have no
        # gradient there.
        others = log_prob.scatter(1, target[:, None], float("-inf"))
        log_miss = torch.logsumexp(others, dim=1)
        alpha = self.alpha if self.alpha.ndim == 0 else self.alpha[target]
        return -alpha * torch.exp(self.gamma * log_miss) * log_hit

    def _check_classes(self, n_classes: int) -> None:
        if n_classes < 2:
            raise ValueError(
                "FocalLoss: got logits of one class, but expected two or more. Let the network "
                "return one column per class."
            )
        if self.alpha.ndim and len(self.alpha) != n_classes:
            raise ValueError(
                f"FocalLoss: alpha has {len(self.alpha)} factors, but there are {n_classes} "
                "classes. Give one factor per class, or one number for all."
            )

    def extra_repr(self) -> str:
        """Show the parameters."""
        return f"gamma={self.gamma}, alpha={self.alpha.tolist()}"


class OrdinalLoss(nn.Module):
    r"""Compute a cross-entropy in which near misses cost less than far ones.

    Classes have ranks :math:`r`. The target of a clip of class :math:`y` is not that class alone
    but a distribution over all classes, which falls with the distance in rank,

    .. math:: q_i = \frac{\exp(-|r_i - r_y|)}{\sum_k \exp(-|r_k - r_y|)},

    and the loss is :math:`-\sum_i q_i \ln p_i`, with :math:`p` the softmax of the logits.

    Parameters
    ----------
    order : sequence of int, optional
        Rank of each class, in the order of the logits' columns (an estimator's ``classes_``,
        which is sorted): every number from 0 to ``n_classes - 1`` once. For the columns
        "high", "low", "medium" it is ``(2, 0, 1)``. By default the columns are in order already,
        as they are where the labels are numbers.

    Raises
    ------
    ValueError
        If `order` is not a permutation of the ranks, or has another number of classes than the
        logits.

    See Also
    --------
    FocalLoss : For classes without an order.

    Notes
    -----
    Shape: logits ``(batch, n_classes)``, target ``(batch,)`` of integers; output ``(batch,)``,
    at least float32. The minimum of the loss is the entropy of :math:`q`, not zero.

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

    Labels that are strings are sorted by the alphabet: high, low, medium.

    >>> by_loudness = OrdinalLoss(order=(2, 0, 1))
    >>> by_loudness(sure_of_last, torch.tensor([0, 1, 2])).argsort().tolist()
    [2, 0, 1]
    """

    rank: Tensor | None

    def __init__(self, order: Sequence[int] | None = None) -> None:
        super().__init__()
        rank = None if order is None else torch.as_tensor(order, dtype=torch.float64)
        if rank is not None and not _is_permutation(rank):
            raise ValueError(
                f"OrdinalLoss: order is {order}, but expected one rank per class: every integer "
                "from 0 to the number of classes minus 1, once."
            )
        self.register_buffer("rank", None if rank is None else rank.long(), persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of each clip, a tensor of shape ``(batch,)``."""
        log_prob = _log_prob(logits)
        rank = self._ranks(logits)
        distance = (rank - rank[target][:, None]).abs()  # clip, class
        # exp(-distance) / sum is the softmax of -distance: each rank further costs a factor of e.
        return -(torch.softmax(-distance.to(log_prob.dtype), dim=1) * log_prob).sum(dim=1)

    def _ranks(self, logits: Tensor) -> Tensor:
        n_classes = logits.shape[1]
        if self.rank is None:
            return torch.arange(n_classes, device=logits.device)
        if len(self.rank) != n_classes:
            raise ValueError(
                f"OrdinalLoss: order has {len(self.rank)} ranks, but the logits have {n_classes} "
                "classes. Pass one rank per class."
            )
        return self.rank

    def extra_repr(self) -> str:
        """Show the parameters."""
        return "" if self.rank is None else f"order={tuple(self.rank.tolist())}"


def _is_permutation(rank: Tensor) -> bool:
    return rank.ndim == 1 and rank.sort().values.tolist() == list(range(len(rank)))


class ConcordanceLoss(nn.Module):
    r"""Compute one minus the concordance correlation coefficient, averaged over the targets.

    This is one loss for the whole batch: it compares means, variances and correlation of
    predictions and true values (:func:`skaudio.metrics.concordance_correlation` has the
    formula). A batch whose targets are all equal teaches nothing: the covariance is then zero
    whatever is predicted, so that the gradient is zero and the loss is 1 (or 0 if every
    prediction equals the target).

    Raises
    ------
    ValueError
        If output and target differ in shape.

    See Also
    --------
    skaudio.metrics.concordance_correlation : The coefficient as a metric, in float64.

    Notes
    -----
    Shape: output and target ``(batch, n_targets)``, weight ``(batch,)``, >= 0; the loss is a
    scalar in [0, 2], at least float32.

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
        """Compute the loss of the batch, a scalar."""
        output, target = _paired(output, target)
        share = _shares(weight, target)  # clip, 1
        mean_out, mean_true = (share * output).sum(0), (share * target).sum(0)
        out, true = output - mean_out, target - mean_true
        # Deviations are squared after the means are subtracted: E[x^2] - E[x]^2 would lose all
        # digits of a small variance far from zero.
        covariance = (share * out * true).sum(0)
        spread = (share * (out.square() + true.square())).sum(0) + (mean_out - mean_true).square()
        flat = spread == 0  # constant and equal: 0 / 0, which counts as perfect agreement
        return 1 - torch.where(flat, 1, 2 * covariance / torch.where(flat, 1, spread)).mean()


def _log_prob(logits: Tensor) -> Tensor:
    # One operation rather than log(softmax): a probability below 1e-45 is 0 in float32, but its
    # logarithm is an ordinary number. Half precision is widened, as a loss is a sum of many.
    return torch.log_softmax(logits, dim=1, dtype=torch.promote_types(logits.dtype, torch.float32))


def _paired(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Convert both sides to one dtype and shift them by the first clip's target.

    The loss does not change when both sides are shifted by the same number. After this shift
    constant targets are exactly zero. Otherwise ``target - mean`` would be a rounding error, and
    covariance / spread a ratio of two squared rounding errors, which may be any number.
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
    """Scale the weights of a batch to sum 1, as a column ``(batch, 1)``."""
    if weight is None:
        return torch.full_like(target[:, :1], 1 / len(target))
    weight = weight.to(target.dtype)[:, None]
    # The weights of a batch may all be zero: 0 / tiny is 0, where 0 / 0 would be NaN.
    return weight / weight.sum().clamp(min=torch.finfo(target.dtype).tiny)


ClassificationLoss = Literal["cross_entropy", "focal", "ordinal"]
RegressionLoss = Literal["squared_error", "absolute_error", "huber", "concordance"]

CLASSIFICATION_LOSSES: dict[str, Callable[..., nn.Module]] = {
    "cross_entropy": partial(nn.CrossEntropyLoss, reduction="none"),
    "focal": FocalLoss,
    "ordinal": OrdinalLoss,
}
"""Losses of logits and class numbers, by name; each returns one loss per clip."""

REGRESSION_LOSSES: dict[str, Callable[..., nn.Module]] = {
    "squared_error": partial(nn.MSELoss, reduction="none"),
    "absolute_error": partial(nn.L1Loss, reduction="none"),
    "huber": partial(nn.HuberLoss, reduction="none"),
    "concordance": ConcordanceLoss,
}
"""Losses of estimates and standardised targets, by name."""


def make_loss(loss: str | Callable, **options: Any) -> nn.Module:
    """Resolve a loss to a module that is called as ``loss(output, target, weight=None)``.

    Parameters
    ----------
    loss : str or callable
        A name of :data:`CLASSIFICATION_LOSSES` or :data:`REGRESSION_LOSSES`. A callable is called
        with the network's output and the targets, and returns one loss per clip, or their mean.
        A module is copied: the user's own stays on its device. The concordance loss takes the
        weights itself.
    **options
        Arguments of a loss given by name.

    Returns
    -------
    torch.nn.Module
        Returns the mean over the clips of the batch, each loss multiplied by the clip's weight.

    Raises
    ------
    TypeError
        If `loss` is a class.

    See Also
    --------
    ConcordanceLoss, FocalLoss, OrdinalLoss : Losses that have a name here.
    """
    if inspect.isclass(loss):
        raise TypeError(
            f"loss is the class {loss.__name__}, but expected an object of it. Call it: "
            f"loss={loss.__name__}()."
        )
    if isinstance(loss, str):
        loss = (CLASSIFICATION_LOSSES | REGRESSION_LOSSES)[loss](**options)
    elif isinstance(loss, nn.Module):
        loss = copy.deepcopy(loss)
    return loss if isinstance(loss, ConcordanceLoss) else _Weighted(loss)


def size_rule(n_clips: int) -> float:
    """Return how strongly weights are penalised, or a learning rate decays, for so many clips.

    EmoNet's rule [1]_: the fewer clips there are to learn from, the stronger.

    Parameters
    ----------
    n_clips : int
        Training clips of the corpus.

    Returns
    -------
    float

    See Also
    --------
    skaudio.networks.AdapterResNet : Its ``adapter_l2="size"`` means this.
    skaudio.estimators.AudioClassifier : Its ``lr_decay="size"`` means this.

    References
    ----------
    .. [1] Gerczuk et al., "EmoNet: A Transfer Learning Framework for Multi-Corpus Speech Emotion
       Recognition", arXiv 2103.08310, 2021.
    """
    limits = ((500, 5e-3), (1000, 2e-3), (10_000, 5e-4))
    return next((strength for limit, strength in limits if n_clips < limit), 1e-6)


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
