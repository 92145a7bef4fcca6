"""From one sample rate to another."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

__all__ = ["resample"]


def resample(waveform: NDArray[np.float32], from_rate: int, to_rate: int) -> NDArray[np.float32]:
    """Convert a waveform to another sample rate with soxr's high quality.

    Parameters
    ----------
    waveform : ndarray of shape (n_samples,)
        Mono samples in [-1, 1].
    from_rate, to_rate : int
        Samples per second before and after, in Hz.

    Returns
    -------
    ndarray of shape (n_samples * to_rate / from_rate,), rounded to the nearest
        What lies under half the lower of the two rates; `waveform` itself for equal rates.

    Examples
    --------
    >>> import numpy as np
    >>> from skaudio.audio import resample
    >>> resample(np.zeros(44100, np.float32), 44100, 16000).shape
    (16000,)
    """
    if from_rate == to_rate:
        return waveform
    return soxr.resample(waveform, from_rate, to_rate, quality="HQ")
