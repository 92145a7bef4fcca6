"""Frames of a waveform and their power spectra, from which all spectral features are computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from scipy.fft import rfft

from skaudio._validation import Interval, StrOptions

__all__ = ["FRAMING_CONSTRAINTS", "Framing", "PadMode", "Spectra", "frame_length", "make_window"]

PadMode = Literal["constant", "edge", "reflect", "symmetric"]

FRAMING_CONSTRAINTS: dict[str, list[Any]] = {
    "sample_rate": [Interval(Real, 0, None, closed="neither")],
    "n_fft": [Interval(Integral, 2, None, closed="left"), None],
    "hop_length": [Interval(Integral, 1, None, closed="left"), None],
    "win_length": [Interval(Integral, 1, None, closed="left"), None],
    "window": [str, tuple, "array-like", callable],
    "center": ["boolean"],
    "pad_mode": [StrOptions({"constant", "edge", "reflect", "symmetric"})],
}

# Frames are transformed in blocks of this many bytes: a block fits into a core's second-level cache
# (0.5 to 2 MiB), where windowing, transform and squares follow each other without a trip to main
# memory; and calls last long enough (about 1 ms) that threads seldom wait for Python's lock.
_BLOCK_BYTES = 2**19


def frame_length(transformer: Any) -> int:
    """Return `n_fft` of a transformer, or what it is by default."""
    if transformer.n_fft is not None:
        return transformer.n_fft
    # 25 ms hold at least two periods of a voice of 80 Hz, and speech hardly changes within them.
    longest = max(ceil(transformer.sample_rate / 40), transformer.win_length or 0, 2)
    return 1 << (longest - 1).bit_length()


@dataclass(frozen=True, eq=False)
class Framing:
    """Parameters of the short-time Fourier transform, with all defaults filled in.

    Parameters
    ----------
    window : ndarray of shape (n_fft,)
        Float64.
    hop_length : int
        Samples from one frame to the next.
    center : bool
        Whether frame t is centred on sample ``t * hop_length`` rather than starting there.
    pad_mode : str
        What is padded before and after a centred clip, as :func:`numpy.pad` names it.
    """

    window: NDArray[np.float64]
    hop_length: int
    center: bool
    pad_mode: str

    @classmethod
    def of(cls, transformer: Any) -> Framing:
        """Take the parameters of a transformer; those that are None are chosen as in librosa."""
        n_fft, win_length = frame_length(transformer), transformer.win_length
        if win_length is None:
            win_length = n_fft
        if win_length > n_fft:
            raise ValueError(
                f"win_length={win_length} is longer than n_fft={n_fft}. "
                "Make n_fft at least win_length, or leave n_fft=None."
            )
        hop_length = transformer.hop_length
        if hop_length is None:
            hop_length = max(win_length // 4, 1)
        window = make_window(transformer.window, win_length, n_fft)
        return cls(window, hop_length, transformer.center, transformer.pad_mode)

    @property
    def n_fft(self) -> int:
        """Samples in a frame."""
        return len(self.window)

    @property
    def n_bins(self) -> int:
        """Number of frequencies of a spectrum, from 0 Hz to half the sample rate."""
        return self.n_fft // 2 + 1

    def layer_arguments(self) -> dict[str, Any]:
        """Return the arguments of the torch layer that cuts frames in the same way."""
        return {
            "window": self.window,
            "hop_length": self.hop_length,
            "center": self.center,
            "pad_mode": self.pad_mode,
        }

    def n_frames(self, n_samples: int) -> int:
        """Compute the number of frames of a clip of `n_samples`; at least one."""
        # Frame t covers the samples [t hop, t hop + n_fft) of the padded clip, and is there if
        # t hop + n_fft <= n, so for t = 0 ... floor((n - n_fft) / hop).
        return 1 + max(n_samples - self.shortest, 0) // self.hop_length

    @property
    def shortest(self) -> int:
        """Samples of the shortest clip that fills its first frame, where it is not centred."""
        return self.n_fft - 2 * (self.n_fft // 2) * self.center

    def frames(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cut a waveform into overlapping frames, a view of shape ``(n_frames, n_fft)``."""
        margin = self.n_fft // 2 if self.center else 0
        # At least one frame must fit: margin + len(waveform) + after >= n_fft.
        after = max(margin, self.n_fft - margin - len(waveform))
        if self.center and self.pad_mode != "constant":
            mode: Any = self.pad_mode
            padded = np.pad(waveform, margin, mode=mode)
        else:
            padded = np.zeros(margin + len(waveform) + after, dtype=np.float32)
            padded[margin : margin + len(waveform)] = waveform
        # Frames overlap, so that copies would take n_fft / hop times the memory of the clip.
        step = padded.itemsize
        return as_strided(
            padded,
            shape=(self.n_frames(len(waveform)), self.n_fft),
            strides=(self.hop_length * step, step),
            writeable=False,
        )


