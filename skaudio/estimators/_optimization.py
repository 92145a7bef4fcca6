"""Optimisers by name, and learning rates that change as the training goes on.

A rate follows from the initial one, the position in the training and the history, so that a
resumed training needs no state of the callbacks here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from skorch.callbacks import Callback

from skaudio.estimators._callbacks import BestWeights
from skaudio.exceptions import StopTraining

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "OptimizerName",
    "ScheduleName",
    "StagedLearningRate",
    "cosine",
    "count_plateaus",
    "make_optimizer",
    "make_schedule",
    "one_cycle",
]

OptimizerName = Literal["adamw", "adam", "sgd", "rmsprop", "adadelta"]
ScheduleName = Literal["cosine", "one_cycle", "plateau", "staged"]

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": partial(torch.optim.SGD, momentum=0.9),
    "rmsprop": torch.optim.RMSprop,
    "adadelta": torch.optim.Adadelta,
}


def make_optimizer(optimizer: str | Callable, weight_decay: float) -> Callable[..., Any]:
    """Resolve an optimiser to a callable that wants parameters and ``lr`` only."""
    if callable(optimizer):
        return partial(optimizer, weight_decay=weight_decay) if weight_decay else optimizer
    return partial(OPTIMIZERS[optimizer], weight_decay=weight_decay)


def cosine(progress: float) -> float:
    """Fall from 1 to 0 along half a cosine [1]_.

    References
    ----------
    .. [1] Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR
       2017, equation 5.
    """
    return 0.5 * (1 + math.cos(math.pi * progress))


def one_cycle(progress: float, warm_up: float = 0.3, start: float = 0.04) -> float:
    """Rise from `start` to 1 until `warm_up`, then fall to 0, both along half a cosine [1]_.

    References
    ----------
    .. [1] Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using
       Large Learning Rates", arXiv 1708.07120, 2017.
    """
    if progress < warm_up:
        return 1 - (1 - start) * cosine(progress / warm_up)
    return cosine((progress - warm_up) / (1 - warm_up))


CURVES = {"cosine": cosine, "one_cycle": one_cycle}
SCHEDULES = (*CURVES, "plateau", "staged")


def make_schedule(
    name: str | None, best: BestWeights, patience: int, n_epochs: int, n_batches: int
) -> Callback | None:
    """Make the callback that changes the learning rate; None keeps it constant.

    Parameters
    ----------
    name : str or None
    best : BestWeights
        Knows which column of the history tells whether the training improves.
    patience : int
        Epochs without improvement that end a stage, or the training.
    n_epochs, n_batches : int
        Epochs of the training, and batches of each.
    """
    if name in CURVES:
        return LearningRateCurve(CURVES[name], n_epochs, n_batches)
    if name == "plateau":
        return PlateauLearningRate(
            best.monitor,
            max(1, patience // 2),  # so that a lower rate is tried before the training ends
            greater_is_better=best.greater_is_better,
        )
    if name == "staged":
        return StagedLearningRate(patience)
    return None


class _Schedule(Callback):
    """A callback that sets the learning rate from the history of one training."""

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Remember where in the history this training begins."""
        self.first_epoch_ = len(net.history)

    @staticmethod
    def _set_rate(net: Any, factor: float) -> None:
        for group in net.optimizer_.param_groups:
            group["lr"] = net.lr * factor


class LearningRateCurve(_Schedule):
    """Follow a curve, step by step, over one training.

    Parameters
    ----------
    curve : callable
        Maps the progress of the training, from 0 to 1, to a factor of the initial rate.
    n_epochs, n_batches : int
        Epochs of the training, and batches of each.
    """

    def __init__(self, curve: Callable[[float], float], n_epochs: int, n_batches: int) -> None:
        self.curve = curve
        self.n_epochs = n_epochs
        self.n_batches = n_batches

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Count the steps of the epochs before this one."""
        self.step_ = (len(net.history) - 1 - self.first_epoch_) * self.n_batches

    def on_batch_begin(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Set the rate of the coming step."""
        if training:
            progress = min(1.0, self.step_ / (self.n_epochs * self.n_batches))
            self._set_rate(net, self.curve(progress))
            self.step_ += 1


class PlateauLearningRate(_Schedule):
    """Lower the learning rate whenever a column of the history stops improving.

    Parameters
    ----------
    monitor : str
    patience : int, default=10
        Epochs without a new best value before the rate falls.
    factor : float, default=0.1
        What the rate is multiplied by each time.
    greater_is_better : bool, default=False
    """

    def __init__(
        self,
        monitor: str,
        patience: int = 10,
        factor: float = 0.1,
        *,
        greater_is_better: bool = False,
    ) -> None:
        self.monitor = monitor
        self.patience = patience
        self.factor = factor
        self.greater_is_better = greater_is_better

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Set the rate of this epoch."""
        sign = 1 if self.greater_is_better else -1
        past = [sign * row[self.monitor] for row in net.history[self.first_epoch_ : -1]]
        self._set_rate(net, self.factor ** count_plateaus(past, self.patience))


class StagedLearningRate(_Schedule):
    """Lower the learning rate in stages, each starting from the best weights so far [1]_.

    A stage ends after `patience` epochs in which the monitored score did not rise by
    `min_delta`; the training ends with the last stage. Needs a :class:`BestWeights` callback
    before it.

    Parameters
    ----------
    patience : int, default=20
    factors : tuple of float, default=(1.0, 0.1, 0.01)
        What the initial rate is multiplied by in each stage.
    min_delta : float, default=0.005
    monitor : str, default="valid_score"
        Column of the history, the greater the better.

    References
    ----------
    .. [1] Gerczuk et al., "EmoNet: A Transfer Learning Framework for Multi-Corpus Speech
       Emotion Recognition", arXiv 2103.08310, 2021.
    """

    def __init__(
        self,
        patience: int = 20,
        factors: tuple[float, ...] = (1.0, 0.1, 0.01),
        min_delta: float = 0.005,
        monitor: str = "valid_score",
    ) -> None:
        self.patience = patience
        self.factors = factors
        self.min_delta = min_delta
        self.monitor = monitor

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Set the rate of this epoch."""
        self._set_rate(net, self.factors[self._count(net.history[self.first_epoch_ : -1])])

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Go back to the best weights if a stage has run its course; stop after the last."""
        rows = net.history[self.first_epoch_ :]
        ended = self._count(rows)
        if ended == self._count(rows[:-1]):
            return
        if ended == len(self.factors):
            raise StopTraining
        for _, callback in net.callbacks_:
            if isinstance(callback, BestWeights):
                callback.restore(net)

    def _count(self, rows: Sequence[dict[str, Any]]) -> int:
        scores = [row[self.monitor] for row in rows]
        return count_plateaus(scores, self.patience, self.min_delta)


def count_plateaus(scores: Sequence[float], patience: int, min_delta: float = 0.0) -> int:
    """Count how often scores, one an epoch, failed to rise for `patience` epochs."""
    plateaus, best, waited = 0, -math.inf, 0
    for score in scores:
        if score > best + min_delta:
            best, waited = score, 0
        else:
            waited += 1
        if waited == patience:  # the best score stays: the next stage has to beat it, too
            plateaus, waited = plateaus + 1, 0
    return plateaus
