"""Waveforms in memory: which rate they have, which samples, how many, and at another rate."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import numpy as np
import soxr
from numpy.typing import NDArray

from skaudio.exceptions import AudioFormatError, SampleRateError

__all__ = ["Waveform", "fix_length", "n_samples_at", "resample", "time_slice"]

Dtype = TypeVar("Dtype", bound=np.generic)


class Waveform(np.ndarray):
    """Array of samples that remembers its sample rate.

    Loaded files are returned as such, so that a transformer set to another rate can refuse them
    instead of computing wrong frequencies. It is an ordinary :class:`numpy.ndarray` in all else.
    Slices, copies, pickles, results of arithmetic and samples chosen by an array keep the rate;
    every other sample, as ``waveform[::2]``, does not, nor do sums over time,
    :func:`numpy.concatenate`, and :func:`numpy.asarray`, which returns a plain array.

    Parameters
    ----------
    samples : ndarray of shape (n_samples,) or (n_clips, n_samples)
        Not copied.
    sample_rate : int
        Samples per second, in Hz.

    Attributes
    ----------
    sample_rate : int or None
        None where it is not known.

    See Also
    --------
    read : Read a file as a waveform that remembers its rate.
    AudioLoader : Read many files as such waveforms, as a step of a pipeline.

    Examples
    --------
    >>> import numpy as np
    >>> from skaudio.audio import Waveform
    >>> Waveform(np.zeros((2, 8000)), 16000)[0, :4000].sample_rate
    16000
    """

    sample_rate: int | None

    def __new__(cls, samples: NDArray[Any], sample_rate: int | None) -> Waveform:  # noqa: D102
        waveform = np.asarray(samples).view(cls)
        waveform.sample_rate = sample_rate
        return waveform

    def __array_finalize__(self, source: Any) -> None:
        self.sample_rate = getattr(source, "sample_rate", None)

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        # Neighbours lie farther apart in memory where samples are left out between them, or where
        # they are of several clips. Backwards is as near.
        has_axes = isinstance(part, Waveform) and part.ndim and self.ndim
        if has_axes and abs(part.strides[-1]) != abs(self.strides[-1]):
            part.sample_rate = None
        return part

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        # Sums over time, or another library's resampling, are no longer samples at this rate.
        if array.shape[-1:] != self.shape[-1:]:
            return array[()] if return_scalar else array
        return super().__array_wrap__(array, context, return_scalar)

    def __reduce__(self) -> Any:
        make, arguments, state = tuple(super().__reduce__())
        return make, arguments, (*state, self.sample_rate)

    def __setstate__(self, state: Any) -> None:
        *array_state, self.sample_rate = state
        super().__setstate__(tuple(array_state))


def time_slice(sample_rate: float, offset: float = 0.0, duration: float | None = None) -> slice:
    """Convert a start and a duration in seconds to a slice of samples.

    Parameters
    ----------
    sample_rate : float
        Samples per second, in Hz.
    offset : float, default=0.0
        Where to start, in seconds, >= 0.
    duration : float, optional
        How much to take, in seconds, > 0; by default all that follows. It comes to at least
        one sample.

    Returns
    -------
    slice
        From the first sample to the one after the last, rounded to the nearest.

    Raises
    ------
    ValueError
        If `offset` is negative, `duration` is not positive, or one of them is not finite.

    See Also
    --------
    fix_length : Cut or zero-pad to a number of samples.
    read : Read a part of a file, given in seconds.

    Examples
    --------
    >>> from skaudio.audio import time_slice
    >>> time_slice(8000, offset=0.5, duration=2.0)
    slice(4000, 20000, None)
    """
    if not 0 <= offset < float("inf"):
        raise ValueError(f"offset is {offset}, but expected seconds from 0 on.")
    if duration is not None and not 0 < duration < float("inf"):
        raise ValueError(f"duration is {duration}, but expected seconds over 0, or None for all.")
    start = round(offset * sample_rate)
    return slice(start, None if duration is None else start + max(1, round(duration * sample_rate)))


def fix_length(
    waveform: NDArray[Dtype], n_samples: int, align: Literal["start", "center"] = "start"
) -> NDArray[Dtype]:
    """Cut or zero-pad to exactly `n_samples`.

    Parameters
    ----------
    waveform : ndarray of shape (..., any number of samples)
        One waveform, or several of one length.
    n_samples : int
        Samples to end up with, >= 0.
    align : {"start", "center"}, default="start"
        What stays in place: the start, so that the end is cut or padded, or the centre, so that
        both ends are. Of an odd number of samples the end takes the larger part.

    Returns
    -------
    ndarray of shape (..., n_samples)
        A view of `waveform` where nothing had to be padded. A :class:`Waveform` keeps its rate.

    Raises
    ------
    ValueError
        If `align` is unknown or `n_samples` negative.

    See Also
    --------
    time_slice : Convert seconds to the samples to cut out.
    AudioLoader : Read many files, padded to one length with ``pad=True``.

    Examples
    --------
    >>> import numpy as np
    >>> from skaudio.audio import fix_length
    >>> fix_length(np.array([1.0, 2.0]), 5, align="center")
    array([0., 1., 2., 0., 0.])
    """
    if align not in ("start", "center"):
        raise ValueError(f"align is {align!r}, but expected 'start' or 'center'.")
    if n_samples < 0:
        raise ValueError(f"n_samples is {n_samples}, but expected 0 or more.")
    missing = n_samples - waveform.shape[-1]
    before = abs(missing) // 2 if align == "center" else 0
    if missing <= 0:
        return waveform[..., before : before + n_samples]
    fixed = np.zeros((*waveform.shape[:-1], n_samples), dtype=waveform.dtype)
    fixed[..., before : before + waveform.shape[-1]] = waveform
    if isinstance(waveform, Waveform):
        return Waveform(fixed, waveform.sample_rate)
    return fixed


def n_samples_at(n_samples: int, from_rate: int, to_rate: int) -> int:
    """Compute how many samples :func:`resample` returns.

    Parameters
    ----------
    n_samples : int
        Samples before.
    from_rate, to_rate : int
        Samples per second before and after, in Hz.

    Returns
    -------
    int
        ``n_samples * to_rate / from_rate``, rounded to the nearest, halves upwards.
    """
    # floor(x + 1/2) with x = n t / f is floor((2 n t + f) / (2 f)), in integers without rounding.
    return (2 * n_samples * to_rate + from_rate) // (2 * from_rate)


def resample(waveform: NDArray[np.float32], from_rate: int, to_rate: int) -> NDArray[np.float32]:
    """Convert a waveform to another sample rate.

    As :func:`librosa.resample` does: by soxr, with its high quality.

    Parameters
    ----------
    waveform : ndarray of shape (n_samples,)
        Mono samples in [-1, 1]. If it remembers its rate, that has to be `from_rate`.
    from_rate, to_rate : int
        Samples per second before and after, in Hz.

    Returns
    -------
    ndarray of shape (n_samples_at(n_samples, from_rate, to_rate),)
        What lies under half the lower of the two rates, a plain array; `waveform` itself for equal
        rates.

    Raises
    ------
    AudioFormatError
        If the waveform is too short for a single sample at `to_rate`, or so large that the
        result is not finite, or if it has another number of axes than one.
    SampleRateError
        If it remembers another rate than `from_rate`.

    See Also
    --------
    read : Read a file, and convert it to another rate.
    AudioLoader : Read many files at one rate.
    warn_of_upsampling : Warn where a higher rate leaves bands empty.

    Examples
    --------
    >>> import numpy as np
    >>> from skaudio.audio import resample
    >>> resample(np.zeros(44100, np.float32), 44100, 16000).shape
    (16000,)
    """
    remembered = getattr(waveform, "sample_rate", None)
    if remembered not in (None, from_rate):
        raise SampleRateError(
            f"waveform was recorded or loaded at {remembered} Hz, but from_rate is {from_rate}. "
            "Pass its own rate, or np.asarray(waveform), which forgets it."
        )
    plain = np.asarray(waveform)
    if plain.ndim != 1:
        raise AudioFormatError(
            f"has shape {plain.shape}, but expected one axis of samples. Convert clip by clip."
        )
    if from_rate == to_rate:
        return waveform
    if n_samples_at(len(plain), from_rate, to_rate) == 0:
        raise AudioFormatError(
            f"too short, {len(plain)} samples at {from_rate} Hz are less than one at {to_rate} Hz. "
            "Leave it out."
        )
    converted = soxr.resample(plain, from_rate, to_rate, quality="HQ")
    # The filter's weights are of both signs: it overshoots, and float32 ends at 3.4e38.
    if not np.isfinite(converted.sum(dtype=np.float64)):
        raise AudioFormatError(
            f"holds samples of up to {np.abs(plain).max():.0e}, too large to be resampled, "
            "expected samples in [-1, 1]. Divide them by the largest."
        )
    return converted