class Spectra:
    """Compute power spectra of frames in buffers that are reused.

    Not for use by two threads at once.

    Parameters
    ----------
    window : ndarray of shape (n_fft,)
    dtype : type
        ``numpy.float64``, in which librosa computes, or ``numpy.float32``: faster, but its
        rounding hides what is 80 dB below a loud tone.
    remove_mean : bool, default=False
        Whether to subtract from each frame its mean, weighted by the window: the windowed frame
        then has nothing at 0 Hz.
    """

    def __init__(
        self, window: NDArray[np.float64], dtype: type = np.float64, *, remove_mean: bool = False
    ) -> None:
        self._window: NDArray[Any] = window.astype(dtype)
        self._remove_mean = remove_mean
        self._width = max(_BLOCK_BYTES // self._window.nbytes, 8)
        self._frames: NDArray[Any] = np.empty((self._width, len(window)), dtype=dtype)
        self._power = np.empty((self._width, len(window) // 2 + 1), dtype=np.float32)

    def blocks(self, frames: NDArray[np.float32]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield blocks of frames with their squared magnitudes.

        Parameters
        ----------
        frames : ndarray of shape (n_frames, n_fft)
            Before the window is applied.

        Yields
        ------
        where : slice
            Which frames the block holds.
        power : ndarray of shape (n_bins, n_frames_of_block)
            Squared magnitudes, >= 0; valid until the next block.
        """
        for start in range(0, len(frames), self._width):
            block = frames[start : start + self._width]
            count = len(block)
            windowed = np.multiply(block, self._window, out=self._frames[:count])
            if self._remove_mean:
                mean = windowed.sum(axis=1, keepdims=True) / self._window.sum()
                windowed -= mean * self._window
            spectra = rfft(windowed, axis=1, overwrite_x=True)
            # |X|^2 without a square root: real and imaginary parts lie in turn in memory.
            parts = spectra.view(windowed.dtype)
            np.square(parts, out=parts)
            power = self._power[:count]
            np.add(parts[:, ::2], parts[:, 1::2], out=power, casting="same_kind")
            yield slice(start, start + count), power.T


def make_window(window: Any, win_length: int, n_fft: int) -> NDArray[np.float64]:
    """Compute a window from its name, its values or a function, with zeros on both sides."""
    from librosa.filters import get_window
    from librosa.util import pad_center

    values = window
    if callable(window) or isinstance(window, (str, tuple)):
        try:
            values = get_window(window, win_length, fftbins=True)
        except ValueError as error:
            raise ValueError(
                f"window={window!r} is not a window of scipy.signal.get_window: {error}"
            ) from None
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (win_length,):
        raise ValueError(
            f"window has shape {values.shape}, but expected ({win_length},), as many values as "
            "win_length."
        )
    if not np.isfinite(values).all():
        raise ValueError("window holds NaN or infinity, but expected finite numbers.")
    return pad_center(values, size=n_fft)
