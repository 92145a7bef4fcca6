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
ScheduleName = Literal["cosine", "one_cycle", "multistep", "plateau", "staged"]

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": partial(torch.optim.SGD, momentum=0.9),
    "rmsprop": torch.optim.RMSprop,
    "adadelta": torch.optim.Adadelta,
}


def make_optimizer(optimizer: str | Callable, weight_decay: float) -> Callable[..., Any]:
    """Resolve an optimiser to a callable that wants parameters and ``lr`` only.

    Norms and biases, the parameters of one dimension, do not decay: that would bound nothing, as
    it does with kernels, but pull levels and gains towards zero.
    """
    kind = optimizer if callable(optimizer) else OPTIMIZERS[optimizer]
    return partial(_optimize_decaying, kind, weight_decay) if weight_decay else kind


def _optimize_decaying(
    kind: Callable[..., Any], weight_decay: float, groups: Sequence[dict[str, Any]], **options: Any
) -> Any:
    """Make an optimiser of parameters that decay, and of others that do not."""
    divided = []
    for group in groups:
        params = list(group["params"])
        kernels, vectors = (
            [p for p in params if (p.ndim > 1) == decays] for decays in (True, False)
        )
        divided += [group | {"params": kernels}] if kernels else []
        divided += [group | {"params": vectors, "weight_decay": 0.0}] if vectors else []
    return kind(divided, weight_decay=weight_decay, **options)


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
SCHEDULES = (*CURVES, "multistep", "plateau", "staged")


