"""Mel bands and their logarithm, for log-mel spectrograms and MFCC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skaudio._validation import Interval, StrOptions
from skaudio.exceptions import warn
from skaudio.features._stft import FRAMING_CONSTRAINTS, Framing, Spectra

__all__ = [
    "LEAST_POWER",
    "MEL_CONSTRAINTS",
    "Decibels",
    "LogMelPlan",
    "NaturalLog",
    "NoLog",
    "mel_filters",
    "warn_of_empty_bands",
]

LEAST_POWER = 1e-37
"""Smaller numbers lose their bits in float32, or are 0."""

MEL_CONSTRAINTS: dict[str, list[Any]] = {
    **FRAMING_CONSTRAINTS,
    "power": [Interval(Real, 0, None, closed="neither")],
    "n_mels": [Interval(Integral, 1, None, closed="left")],
    "fmin": [Interval(Real, 0, None, closed="left")],
    "fmax": [Interval(Real, 0, None, closed="neither"), None],
    "htk": ["boolean"],
    "triangles": [StrOptions({"hz", "mel"})],
    "amin": [Interval(Real, LEAST_POWER, None, closed="left")],
    "top_db": [Interval(Real, 0, None, closed="left"), None],
    "n_jobs": [Integral, None],
}


def mel_filters(transformer: Any, norm: Any, n_fft: int) -> NDArray[np.float32]:
    """Compute the filter bank that a transformer's parameters describe.

    Parameters
    ----------
    transformer : object
        With ``sample_rate``, ``n_mels``, ``fmin``, ``fmax``, ``htk`` and ``triangles``.
    norm : {"slaney"}, float or None
        As in :func:`librosa.filters.mel`.
    n_fft : int

    Returns
    -------
    ndarray of shape (n_mels, n_fft // 2 + 1)
        Weights, >= 0.

    Raises
    ------
    ValueError
        If the range of frequencies is empty or goes beyond half the sample rate.
    """
    import librosa

    sample_rate, fmin = transformer.sample_rate, transformer.fmin
    fmax = sample_rate / 2 if transformer.fmax is None else transformer.fmax
    if fmax > sample_rate / 2:
        raise ValueError(
            f"fmax={fmax} Hz is above {sample_rate / 2:g} Hz, half of sample_rate={sample_rate}, "
            "above which a recording holds no frequencies. Lower fmax, or leave fmax=None."
        )
    if fmin >= fmax:
        raise ValueError(f"fmin={fmin} Hz is not below fmax={fmax:g} Hz. Lower fmin.")
    # Triangles over Hz are those of librosa.filters.mel, bit by bit. It warns of empty bands, in
    # words that do not fit here, and Python cannot silence a warning in one thread alone.
    lowest, highest = librosa.hz_to_mel(np.array([fmin, fmax]), htk=transformer.htk)
    edges = np.linspace(lowest, highest, transformer.n_mels + 2)[:, np.newaxis]
    edges_hz = librosa.mel_to_hz(edges, htk=transformer.htk)
    bins = librosa.fft_frequencies(sr=sample_rate, n_fft=n_fft)
    if transformer.triangles == "mel":  # sides that are straight over mel, as in HTK
        bins = librosa.hz_to_mel(bins, htk=transformer.htk)
    else:
        edges = edges_hz
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    filters = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    if norm == "slaney":
        filters *= 2 / (edges_hz[2:] - edges_hz[:-2])
        return filters
    return librosa.util.normalize(filters, norm=norm, axis=-1)


def warn_of_empty_bands(filters: NDArray[np.float32]) -> None:
    """Warn if bands lie between two frequencies of the spectrum and so are always zero."""
    n_mels, n_bins = filters.shape
    n_empty = int(np.count_nonzero(filters.max(axis=1) == 0))
    if n_empty:
        warn(
            f"{n_empty} of {n_mels} mel bands are empty: they are narrower than the distance "
            f"between two of the {n_bins} frequencies. Lower n_mels, raise n_fft or raise fmin."
        )


@dataclass(frozen=True)
class Decibels:
    """Convert power to decibels as :func:`librosa.power_to_db` does."""

    ref: Any
    amin: float
    top_db: float | None

    def floor(self, power: NDArray[np.float32]) -> float:
        """Return the power below which differences do not show in the result."""
        if self.top_db is None:
            return self.amin
        return max(self.amin, float(power.max()) * 10 ** (-self.top_db / 10))

    def __call__(self, power: NDArray[np.float32]) -> None:
        """Convert one clip's power in place."""
        ref = self.ref
        if callable(ref):
            ref = ref(power)
        elif ref == "max":
            ref = power.max()
        # 10 log10(max(a, P) / max(a, r)). librosa limits to top_db after the logarithm; before
        # it, the same limit is a power: L >= L_max - top_db where P >= P_max 10^(-top_db / 10).
        np.maximum(power, self.floor(power), out=power)
        np.log(power, out=power)  # faster than log10
        power *= 10 / np.log(10)
        power -= 10 * np.log10(max(self.amin, abs(float(ref))))


@dataclass(frozen=True)
class NaturalLog:
    """Convert power to its natural logarithm, with `eps` added before."""

    eps: float

    def floor(self, power: NDArray[np.float32]) -> float:
        """Return the power below which differences do not show in the result."""
        return self.eps

    def __call__(self, power: NDArray[np.float32]) -> None:
        """Convert one clip's power in place."""
        power += self.eps
        np.log(power, out=power)


@dataclass(frozen=True)
class NoLog:
    """Keep the power as it is."""

    def floor(self, power: NDArray[np.float32]) -> float:
        """Return the power below which differences do not show in the result."""
        return 0.0

    def __call__(self, power: NDArray[np.float32]) -> None:
        """Leave one clip's power alone."""


# A float32 spectrum is wrong in every bin by about e^2 = 4e-15 of the mean power m of all bins.
# A band P = sum(w |X|^2) is then wrong by at most 2 e sqrt(max(w) / P) of itself: by 1e-4 dB
# (one deviation) where P is this share of max(w) m. Recordings and tones stay under 5e-4 dB.
_SAFE_SHARE = 4e-5


class LogMelPlan:
    """Compute log-mel spectrograms with parameters that are all filled in.

    Spectra are computed in float32, and again in float64 for frames with so large a range that
    float32's rounding would show in their weakest bands. This takes three quarters of the time of
    float64 everywhere, with the same numbers to 1e-3 dB.

    Parameters
    ----------
    framing : Framing
    filters : ndarray of shape (n_mels, n_bins)
    power : float
        Exponent of the magnitude.
    scale : Decibels, NaturalLog or NoLog
    subtract_clip_mean : bool, default=False
        Whether to subtract from each band its mean over the clip.
    """

    def __init__(
        self,
        framing: Framing,
        filters: NDArray[np.float32],
        power: float,
        scale: Decibels | NaturalLog | NoLog,
        *,
        subtract_clip_mean: bool = False,
    ) -> None:
        self.framing = framing
        self.filters = filters
        self.power = power
        self.scale = scale
        self.subtract_clip_mean = subtract_clip_mean
        # Nearly all weights are zero, and a sparse product never starts threads of its own.
        # The row below the bands is the mean over all bins.
        mean = np.full((1, framing.n_bins), 1 / framing.n_bins, dtype=np.float32)
        self._bands_and_mean = csr_array(np.concatenate([filters, mean]))
        tiny = np.finfo(np.float32).tiny  # for bands without any weight
        self._peak_weight = np.maximum(filters.max(axis=1, keepdims=True), tiny)

    def __call__(self, clips: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Compute ``(n_mels, n_frames)`` for every clip."""
        quick, exact = (Spectra(self.framing.window, dtype) for dtype in (np.float32, np.float64))
        return [self._log_mel(clip, quick, exact) for clip in clips]

    def _log_mel(
        self, clip: NDArray[np.float32], quick: Spectra, exact: Spectra
    ) -> NDArray[np.float32]:
        frames = self.framing.frames(clip)
        if self.power == 2:
            bands, mean = self._mel(frames, quick)
            doubtful = self._doubtful(bands, mean)
            if len(doubtful):
                bands[:, doubtful], _ = self._mel(frames[doubtful], exact)
        else:
            bands, _ = self._mel(frames, exact)
        self.scale(bands)
        if self.subtract_clip_mean:
            bands -= bands.mean(axis=1, keepdims=True, dtype=np.float64)
        return bands

    def _doubtful(self, bands: NDArray[np.float32], mean: NDArray[np.float32]) -> NDArray[np.intp]:
        """Find the frames in which the rounding of float32 would show."""
        # First a cheap look at the weakest band of each frame, with the wider of both limits
        # below; most frames are done with it.
        weakest = (bands / self._peak_weight).min(axis=0)
        frames = np.flatnonzero(weakest < 100 * _SAFE_SHARE * mean)
        few, safe = bands[:, frames], _SAFE_SHARE * self._peak_weight * mean[frames]
        # What the logarithm raises to its floor need not be exact.
        weak = np.maximum(few, self.scale.floor(bands)) < safe
        # Bands within 40 dB of the clip's peak are held to a tenth of that error: the error falls
        # with the root of P, so that P must be 100 times as large.
        loud_but_weak = (few < 100 * safe) & (few > 1e-4 * bands.max())
        return frames[(weak | loud_but_weak).any(axis=0)]

    def _mel(
        self, frames: NDArray[np.float32], spectra: Spectra
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Compute the mel bands, and the mean over all frequencies, of every frame."""
        result = np.empty((len(self.filters) + 1, len(frames)), dtype=np.float32)
        for where, power in spectra.blocks(frames):
            if self.power != 2:
                np.power(power, self.power / 2, out=power)
            result[:, where] = self._bands_and_mean @ power
        return result[:-1], result[-1]
