"""From what a user passes to data sets: clips with targets, weights and groups."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from skaudio._artifacts import identify_file
from skaudio._validation import (
    Clips,
    check_features,
    check_groups,
    check_paths,
    check_sample_weight,
    check_waveforms,
    forget_clips,
    holds_paths,
    is_path,
    with_bands,
)
from skaudio.audio import probe, read, warn_of_upsampling
from skaudio.estimators._targets import Target
from skaudio.exceptions import AudioFormatError, warn

__all__ = [
    "ArrayClips",
    "ClipSource",
    "Corpus",
    "Dataset",
    "FileClips",
    "check_clips",
    "make_training_set",
    "make_validation_set",
    "search_has_groups",
]

Indices = NDArray[np.int64]

# More columns than this look like samples of a waveform rather than frames of a feature.
_MANY_FRAMES = 2000


class ClipSource(Protocol):
    """Numbered clips, each an array with time last."""

    lengths: Indices
    """Samples or frames of each clip, shape (n_clips,)."""

    n_readers: int
    """Threads that may read ahead; 0 where reading costs nothing."""

    def __len__(self) -> int: ...

    def load(self, index: int, start: int, length: int) -> NDArray[np.float32]:
        """Read `length` samples or frames of a clip from `start`; fewer where it ends."""
        ...

    def subset(self, indices: Indices) -> ClipSource: ...

    def identity(self) -> Any:
        """Return what tells these clips from others, to be hashed."""
        ...


class ArrayClips:
    """Clips in memory, or in an array mapped from a file, of which a subset makes no copy.

    Parameters
    ----------
    clips : ndarray or list of ndarray
        An array if they have one length, a list of arrays otherwise.
    rows : ndarray of int, optional
        Which of the clips these are; all by default.
    """

    n_readers = 0

    def __init__(self, clips: Clips, rows: Indices | None = None) -> None:
        self.clips = clips
        self.rows = np.arange(len(clips)) if rows is None else rows
        self.lengths = np.array([clips[row].shape[-1] for row in self.rows], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def load(self, index: int, start: int, length: int) -> NDArray[np.float32]:
        return self.clips[self.rows[index]][..., start : start + length]

    def subset(self, indices: Indices) -> ArrayClips:
        return ArrayClips(self.clips, self.rows[indices])

    def identity(self) -> Any:
        return self.clips, self.rows


class FileClips:
    """Clips in sound files, read when they are needed and only the part that is.

    Parameters
    ----------
    paths : list of str
    sample_rate : int
        Rate in Hz that files are converted to while they are read.
    n_readers : int
        Threads that read headers, and later may read batches ahead.

    Raises
    ------
    AudioFormatError
        If a file is missing or no readable sound file.
    """

    def __init__(self, paths: list[str], sample_rate: int, n_readers: int = 1) -> None:
        self.paths = paths
        self.sample_rate = sample_rate
        self.n_readers = n_readers
        with ThreadPoolExecutor(max(1, n_readers)) as pool:
            infos = list(pool.map(probe, paths))
        self.lengths = np.array([info.n_samples_at(sample_rate) for info in infos], dtype=np.int64)
        rates = [info.sample_rate for info in infos]
        warn_of_upsampling(paths, rates, sample_rate)

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, index: int, start: int, length: int) -> NDArray[np.float32]:
        waveform, _ = read(
            self.paths[index],
            offset=start / self.sample_rate,
            duration=length / self.sample_rate,
            sample_rate=self.sample_rate,
        )
        return waveform

    def subset(self, indices: Indices) -> FileClips:
        chosen = object.__new__(FileClips)  # the headers have been read
        chosen.paths = [self.paths[i] for i in indices]
        chosen.sample_rate = self.sample_rate
        chosen.n_readers = self.n_readers
        chosen.lengths = self.lengths[indices]
        return chosen

    def identity(self) -> Any:
        return self.sample_rate, [identify_file(path) for path in self.paths]


@dataclass(frozen=True)
class Dataset:
    """Clips with what is to be learned of them.

    Parameters
    ----------
    source : ClipSource
    target : ndarray of shape (n_clips,) or (n_clips, n_targets)
        As the loss wants it: class numbers, or standardised numbers.
    weight : ndarray of shape (n_clips,), optional
        How much each clip counts; None where all count the same.
    groups : ndarray of shape (n_clips,), optional
        Clips of one group, such as a speaker, must stay together.
    corpus : int, default=0
        Number of the corpus that the clips are of.
    """

    source: ClipSource
    target: NDArray
    weight: NDArray[np.float64] | None = None
    groups: NDArray | None = None
    corpus: int = 0

    def __len__(self) -> int:
        return len(self.source)

    def subset(self, indices: Indices) -> Dataset:
        """Keep these clips, in this order."""
        weight = None if self.weight is None else self.weight[indices]
        groups = None if self.groups is None else self.groups[indices]
        source, target = self.source.subset(indices), self.target[indices]
        return Dataset(source, target, weight, groups, self.corpus)

    def identity(self) -> Any:
        """Return what tells this data set from others, to be hashed."""
        # As a list, since equal groups may come as strings or objects.
        groups = None if self.groups is None else self.groups.tolist()
        return self.source.identity(), self.target, self.weight, groups


@dataclass(frozen=True)
class Corpus:
    """What a network is trained with: the clips of one corpus.

    Parameters
    ----------
    target : Target
        Learned.
    training : Dataset
    validation : Dataset or None
    name : str, optional
        Where there are several.
    """

    target: Target
    training: Dataset
    validation: Dataset | None = None
    name: str | None = None

    def identity(self) -> Any:
        """Return what tells this corpus from others, to be hashed."""
        validation = None if self.validation is None else self.validation.identity()
        return self.name, self.target.identity(), self.training.identity(), validation


def check_clips(
    estimator: Any, X: Any, sample_rate: int | None, n_readers: int, *, reset: bool
) -> ClipSource:
    """Check clips of any form.

    Parameters
    ----------
    estimator : BaseEstimator
        Learns ``n_features_in_`` when `reset`, and is held to it otherwise.
    X : features, waveforms or paths
    sample_rate : int or None
        Rate in Hz of the front end; None where clips are features.
    n_readers : int
        Threads that read files.
    reset : bool
        True in ``fit``, False afterwards.
    """
    if isinstance(X, (Iterator, Set)):
        raise AudioFormatError(
            f"Expected an array or a list of clips or paths, got a {type(X).__name__}. Pass "
            "list(X)."
        )
    if is_path(X) or holds_paths(X):
        if sample_rate is None:
            raise AudioFormatError(
                f"{type(estimator).__name__} got paths, but expected features. Pass "
                "frontend=LogMelSpectrogram(...) to read the files while training, or put "
                "AudioLoader() and LogMelSpectrogram() before it in a Pipeline."
            )
        if reset:
            forget_clips(estimator)
        return FileClips(check_paths(X), sample_rate, n_readers)
    if sample_rate is not None:
        return ArrayClips(check_waveforms(estimator, X, reset=reset, sample_rate=sample_rate))
    clips = check_features(estimator, X, reset=reset)
    _warn_of_waveforms(clips)
    return ArrayClips(with_bands(clips))


def make_training_set(
    source: ClipSource, y: Any, target: Target, sample_weight: Any, groups: Any = None, *,
    before: Target | None, rescale: bool = True, corpus: int = 0,
) -> tuple[Target, Dataset]:  # fmt: skip
    """Check what is known of clips, and leave out those of weight zero.

    Parameters
    ----------
    source : ClipSource
    y, sample_weight, groups
        As they come from the user, one entry per clip.
    target : Target
        Not learned yet.
    before : Target or None
        What an earlier training has learned.
    rescale : bool, default=True
        Whether weights are scaled to mean 1.
    corpus : int, default=0
        Number of the corpus that the clips are of.

    Returns
    -------
    target : Target
        Learned.
    dataset : Dataset
    """
    if y is None:
        raise ValueError(
            "Training requires y to be passed, but the target y is None. Pass one entry per clip."
        )
    y = target.check(y)
    _check_lengths(source, y)
    groups = _check_groups(groups, y)
    weight = None
    if sample_weight is not None:
        weight = check_sample_weight(sample_weight, source)
        kept = np.flatnonzero(weight)
        source, y, weight = source.subset(kept), y[kept], weight[kept]
        groups = None if groups is None else groups[kept]
    target = target.learn(y, weight, before)
    encoded = target.encode(y)
    weight = target.weigh(encoded, weight, rescale=rescale)
    return target, Dataset(source, encoded, weight, groups, corpus)


def make_validation_set(
    source: ClipSource, y: Any, target: Target, groups: Any, training: Dataset
) -> Dataset:
    """Check what is known of validation clips; classes weigh what they do in the training."""
    y = target.check(y, "y_val")
    _check_lengths(source, y, "_val")
    groups = _check_groups(groups, y, "_val")
    if groups is not None and training.groups is not None:
        _warn_of_shared(training.groups, groups)
    encoded = target.encode(y, "y_val")
    weight = target.weigh(encoded, None, name="y_val")
    return Dataset(source, encoded, weight, groups, training.corpus)


def search_has_groups() -> bool:
    """Tell whether a search or cross-validation that runs right now was given groups.

    It need not pass them on: only the stack of calls knows, and only of this process.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("sklearn.model_selection."):
            given = frame.f_locals.get("groups")
            params = frame.f_locals.get("params")
            if given is not None or (isinstance(params, dict) and params.get("groups") is not None):
                return True
        frame = frame.f_back
    return False


