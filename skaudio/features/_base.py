"""Base classes of the transformers of waveforms and of features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from skaudio._validation import (
    Clips,
    check_feature_names_in,
    check_waveforms,
    keep_index,
    wrap_output,
)

__all__ = ["ClipTransformer", "WaveformTransformer"]

Compute = Callable[[Sequence[NDArray[np.float32]]], list[NDArray[np.float32]]]

# A task holds at least this many samples, so that its costs outweigh joblib's own.
_TASK_SAMPLES = 2**18


# scikit-learn wraps each `transform` so that `set_output(transform="pandas")` turns its result into
# a DataFrame, which fails with three axes. The base class opts out and wraps tables only.
class ClipTransformer(  # type: ignore[call-arg]
    TransformerMixin, BaseEstimator, ABC, auto_wrap_output_keys=None
):
    """Transform clips; a result with a time axis is never made a table."""

    @abstractmethod
    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the parameters and the clips, and learn what there is to learn.

        Parameters
        ----------
        X : array-like or list of array-likes
            Clips, as :meth:`transform` takes them.
        y : None
            Ignored.

        Returns
        -------
        self
        """

    @abstractmethod
    def _transform(self, X: Any) -> Clips: ...

    def transform(self, X: Any) -> Any:
        """Transform every clip on its own.

        Parameters
        ----------
        X : array-like or list of array-likes
            Clips of the kind that the class describes: one array when all have one length, a
            list otherwise.

        Returns
        -------
        ndarray of shape (n_clips, n_bands, n_frames), or list of ndarray of shape \
                (n_bands, n_frames)
            Float32; a list for a list. Sequences of one band given without a band axis are
            returned without it. Only such a 2-D result becomes a DataFrame where
            ``set_output(transform="pandas")`` asks for it; three axes make no table, but a Series
            of clips where `X` has an index, which a table that is made of them then has as well.
        """
        result = self._transform(X)
        if isinstance(result, np.ndarray) and result.ndim == 2:
            return wrap_output("transform", result, X, self)
        return keep_index(result, X, self)

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Fit to clips and transform them; see :meth:`fit` and :meth:`transform`."""
        return self.fit(X, y).transform(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags


class WaveformTransformer(ClipTransformer):
    """Transform waveforms to features without learning anything; `fit` only checks."""

    sample_rate: float
    n_jobs: int | None

    layer_name: str | None = None
    """Name in :mod:`skaudio.layers` of the module that computes the same, if there is one."""

    @abstractmethod
    def _plan(self) -> Compute:
        """Check the parameters and return the function from clips to their features."""

    @abstractmethod
    def _band_names(self) -> list[str]: ...

    def n_filter_values(self) -> int:
        """Count the values of the filters that a module in a network would hold.

        Nothing is computed, whatever the number.

        Returns
        -------
        int
        """
        return 0

    def _warn(self, plan: Any) -> None:
        """Warn of parameters that work but are probably not what was meant."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the parameters and the clips; nothing is learned.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_samples), or list of ndarray of shape (n_samples,)
            Mono waveforms in [-1, 1].
        y : None
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        AudioFormatError
            If a clip is not a waveform, or a path.
        SampleRateError
            If a clip remembers another sample rate than `sample_rate`.
        ValueError
            If a parameter is out of range or does not fit the others.
        """
        self._check()
        check_waveforms(self, X, reset=True, sample_rate=self.sample_rate)
        return self

    def _check(self) -> None:
        """Refuse impossible parameters, and warn of those that are probably not what was meant."""
        self._warn(self._plan())

    def _transform(self, X: Any) -> Clips:
        compute = self._plan()
        clips = check_waveforms(self, X, reset=False, sample_rate=self.sample_rate)
        return _map_clips(compute, clips, self.n_jobs)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the bands, the second axis of what :meth:`transform` returns.

        Parameters
        ----------
        input_features : array-like of str, optional
            Checked against the samples seen in ``fit``, and not used.

        Returns
        -------
        ndarray of shape (n_bands,), str
        """
        if input_features is not None:
            check_feature_names_in(self, input_features)
        return np.asarray(self._band_names(), dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags


def _map_clips(compute: Compute, clips: Clips, n_jobs: int | None) -> Clips:
    """Apply `compute` to groups of clips in parallel; results are stored as they arrive."""
    tasks = _tasks([len(clip) for clip in clips])
    # numpy and scipy release Python's lock while they compute, so that threads suffice.
    results = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")(
        delayed(compute)(clips[task]) for task in tasks
    )
    if isinstance(clips, list):
        return [feature for part in results for feature in part]
    output: NDArray[np.float32] = np.empty(0, dtype=np.float32)
    for task, part in zip(tasks, results, strict=True):
        if task.start == 0:
            output = np.empty((len(clips), *part[0].shape), dtype=np.float32)
        for feature, place in zip(part, output[task], strict=True):
            place[...] = feature
    return output


def _tasks(lengths: list[int]) -> list[slice]:
    """Group neighbouring clips so that each group but the last has _TASK_SAMPLES or more."""
    # All samples laid end to end are cut into pieces of _TASK_SAMPLES; a clip belongs to the piece
    # in which it ends.
    ends = np.cumsum(lengths)
    numbers = (ends - 1) // _TASK_SAMPLES
    edges = [0, *(np.flatnonzero(np.diff(numbers)) + 1), len(lengths)]
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]
