"""Division of clips into a training and a validation part."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import (
    GroupKFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedShuffleSplit,
)

from skaudio.estimators._data import Dataset

__all__ = ["split_dataset"]

Indices = NDArray[np.int64]


def split_dataset(
    dataset: Dataset, fraction: float, seed: int, *, stratify: bool
) -> tuple[Dataset, Dataset]:
    """Split clips into a training and a validation part.

    Parameters
    ----------
    dataset : Dataset
        Its groups stay on one side each. Its target holds class numbers if `stratify`.
    fraction : float
        Share of clips wanted for validation, in (0, 1). With groups it is that of the fold which
        comes closest, among ``round(1 / fraction)`` folds of whole groups, two at least; where
        each of them has all clips of some class, that of groups that can be spared one by one.
    seed : int
    stratify : bool
        Keep the shares of the classes.

    Returns
    -------
    training, validation : Dataset

    Raises
    ------
    ValueError
        If there are too few clips or groups to split.
    """
    y = dataset.target
    if dataset.groups is not None:
        parts = _split_groups(y, dataset.groups, fraction, seed, stratify=stratify)
    else:
        parts = _split_clips(y, fraction, seed, stratify=stratify)
    return _rescaled(dataset.subset(parts[0])), _rescaled(dataset.subset(parts[1]))


def _rescaled(dataset: Dataset) -> Dataset:
    """Scale weights to mean 1, so that the losses of both parts are weighted means."""
    if dataset.weight is None or not dataset.weight.any():
        return dataset
    return replace(dataset, weight=dataset.weight / dataset.weight.mean())


def _split_clips(
    y: NDArray, fraction: float, seed: int, *, stratify: bool
) -> tuple[Indices, Indices]:
    n_clips = len(y)
    n_valid = max(1, round(n_clips * fraction))
    # Each class needs a clip to learn from.
    n_classes = len(np.unique(y)) if stratify else 1
    if n_clips - n_valid < max(1, n_classes):
        raise ValueError(
            f"Cannot hold back {n_valid} of {n_clips} clips for validation. Use more clips, a "
            "smaller validation_fraction, early_stopping=False, or pass X_val and y_val."
        )
    if not stratify:
        splitter = ShuffleSplit(n_splits=1, test_size=n_valid, random_state=seed)
        train, valid = next(splitter.split(y))
        return np.sort(train), np.sort(valid)
    # scikit-learn stratifies only classes of two clips at least; the others are all trained on.
    _, number, counts = np.unique(y, return_inverse=True, return_counts=True)
    common = np.flatnonzero(counts[number] >= 2)
    stratified = StratifiedShuffleSplit(
        n_splits=1, test_size=max(n_valid, np.count_nonzero(counts >= 2)), random_state=seed
    )
    _, test = next(stratified.split(common, y[common]))
    is_valid = np.zeros(n_clips, dtype=bool)
    is_valid[common[test]] = True
    # Of a rare class and a large fraction it may hold back all clips.
    for lost in np.setdiff1d(y, y[~is_valid]):
        is_valid[np.flatnonzero(y == lost)[0]] = False
    return np.flatnonzero(~is_valid), np.flatnonzero(is_valid)


def _split_groups(
    y: NDArray, groups: NDArray, fraction: float, seed: int, *, stratify: bool
) -> tuple[Indices, Indices]:
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        raise ValueError(
            "Cannot hold back a group for validation: all clips belong to one group. Pass X_val "
            "and y_val, or early_stopping=False."
        )
    # Of k folds of whole groups each holds about 1 / k of the clips; the one is taken that comes
    # closest to the wanted share.
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

    def cost(fold: tuple[Indices, Indices]) -> tuple[int, float]:
        """Count classes that would not be trained, then how far the share is off."""
        train, valid = fold
        lost = len(np.unique(y)) - len(np.unique(y[train])) if stratify else 0
        return lost, abs(len(valid) / len(y) - fraction)

    best = min((fold for fold in folds if len(fold[0]) and len(fold[1])), key=cost)
    return _spare_groups(y, groups, fraction, seed) if cost(best)[0] else best


def _spare_groups(
    y: NDArray, groups: NDArray, fraction: float, seed: int
) -> tuple[Indices, Indices]:
    """Hold back groups one by one that leave a clip of each class, up to the wanted share."""
    _, classes = np.unique(y, return_inverse=True)
    names, group_of_clip, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    n_left = np.bincount(classes)
    n_clips = np.zeros((len(names), len(n_left)), dtype=int)  # of each group and class
    np.add.at(n_clips, (group_of_clip, classes), 1)
    spare = np.flatnonzero((n_clips < n_left).all(axis=1))
    if len(spare) == 0:
        raise ValueError(
            "Cannot hold back a group for validation: each has all clips of some class, of which "
            "none would be left to learn from. Pass X_val and y_val, other groups, or "
            "early_stopping=False."
        )
    missing, held = fraction * len(y), []
    for group in np.random.RandomState(seed).permutation(spare):
        if abs(missing - sizes[group]) < missing and (n_clips[group] < n_left).all():
            missing, n_left = missing - sizes[group], n_left - n_clips[group]
            held.append(group)
    is_held = np.isin(group_of_clip, held or spare[sizes[spare].argmin()])
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def _class_counts(y: NDArray) -> list[int]:
    return np.unique(y, return_counts=True)[1].tolist()