def _check_lengths(source: ClipSource, y: NDArray, suffix: str = "") -> None:
    if len(y) != len(source):
        raise ValueError(
            f"X{suffix} has {len(source)} clips, but y{suffix} has {len(y)} entries: pass one for "
            "each clip."
        )


def _check_groups(groups: Any, y: NDArray, suffix: str = "") -> NDArray | None:
    """Check that there is one group per clip; `suffix` completes names in messages."""
    if groups is None:
        return None
    groups = check_groups(groups, f"groups{suffix}")
    if groups.shape != (len(y),):
        raise ValueError(
            f"groups{suffix} has shape {groups.shape}, but y{suffix} has {len(y)} entries: pass "
            "one for each."
        )
    return groups


def _warn_of_shared(groups: NDArray, groups_val: NDArray) -> None:
    shared = np.intersect1d(groups, groups_val).tolist()
    if shared:
        warn(
            f"{len(shared)} group(s) are in both groups and groups_val, such as {shared[0]!r}: "
            "validation scores will be too high. Validate on other groups."
        )


def _warn_of_waveforms(clips: Clips) -> None:
    """Warn if one-band features are so long that they look like waveforms."""
    longest = max(clip.shape[-1] if clip.ndim == 1 else 0 for clip in clips)
    if longest > _MANY_FRAMES:
        warn(
            f"X has clips of {longest} values, which are taken for frames of one band, but look "
            "like waveforms. Pass frontend=LogMelSpectrogram(...), or put one before the estimator "
            "in a Pipeline."
        )
