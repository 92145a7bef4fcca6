"""Optimisers and learning-rate schedules by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from skorch.callbacks import Callback

from skaudio.callbacks import (
    BestWeights,
    LearningRateCurve,
    PlateauLearningRate,
    StagedLearningRate,
    cosine,
    one_cycle,
)

__all__ = ["OPTIMIZERS", "SCHEDULES", "make_optimizer", "make_schedule"]

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": partial(torch.optim.SGD, momentum=0.9),
    "rmsprop": torch.optim.RMSprop,
    "adadelta": torch.optim.Adadelta,
}

CURVES = {"cosine": cosine, "one_cycle": one_cycle}
SCHEDULES = (*CURVES, "plateau", "staged")


def make_optimizer(optimizer: str | Callable, weight_decay: float) -> Callable[..., Any]:
    """Resolve an optimiser to a callable that wants parameters and ``lr`` only."""
    if callable(optimizer):
        return partial(optimizer, weight_decay=weight_decay) if weight_decay else optimizer
    return partial(OPTIMIZERS[optimizer], weight_decay=weight_decay)


def make_schedule(
    name: str | None, keeper: BestWeights, patience: int, n_epochs: int, n_batches: int
) -> Callback | None:
    """Make the callback that changes the learning rate; None keeps it constant.

    Parameters
    ----------
    name : str or None
    keeper : BestWeights
        Knows which column of the history tells whether the training gets on.
    patience : int
        Epochs without improvement that end a stage, or the training.
    n_epochs, n_batches : int
        Epochs of the training, and batches of each.
    """
    if name in CURVES:
        return LearningRateCurve(CURVES[name], n_epochs, n_batches)
    if name == "plateau":
        return PlateauLearningRate(
            keeper.monitor,
            max(1, patience // 2),  # so that a lower rate is tried before the training ends
            greater_is_better=keeper.greater_is_better,
        )
    if name == "staged":
        return StagedLearningRate(patience)
    return None
