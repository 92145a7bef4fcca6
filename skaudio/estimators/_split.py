"""Which clips are held back to watch the training."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import (
    GroupKFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedShuffleSplit,
)

__all__ = ["split_validation"]

Indices = NDArray[np.int64]


def split_validation(
    y: NDArray,
    groups: ArrayLike | None,
    fraction: float,
    seed: int,
    *,
    stratify: bool,
) -> tuple[Indices, Indices]:
    """Split clips into a training and a validation part.

    Parameters
    ----------
    y : ndarray of shape (n_clips,) or (n_clips, n_targets)
        Class numbers if `stratify`.
    groups : array-like of shape (n_clips,), optional
        Clips of one group, such as a speaker, stay on one side.
    fraction : float
        Share of clips wanted for validation, in (0, 1). With groups the share is met as closely
        as whole groups allow.
    seed : int
    stratify : bool
        Keep the shares of the classes.

    Returns
    -------
    train, valid : ndarray of int

    Raises
    ------
    ValueError
        If there are too few clips or groups to split.
    """
    if groups is not None:
        return _split_groups(y, np.asarray(groups), fraction, seed, stratify=stratify)
    n_clips = len(y)
    n_valid = max(1, round(n_clips * fraction))
    n_classes = len(np.unique(y)) if stratify else 1
    if n_clips - n_valid < max(1, n_classes):
        raise ValueError(
            f"Cannot hold back {n_valid} of {n_clips} clips for validation. Use more clips, a "
            "smaller validation_fraction, early_stopping=False, or pass X_val and y_val."
        )
    stratify = stratify and min(_class_counts(y)) >= 2
    splitter = (StratifiedShuffleSplit if stratify else ShuffleSplit)(
        n_splits=1, test_size=max(n_valid, n_classes if stratify else 1), random_state=seed
    )
    train, valid = next(splitter.split(np.zeros(n_clips), y))
    return np.sort(train), np.sort(valid)


def _split_groups(
    y: NDArray, groups: NDArray, fraction: float, seed: int, *, stratify: bool
) -> tuple[Indices, Indices]:
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        raise ValueError(
            "Cannot hold back a group for validation: all clips belong to one group. Pass X_val "
            "and y_val, or early_stopping=False."
        )
    n_splits = int(np.clip(round(1 / fraction), 2, n_groups))
    # Stratified folds need one class at least that reaches into all of them.
    largest = max(_class_counts(y)) if stratify else n_splits
    stratify, n_splits = stratify and largest >= 2, min(n_splits, max(2, largest))
    splitter = (StratifiedGroupKFold if stratify else GroupKFold)(
        n_splits=n_splits, shuffle=True, random_state=seed
    )
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        # Rare classes make scikit-learn warn; the best of its folds is chosen here.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        folds = list(splitter.split(np.zeros(len(y)), y, groups))

    def flaw(fold: tuple[Indices, Indices]) -> tuple[int, float]:
        train, valid = fold
        lost = len(np.unique(y)) - len(np.unique(y[train])) if stratify else 0
        return lost, abs(len(valid) / len(y) - fraction)

    return min((fold for fold in folds if len(fold[0]) and len(fold[1])), key=flaw)


def _class_counts(y: NDArray) -> list[int]:
    return np.unique(y, return_counts=True)[1].tolist()
