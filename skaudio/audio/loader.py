"""Sound files as the first step of a pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from skaudio._validation import (
    Clips,
    Interval,
    StrOptions,
    check_params,
    check_paths,
    check_waveforms,
    holds_paths,
    is_path,
)
from skaudio.audio.cutting import fix_length, stretch
from skaudio.audio.reading import probe, read
from skaudio.exceptions import AudioFormatError, SampleRateError

__all__ = ["AudioLoader"]

# Files go to the workers in blocks, so that a padded result is filled as they arrive and a bad
# file stops the work soon; a worker takes a few at a time, since small ones are read faster than
# handed over.
_BLOCK = 64
_AT_A_TIME = 4


class AudioLoader(TransformerMixin, BaseEstimator):
    """Read sound files as waveforms.

    Files of any format that libsndfile knows (WAV, FLAC, Ogg, MP3 ...) are mixed to mono. What
    is already a waveform passes through, so that one pipeline takes files and arrays alike.

    Parameters
    ----------
    sample_rate : int, optional
        Rate in Hz that every file is converted to. By default nothing is converted and all
        files must have the rate of the first file seen in :meth:`fit`. Waveforms carry no rate
        and are taken to be at this one.
    offset : float, default=0.0
        Where in each clip to start, in seconds.
    duration : float, optional
        How much of each clip to take, in seconds; by default all that follows.
    pad : bool, default=False
        Whether clips shorter than `duration` are filled with zeros at the end. Then all have one
        length and the result is a single array.
    on_error : {"stop", "report"}, default="stop"
        Stop at the first bad file, or go through all of them and then raise one error that
        lists every bad one with its reason.
    n_jobs : int, optional
        Files read at a time, in threads unless :func:`joblib.parallel_config` says otherwise.
        None means 1, or what that context says; -1 means all cores.

    Attributes
    ----------
    sample_rate_ : int or None
        Rate in Hz of the waveforms that come out; None after a fit on waveforms without
        `sample_rate`.

    Notes
    -----
    Waveforms are no table, so that they stay arrays whatever :meth:`set_output` or
    :func:`sklearn.set_config` asks for.

    Examples
    --------
    >>> from skaudio.audio import AudioLoader
    >>> loader = AudioLoader(sample_rate=16000, duration=2.0, pad=True)
    >>> loader.fit_transform(["take_07.wav", "take_08.flac"]).shape  # doctest: +SKIP
    (2, 32000)
    """

    _parameter_constraints: dict = {
        "sample_rate": [Interval(Integral, 1, None, closed="left"), None],
        "offset": [Interval(Real, 0, None, closed="left")],
        "duration": [Interval(Real, 0, None, closed="neither"), None],
        "pad": ["boolean"],
        "on_error": [StrOptions({"stop", "report"})],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        *,
        sample_rate: int | None = None,
        offset: float = 0.0,
        duration: float | None = None,
        pad: bool = False,
        on_error: Literal["stop", "report"] = "stop",
        n_jobs: int | None = None,
    ) -> None:
        self.sample_rate = sample_rate
        self.offset = offset
        self.duration = duration
        self.pad = pad
        self.on_error = on_error
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None) -> AudioLoader:
        """Learn the sample rate from the first file; no samples are decoded.

        Parameters
        ----------
        X : sequence of str or pathlib.Path, or waveforms
            Paths as a list, array, Series or one-column DataFrame; or waveforms of shape
            (n_clips, n_samples) or a list of them, in [-1, 1].
        y : ignored

        Returns
        -------
        AudioLoader
            The loader itself.

        Raises
        ------
        AudioFormatError
            If the first file cannot be read (with ``on_error="report"``: if none can).
        ValueError
            If a parameter is out of range, or ``pad=True`` comes without `duration`.
        """
        check_params(self)
        if self.pad and self.duration is None:
            raise ValueError(
                "pad=True needs a length to pad to, but duration is None. Pass duration in seconds."
            )
        self.sample_rate_ = self.sample_rate
        if not _are_paths(X):
            check_waveforms(self, X, reset=True)
        elif self.sample_rate is None:
            self.sample_rate_ = self._first_rate(check_paths(X))
        return self

    def transform(self, X: Any) -> Clips:
        """Read the files.

        Parameters
        ----------
        X : sequence of str or pathlib.Path, or waveforms
            As in :meth:`fit`.

        Returns
        -------
        list of ndarray of shape (n_samples,), or ndarray of shape (n_clips, n_samples)
            Mono waveforms, float32, in [-1, 1]. An array where ``pad=True`` or `X` was one.

        Raises
        ------
        AudioFormatError
            If a file is missing, empty, truncated, damaged or no sound file, if it holds NaN or
            infinity, or if a clip has no samples after `offset`. The message names the file.
        SampleRateError
            If `sample_rate` is None and a file has another rate than the first.
        """
        check_is_fitted(self)
        if _are_paths(X):
            paths = check_paths(X)
            return self._gather(self._read(paths), len(paths))
        return self._cut(check_waveforms(self, X, reset=False))

    def set_output(self, *, transform: Any = None) -> AudioLoader:
        """Do nothing: waveforms stay arrays, and a pipeline can still be set as a whole.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, optional
            What the other steps of the pipeline are asked for.

        Returns
        -------
        AudioLoader
            The loader itself.
        """
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def _first_rate(self, paths: list[str]) -> int:
        errors = []
        for path in paths:
            try:
                return probe(path).sample_rate
            except AudioFormatError as error:
                if self.on_error == "stop":
                    raise
                errors.append(error)
        raise _report(errors, len(paths))

    def _rate(self) -> int:
        if self.sample_rate_ is None:
            raise SampleRateError(
                "AudioLoader was fitted on waveforms, which carry no sample rate, but expected to "
                "know it. Pass sample_rate, or fit on the files."
            )
        return self.sample_rate_

    def _stretch(self) -> slice:
        return stretch(self._rate(), self.offset, self.duration)

    def _read(self, paths: list[str]) -> Iterator[NDArray[np.float32]]:
        options = {"offset": self.offset, "duration": self.duration}
        options["expect_rate" if self.sample_rate is None else "sample_rate"] = self._rate()
        errors = []
        with Parallel(n_jobs=self.n_jobs, prefer="threads") as parallel:
            for block in gen_batches(len(paths), _BLOCK):
                tasks = _in_parts(paths[block], _AT_A_TIME)
                parts = parallel(delayed(_try_read)(part, options) for part in tasks)
                for clip in chain.from_iterable(parts):
                    if not isinstance(clip, AudioFormatError):
                        yield clip
                    elif self.on_error == "stop":
                        raise clip
                    else:
                        errors.append(clip)
        if errors:
            raise _report(errors, len(paths))

    def _cut(self, clips: Clips) -> Clips:
        if self.offset == 0 and self.duration is None:
            return clips
        wanted = self._stretch()
        for i, clip in enumerate(clips):
            if len(clip) <= wanted.start:
                raise AudioFormatError(
                    f"Clip {i} has {len(clip)} samples, expected more than the {wanted.start} of "
                    f"offset={self.offset} s at {self.sample_rate_} Hz. Lower offset or leave the "
                    "clip out."
                )
        if isinstance(clips, np.ndarray):
            cut = clips[:, wanted]
            return fix_length(cut, wanted.stop - wanted.start) if self.pad else cut
        return self._gather((clip[wanted] for clip in clips), len(clips))

    def _gather(self, clips: Iterator[NDArray[np.float32]], n_clips: int) -> Clips:
        """Collect clips as they come; padded ones go straight to their row of the result."""
        if not self.pad:
            return list(clips)
        wanted = self._stretch()
        rows = np.zeros((n_clips, wanted.stop - wanted.start), dtype=np.float32)
        for row, clip in zip(rows, clips, strict=True):
            clip = clip[: len(row)]  # resampling may round to one sample more
            row[: len(clip)] = clip
        return rows


def _are_paths(X: Any) -> bool:
    return is_path(X) or holds_paths(X)


def _in_parts(paths: list[str], n: int) -> list[list[str]]:
    return [paths[part] for part in gen_batches(len(paths), n)]


def _try_read(paths: list[str], options: dict) -> list[NDArray[np.float32] | AudioFormatError]:
    clips: list[NDArray[np.float32] | AudioFormatError] = []
    for path in paths:
        try:
            clips.append(read(path, **options)[0])
        except AudioFormatError as error:
            clips.append(error)
    return clips


def _report(errors: list[AudioFormatError], n_files: int) -> AudioFormatError:
    lines = "\n".join(f"  {error}" for error in errors)
    return AudioFormatError(f"{len(errors)} of {n_files} files cannot be used:\n{lines}")
