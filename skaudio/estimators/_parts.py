"""From what a user hands to ``fit`` to the clips to train on and those to watch with."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Set
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skaudio._validation import (
    check_features,
    check_paths,
    check_sample_weight,
    check_waveforms,
    holds_paths,
    is_path,
    with_bands,
)
from skaudio.estimators._chance import SPLIT, rng_for
from skaudio.estimators._clips import ArrayClips, ClipSource, FileClips
from skaudio.estimators._split import split_validation
from skaudio.exceptions import AudioFormatError, SkaudioWarning

__all__ = [
    "Part",
    "check_groups",
    "check_part",
    "check_source",
    "check_validation",
    "hold_back",
]

# More columns than this look like samples of a waveform rather than frames of a feature.
_MANY_FRAMES = 4000


class Part(NamedTuple):
    """Clips with what is to be learned of them."""

    source: ClipSource
    target: NDArray
    weight: NDArray[np.float64] | None

    def subset(self, indices: NDArray[np.int64]) -> Part:
        weight = None if self.weight is None else self.weight[indices]
        return Part(self.source.subset(indices), self.target[indices], weight)


def check_source(estimator: Any, X: Any, *, reset: bool) -> ClipSource:
    """Pass clips of any form through the gate."""
    if isinstance(X, (Iterator, Set)):
        raise AudioFormatError(
            f"Expected an array or a list of clips or paths, got a {type(X).__name__}. Pass "
            "list(X)."
        )
    if is_path(X) or holds_paths(X):
        return _check_files(estimator, X, reset=reset)
    if estimator.frontend is not None:
        return ArrayClips(check_waveforms(estimator, X, reset=reset))
    clips = check_features(estimator, X, reset=reset)
    if isinstance(clips, np.ndarray) and clips.ndim == 2 and clips.shape[1] > _MANY_FRAMES:
        warnings.warn(
            f"X has {clips.shape[1]} columns and is taken for sequences of one band, but looks "
            "like waveforms. Pass frontend=LogMelSpectrogram(...), or put one in front in a "
            "Pipeline.",
            SkaudioWarning,
            stacklevel=4,
        )
    return ArrayClips(with_bands(clips))


def _check_files(estimator: Any, X: Any, *, reset: bool) -> FileClips:
    if estimator.frontend is None:
        raise AudioFormatError(
            f"{type(estimator).__name__} got paths, but expected features. Pass "
            "frontend=LogMelSpectrogram(...) to read the files while training, or put "
            "AudioLoader() and LogMelSpectrogram() in front in a Pipeline."
        )
    if reset and hasattr(estimator, "n_features_in_"):
        del estimator.n_features_in_
    return FileClips(check_paths(X), estimator.frontend.sample_rate, estimator.n_workers)


def check_part(
    estimator: Any, X: Any, y: Any, sample_weight: Any, *, reset: bool, rescale: bool = True
) -> Part:
    """Check clips, targets and weights; leave out clips of weight zero.

    The estimator says what targets are: ``_check_y(y)`` checks them, ``_encode(y, weight,
    reset=)`` turns them into what the loss wants, ``_weigh(target, weight)`` combines weights.
    These are scaled to mean 1 if `rescale`, which one chunk of the data among others must not be.
    """
    _refuse_classes(estimator)
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target "
            "y is None."
        )
    source = check_source(estimator, X, reset=reset)
    y = estimator._check_y(y)
    if len(y) != len(source):
        raise ValueError(
            f"X has {len(source)} clips, but y has {len(y)} entries: give one for each clip."
        )
    weight = None
    if sample_weight is not None:
        weight = check_sample_weight(sample_weight, source)
        kept = np.flatnonzero(weight)
        source, y, weight = source.subset(kept), y[kept], weight[kept]
    target = estimator._encode(y, weight, reset=reset)
    return Part(source, target, _settle(estimator._weigh(target, weight), rescale=rescale))


def check_groups(groups: Any, sample_weight: Any, y: Any, *, suffix: str = "") -> NDArray | None:
    """Check that there is one group per clip, and leave out clips of weight zero.

    `suffix` completes the names of `groups` and `y` in messages.
    """
    if groups is None or np.ndim(y) == 0:  # without a list of targets check_part says so
        return None
    groups = np.asarray(groups)
    if groups.shape != (len(y),):
        raise ValueError(
            f"groups{suffix} has shape {groups.shape}, but y{suffix} has {len(y)} entries: give "
            "one for each."
        )
    return groups if sample_weight is None else groups[check_sample_weight(sample_weight, y) != 0]


def check_validation(estimator: Any, X: Any, y: Any, *, groups: Any, groups_val: Any) -> Part:
    """Check clips that a user brings to watch the training with."""
    if X is None or y is None:
        raise ValueError("X_val and y_val go together: pass both or neither.")
    source = check_source(estimator, X, reset=False)
    y = estimator._check_y(y, input_name="y_val")
    if len(y) != len(source):
        raise ValueError(f"X_val has {len(source)} clips, but y_val has {len(y)} entries.")
    groups_val = check_groups(groups_val, None, y, suffix="_val")
    if groups is not None and groups_val is not None:
        _warn_of_shared(groups, groups_val)
    return Part(source, estimator._encode(y, None, reset=False, input_name="y_val"), None)


def hold_back(
    part: Part, groups: NDArray | None, fraction: float, seed: int, *, stratify: bool
) -> tuple[Part, Part]:
    """Split off clips to watch the training with."""
    number = int(rng_for(seed, SPLIT).integers(2**31))
    train, valid = split_validation(part.target, groups, fraction, number, stratify=stratify)
    return part.subset(train), part.subset(valid)


def _refuse_classes(estimator: Any) -> None:
    """Refuse classes where objects of them are wanted."""
    for name in ("network", "frontend", "augmentation"):
        value = getattr(estimator, name)
        # Another class may well be a callable that builds a network.
        if isinstance(value, type) and (name != "network" or hasattr(value, "build")):
            raise TypeError(
                f"{name} is the class {value.__name__}, but expected an object of it. Call it: "
                f"{name}={value.__name__}()."
            )


def _warn_of_shared(groups: NDArray, groups_val: NDArray) -> None:
    shared = np.intersect1d(groups, groups_val).tolist()
    if shared:
        warnings.warn(
            f"{len(shared)} group(s) are in both groups and groups_val, such as {shared[0]!r}: "
            "validation scores will be too high. Validate on other groups.",
            SkaudioWarning,
            stacklevel=5,
        )


def _settle(weight: NDArray | None, *, rescale: bool) -> NDArray[np.float64] | None:
    """Scale weights to mean 1 if `rescale`; weights without effect are none at all."""
    if weight is None:
        return None
    if rescale and not weight.any():
        raise ValueError(
            "All clips weigh 0 after class_weight, so that nothing would be learned. Give a "
            "weight > 0 to a class that y holds."
        )
    if np.all(weight == (weight[0] if rescale else 1)):
        return None
    return weight / weight.mean() if rescale else weight
