"""Sound files as the first step of a pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from skaudio._validation import (
    Clips,
    Interval,
    StrOptions,
    check_params,
    check_paths,
    check_waveforms,
    forget_clips,
    holds_paths,
    is_path,
    keep_index,
    remembered_rates,
)
from skaudio.audio.headers import HIGHEST_RATE, probe
from skaudio.audio.reading import read_with_rate, warn_of_upsampling
from skaudio.audio.waveform import Waveform, fix_length, resample, time_slice
from skaudio.exceptions import AudioFormatError, SampleRateError

__all__ = ["AudioLoader"]

# Files go to the workers in blocks, so that a padded result is filled as they arrive and a bad
# file stops the work soon; a worker takes a few at a time, since small ones are read faster than
# handed over.
_BLOCK = 64
_FILES_PER_TASK = 4

Recording = tuple[Waveform, int]
"""Waveform of a file, and the rate at which it was recorded."""


class AudioLoader(TransformerMixin, BaseEstimator):
    """Read sound files as waveforms of one sample rate.

    Files of any format that libsndfile knows (WAV, FLAC, Ogg, MP3 ...) are mixed to mono and
    converted to `sample_rate`, as :func:`librosa.load` does. What is already a waveform passes
    through, so that one pipeline takes files and arrays alike.

    Parameters
    ----------
    sample_rate : int or None, default=16000
        Rate in Hz that every file is converted to (by soxr, with its high quality). Features that
        follow must be set to the same rate. None converts nothing: then all files must have the
        rate of the first file seen in :meth:`fit`.
    offset : float, default=0.0
        Where in each clip to start, in seconds.
    duration : float, optional
        How much of each clip to take, in seconds; by default all that follows.
    array_rate : int, optional
        Rate in Hz of plain arrays, which carry none; they are converted to `sample_rate` as files
        are. By default they are taken to be at `sample_rate` already.
    pad : bool, default=False
        Whether clips shorter than `duration` are filled with zeros at the end. Then all have one
        length and the result is a single array.
    on_error : {"stop", "report"}, default="stop"
        Stop at the first bad file, or go through all of them and then raise one error that
        lists every bad one with its reason.
    n_jobs : int, optional
        Files read at a time, in threads unless :func:`joblib.parallel_config` says otherwise.
        None means 1, or what that context says; -1 means all cores.
    verbose : int, default=0
        Whether to show a progress bar of the files.

    Attributes
    ----------
    sample_rate_ : int or None
        Rate in Hz of the waveforms that come out; None after a fit on plain arrays with
        ``sample_rate=None``.

    See Also
    --------
    skaudio.audio.read : Read one file, or a part of it.
    skaudio.features.FeatureCache : Compute the features of each file only once.

    Notes
    -----
    Plain arrays carry no rate and are taken to be at `array_rate`. What comes out remembers its
    rate (:class:`~skaudio.audio.Waveform`), so that a transformer set to another one refuses it;
    such waveforms that come in at another rate are converted as files are. Only files, whose rates
    a user may not know, draw a warning where theirs is much lower than the wanted one.

    Waveforms are no table, so that they stay arrays whatever :meth:`set_output` or
    :func:`sklearn.set_config` asks for, but in a Series where paths came in one and pandas output
    is asked for: tables that are made of them are then joined with others by the right index.

    Examples
    --------
    >>> from skaudio.audio import AudioLoader
    >>> loader = AudioLoader(sample_rate=16000, duration=2.0, pad=True)
    >>> loader.fit_transform(["take_07.wav", "take_08.flac"]).shape  # doctest: +SKIP
    (2, 32000)
    """

    _parameter_constraints: dict = {
        "sample_rate": [Interval(Integral, 1, HIGHEST_RATE, closed="both"), None],
        "offset": [Interval(Real, 0, None, closed="left")],
        "duration": [Interval(Real, 0, None, closed="neither"), None],
        "array_rate": [Interval(Integral, 1, HIGHEST_RATE, closed="both"), None],
        "pad": ["boolean"],
        "on_error": [StrOptions({"stop", "report"})],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        sample_rate: int | None = 16000,
        offset: float = 0.0,
        duration: float | None = None,
        array_rate: int | None = None,
        pad: bool = False,
        on_error: Literal["stop", "report"] = "stop",
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.sample_rate = sample_rate
        self.offset = offset
        self.duration = duration
        self.array_rate = array_rate
        self.pad = pad
        self.on_error = on_error
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> AudioLoader:
        """Check the parameters, and learn the sample rate of the first clip if there is none.

        No samples are decoded.

        Parameters
        ----------
        X : sequence of str or pathlib.Path, or waveforms
            Paths as a list, array, Series or one-column DataFrame; or waveforms of shape
            (n_clips, n_samples) or a list of them, in [-1, 1].
        y : None
            Ignored.

        Returns
        -------
        AudioLoader
            The loader itself.

        Raises
        ------
        AudioFormatError
            If the first file has to be looked at and cannot be read (with ``on_error="report"``:
            if none can).
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
            if self.sample_rate is None:
                self.sample_rate_ = next(iter(remembered_rates(X)), None) or self.array_rate
            return self
        forget_clips(self)
        if self.sample_rate is None:
            self.sample_rate_ = self._first_rate(check_paths(X))
        return self

    def transform(self, X: Any) -> Any:
        """Read the files.

        Parameters
        ----------
        X : sequence of str or pathlib.Path, or waveforms
            As in :meth:`fit`.

        Returns
        -------
        list of Waveform of shape (n_samples,), or Waveform of shape (n_clips, n_samples)
            Mono, float32, in [-1, 1]. One array where ``pad=True`` or `X` was one; a Series of
            waveforms where `X` has an index and pandas output is asked for.

        Raises
        ------
        AudioFormatError
            If a file is missing, empty, truncated, damaged or no sound file, if it holds NaN or
            infinity, or if a clip has no samples after `offset`. The message names the file.
        SampleRateError
            If `sample_rate` is None and a clip has another rate than the first.

        Warns
        -----
        SkaudioWarning
            Once, if files were recorded at a much lower rate than they are converted to.
        """
        check_is_fitted(self)
        if not _are_paths(X):
            return keep_index(self._transform_waveforms(X), X, self)
        clips, rates = self.load(X)
        if self.sample_rate is not None:
            warn_of_upsampling(check_paths(X), rates, self.sample_rate)
        return keep_index(clips, X, self)

    def load(self, X: Any) -> tuple[Clips, list[int]]:
        """Read the files as :meth:`transform` does, and return their own rates instead of warning.

        Parameters
        ----------
        X : sequence of str or pathlib.Path

        Returns
        -------
        waveforms : list of Waveform, or Waveform of shape (n_clips, n_samples)
            As of :meth:`transform`.
        recorded_rates : list of int
            Rate in Hz at which each file was recorded.
        """
        check_is_fitted(self)
        paths = check_paths(X)
        rates: list[int] = []
        waveforms = self._without_rates(self._read(paths), rates)
        return self._gather(waveforms, len(paths)), rates

    def set_output(self, *, transform: Any = None) -> AudioLoader:
        """Set whether the index of a Series of paths is kept; waveforms are no table.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, optional
            With "pandas" it is kept.

        Returns
        -------
        AudioLoader
            The loader itself.
        """
        if transform is not None:
            self._sklearn_output_config = {"transform": transform}
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
                "AudioLoader was fitted on plain arrays, which carry no sample rate, but expected "
                "to know it. Pass sample_rate, or fit on the files."
            )
        return self.sample_rate_

    def _read(self, paths: list[str]) -> Iterator[Recording]:
        options = self.offset, self.duration, self.sample_rate, self._rate()
        errors = []
        with (
            Parallel(n_jobs=self.n_jobs, prefer="threads") as parallel,
            tqdm(total=len(paths), unit="file", disable=not self.verbose) as bar,
        ):
            for block in gen_batches(len(paths), _BLOCK):
                tasks = gen_batches(len(paths[block]), _FILES_PER_TASK)
                parts = parallel(delayed(_try_read)(paths[block][t], *options) for t in tasks)
                for recording in chain.from_iterable(parts):
                    bar.update()
                    if not isinstance(recording, AudioFormatError):
                        yield recording
                    elif self.on_error == "stop":
                        raise recording
                    else:
                        errors.append(recording)
        if errors:
            raise _report(errors, len(paths))

    @staticmethod
    def _without_rates(recordings: Iterable[Recording], rates: list[int]) -> Iterator[Waveform]:
        for waveform, rate in recordings:
            rates.append(rate)
            yield waveform

    def _transform_waveforms(self, X: Any) -> Clips:
        """Convert and cut clips that are in memory already."""
        clips = check_waveforms(self, X, reset=False)
        clips = self._convert(clips, self._rates_of(X, len(clips)))
        if self.offset == 0 and self.duration is None:
            return self._label(clips)
        wanted = time_slice(self._rate(), self.offset, self.duration)
        for i, clip in enumerate(clips):
            if len(clip) <= wanted.start:
                raise AudioFormatError(
                    f"Clip {i} has {len(clip)} samples, expected more than the {wanted.start} of "
                    f"offset={self.offset} s at {self.sample_rate_} Hz. Lower offset or leave the "
                    "clip out."
                )
        if isinstance(clips, np.ndarray):
            cut = clips[:, wanted]
            return self._label(fix_length(cut, wanted.stop - wanted.start) if self.pad else cut)
        return self._gather((clip[wanted] for clip in clips), len(clips))

    def _rates_of(self, X: Any, n_clips: int) -> list[int | None]:
        """List the rate of each waveform, None where it is the loader's."""
        remembered = remembered_rates(X) or [None] * n_clips
        return [self.array_rate if rate is None else rate for rate in remembered]

    def _convert(self, clips: Clips, rates: list[int | None]) -> Clips:
        """Convert clips that remember another rate than the loader's."""
        if all(rate in (None, self.sample_rate_) for rate in rates):
            return clips
        converted = []
        for i, (clip, rate) in enumerate(zip(clips, rates, strict=True)):
            if rate is None or rate == self._rate():
                converted.append(clip)
            elif self.sample_rate is None:
                raise _wrong_rate(f"Clip {i}", rate, self._rate())
            else:
                try:
                    converted.append(resample(clip, rate, self._rate()))
                except AudioFormatError as error:
                    raise AudioFormatError(f"Clip {i}: {error}") from None
        return np.stack(converted) if isinstance(clips, np.ndarray) else converted

    def _label(self, clips: Clips) -> Clips:
        if isinstance(clips, np.ndarray):
            return Waveform(clips, self.sample_rate_)
        return [Waveform(clip, self.sample_rate_) for clip in clips]

    def _gather(self, clips: Iterable[NDArray[np.float32]], n_clips: int) -> Clips:
        """Collect clips as they come; padded ones go straight to their row of the result."""
        if not self.pad:
            return self._label(list(clips))
        wanted = time_slice(self._rate(), self.offset, self.duration)
        rows = np.zeros((n_clips, wanted.stop - wanted.start), dtype=np.float32)
        for row, clip in zip(rows, clips, strict=True):
            row[: len(clip)] = clip
        return self._label(rows)


def _are_paths(X: Any) -> bool:
    return is_path(X) or holds_paths(X)


def _try_read(
    paths: list[str], offset: float, duration: float | None, sample_rate: int | None, wanted: int
) -> list[Recording | AudioFormatError]:
    recordings: list[Recording | AudioFormatError] = []
    for path in paths:
        try:
            waveform, recorded = read_with_rate(path, offset, duration, sample_rate)
            if sample_rate is None and recorded != wanted:
                raise _wrong_rate(path, recorded, wanted)
            recordings.append((waveform, recorded))
        except AudioFormatError as error:
            recordings.append(error)
    return recordings


def _wrong_rate(clip: str, found: int, wanted: int) -> SampleRateError:
    return SampleRateError(
        f"{clip}: recorded at {found} Hz, expected {wanted} Hz, the rate of the first clip in fit. "
        f"Pass sample_rate={wanted} to AudioLoader to convert while loading."
    )


def _report(errors: list[AudioFormatError], n_files: int) -> AudioFormatError:
    lines = "\n".join(f"  {error}" for error in errors)
    return AudioFormatError(f"{len(errors)} of {n_files} files cannot be used:\n{lines}")
