"""Which samples, and how many."""

from __future__ import annotations

from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["fix_length", "stretch"]

Dtype = TypeVar("Dtype", bound=np.generic)


def stretch(sample_rate: int, offset: float = 0.0, duration: float | None = None) -> slice:
    """Say in samples what `offset` and `duration` say in seconds.

    Parameters
    ----------
    sample_rate : int
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

    Examples
    --------
    >>> from skaudio.audio import stretch
    >>> stretch(8000, offset=0.5, duration=2.0)
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
        A view of `waveform` where nothing had to be padded.

    Raises
    ------
    ValueError
        If `align` is unknown or `n_samples` negative.

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
    return fixed