def make_schedule(
    name: str | None,
    best: BestWeights,
    patience: int,
    n_epochs: int,
    n_batches: int,
    decay: float = 0.0,
) -> LearningRate | None:
    """Make the callback that sets the learning rate; None leaves the rate alone.

    Parameters
    ----------
    name : str or None
    best : BestWeights
        Knows which column of the history tells whether the training improves.
    patience : int
        Epochs without improvement that end a stage, or the training.
    n_epochs, n_batches : int
        Epochs of the training, and batches of each.
    decay : float, default=0.0
    """
    if name in CURVES:
        return LearningRateCurve(CURVES[name], n_epochs, n_batches, decay)
    if name == "multistep":
        return MultistepLearningRate(n_epochs, n_batches, decay)
    if name == "plateau":
        return PlateauLearningRate(
            best.monitor,
            max(1, patience // 2),  # so that a lower rate is tried before the training ends
            n_batches,
            decay,
            greater_is_better=best.greater_is_better,
        )
    if name == "staged":
        return StagedLearningRate(patience, n_batches, decay)
    return LearningRate(n_batches, decay) if decay else None


class LearningRate(Callback):
    """Set the learning rate of each step, ``lr * factor / (1 + decay * n_steps)``.

    The factor of this class is 1; subclasses have others. The rate follows from the history of
    one training alone.

    Parameters
    ----------
    n_batches : int
        Steps of each epoch.
    decay : float, default=0.0
        `n_steps` counts the steps of the training, or of its stage.
    """

    def __init__(self, n_batches: int, decay: float = 0.0) -> None:
        self.n_batches = n_batches
        self.decay = decay

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Remember where in the history this training begins."""
        self.first_epoch_ = len(net.history)

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Look at the epochs before this one."""
        self.past_ = net.history[self.first_epoch_ : -1]
        self.step_ = len(self.past_) * self.n_batches
        self.stage_ = self._find_stage()

    def on_batch_begin(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Set the rate of the coming step."""
        if training:
            n_steps = self.step_ - self.stage_[1] * self.n_batches
            rate = net.lr * self._factor() / (1 + self.decay * n_steps)
            for group in net.optimizer_.param_groups:
                group["lr"] = rate
            self.step_ += 1

    def _find_stage(self) -> tuple[int, int]:
        """Return the number of the stage that an epoch belongs to, and the epoch it began with."""
        return 0, 0

    def _factor(self) -> float:
        return 1.0


class LearningRateCurve(LearningRate):
    """Follow a curve, step by step, over one training.

    Parameters
    ----------
    curve : callable
        Maps the progress of the training, from 0 to 1, to a factor of the initial rate.
    n_epochs : int
        Epochs of the training.
    n_batches, decay
        As for :class:`LearningRate`.
    """

    def __init__(
        self,
        curve: Callable[[float], float],
        n_epochs: int,
        n_batches: int,
        decay: float = 0.0,
    ) -> None:
        super().__init__(n_batches, decay)
        self.curve = curve
        self.n_epochs = n_epochs

    def _factor(self) -> float:
        return self.curve(min(1.0, self.step_ / (self.n_epochs * self.n_batches)))


class MultistepLearningRate(LearningRate):
    """Lower the learning rate tenfold after each third of the epochs.

    Parameters
    ----------
    n_epochs : int
        Epochs of the training.
    n_batches, decay
        As for :class:`LearningRate`.
    """

    def __init__(self, n_epochs: int, n_batches: int, decay: float = 0.0) -> None:
        super().__init__(n_batches, decay)
        self.n_epochs = n_epochs

    def _find_stage(self) -> tuple[int, int]:
        stage = min(2, 3 * len(self.past_) // self.n_epochs)
        return stage, -(-stage * self.n_epochs // 3)

    def _factor(self) -> float:
        return 0.1 ** self.stage_[0]


class PlateauLearningRate(LearningRate):
    """Lower the learning rate whenever a column of the history stops improving.

    Parameters
    ----------
    monitor : str
    patience : int
        Epochs without a new best value before the rate falls tenfold.
    n_batches, decay
        As for :class:`LearningRate`.
    greater_is_better : bool, default=False
    """

    def __init__(
        self,
        monitor: str,
        patience: int,
        n_batches: int,
        decay: float = 0.0,
        *,
        greater_is_better: bool = False,
    ) -> None:
        super().__init__(n_batches, decay)
        self.monitor = monitor
        self.patience = patience
        self.greater_is_better = greater_is_better

    def _find_stage(self) -> tuple[int, int]:
        sign = 1 if self.greater_is_better else -1
        return count_plateaus([sign * row[self.monitor] for row in self.past_], self.patience)

    def _factor(self) -> float:
        return 0.1 ** self.stage_[0]


class StagedLearningRate(LearningRate):
    """Lower the learning rate in stages, each starting from the best weights so far [1]_.

    A stage ends after `patience` epochs in which the validation score did not rise by more than
    0.005; the next one has a tenth of its rate and a fresh optimiser. The training ends with the
    third stage. Needs a :class:`BestWeights` callback before it.

    Parameters
    ----------
    patience : int
    n_batches, decay
        As for :class:`LearningRate`.

    References
    ----------
    .. [1] Gerczuk et al., "EmoNet: A Transfer Learning Framework for Multi-Corpus Speech
       Emotion Recognition", arXiv 2103.08310, 2021.
    """

    factors = (1.0, 0.1, 0.01)
    min_delta = 0.005

    def __init__(self, patience: int, n_batches: int, decay: float = 0.0) -> None:
        super().__init__(n_batches, decay)
        self.patience = patience

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Go back to the best weights if a stage has run its course; stop after the last."""
        rows = net.history[self.first_epoch_ :]
        ended = self._count(rows)[0]
        if ended == self._count(rows[:-1])[0]:
            return
        if ended == len(self.factors):
            raise StopTraining
        for _, callback in net.callbacks_:
            if isinstance(callback, BestWeights):
                callback.restore(net)
        net.reset_optimizer()

    def _find_stage(self) -> tuple[int, int]:
        return self._count(self.past_)

    def _factor(self) -> float:
        return self.factors[self.stage_[0]]

    def _count(self, rows: Sequence[dict[str, Any]]) -> tuple[int, int]:
        scores = [row["valid_score"] for row in rows]
        return count_plateaus(scores, self.patience, self.min_delta)


def count_plateaus(
    scores: Sequence[float], patience: int, min_delta: float = 0.0
) -> tuple[int, int]:
    """Count how often scores, one an epoch, failed to rise for `patience` epochs.

    Returns
    -------
    n_plateaus : int
    begin : int
        The first epoch after the last plateau.
    """
    plateaus, begin, best, waited = 0, 0, -math.inf, 0
    for epoch, score in enumerate(scores):
        if score > best + min_delta:
            best, waited = score, 0
        else:
            waited += 1
        if waited == patience:  # the best score stays: the next stage has to beat it, too
            plateaus, begin, waited = plateaus + 1, epoch + 1, 0
    return plateaus, begin
