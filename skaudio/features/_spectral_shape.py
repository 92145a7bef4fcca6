"""Shape of the power spectrum of each frame, in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skaudio.features._pitch import NOISE_FLOOR
from skaudio.features._stft import Framing

__all__ = ["SpectralShape"]

# Below 50 Hz there is no voice, but there is what removing a frame's mean leaves behind: almost
# nothing, whose logarithm would bend every line through the levels. The main lobe of a Hann window
# of 40 ms reaches as far.
_LOWEST, _HIGHEST = 50.0, 8000.0


@dataclass(frozen=True, eq=False)
class SpectralShape:
    """Describe spectra from 50 Hz to 8 kHz, whatever the sample rate.

    Parameters
    ----------
    frequencies : ndarray of shape (n_bins,)
        In Hz, from 0 to 8000.
    power_weights : ndarray of shape (n_bins, 5)
        For the sums of power that are needed: all of it, times f, times f^2 (f in kHz), up to
        1 kHz, 1 to 5 kHz.
    level_weights : ndarray of shape (n_bins, 3)
        For the mean level, and for the slopes up to 500 and at 500 to 1500 Hz.
    scale : float
        Makes the sum of a spectrum's bins the mean square of its frame.
    """

    frequencies: NDArray[np.float32]
    power_weights: NDArray[np.float32]
    level_weights: NDArray[np.float32]
    scale: float

    @classmethod
    def of(cls, framing: Framing, sample_rate: float) -> SpectralShape:
        """Prepare the weights for frames of this kind."""
        hz: NDArray[Any] = np.arange(framing.n_bins) * (sample_rate / framing.n_fft)
        hz = hz[hz <= _HIGHEST]
        ranges = [(_LOWEST, np.inf), (_LOWEST, 1e3), (1e3, 5e3)]
        everything, low, high = (((hz >= a) & (hz < b)).astype(np.float64) for a, b in ranges)
        khz = everything * hz / 1e3
        sums = [everything, khz, khz**2, low, high]
        lines = [everything / everything.sum(), _slope(hz, _LOWEST, 500), _slope(hz, 500, 1500)]
        # Parseval: sum_t (w x)^2 = 2 / n_fft sum_k |X_k|^2, but for the outermost bins.
        scale = 2 / (framing.n_fft * float(np.square(framing.window).sum()))
        return cls(
            hz.astype(np.float32),
            np.stack(sums, axis=1).astype(np.float32),
            np.stack(lines, axis=1).astype(np.float32),
            scale,
        )

    def spectrum(self, power: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale spectra ``(n_frames, n_all_bins)``, cut them at 8 kHz, and add the noise floor."""
        n_bins = len(self.frequencies)
        return power[:, :n_bins] * np.float32(self.scale) + np.float32(NOISE_FLOOR / n_bins)

    def describe(
        self,
        spectrum: NDArray[np.float32],
        decibels: NDArray[np.float32],
        before: NDArray[np.float32] | None,
    ) -> dict[str, NDArray[np.float32]]:
        """Compute the descriptors that need no pitch.

        Parameters
        ----------
        spectrum : ndarray of shape (n_frames, n_bins)
            As :meth:`spectrum` returns it.
        decibels : ndarray of shape (n_frames, n_bins)
            Its level in dB.
        before : ndarray of shape (n_bins,) or None
            Level of the frame before the first one, None for a clip's first.

        Returns
        -------
        dict of str to ndarray of shape (n_frames,)
        """
        total, first, second, low, high = (spectrum @ self.power_weights).T
        level, slope_low, slope_middle = (decibels @ self.level_weights).T
        centroid = first / total
        lowest, two_khz, five_khz = np.searchsorted(self.frequencies, [_LOWEST, 2000, 5000])
        voice = self.frequencies[lowest:]
        cumulative = np.cumsum(spectrum[:, lowest:], axis=1)
        rolloffs = {
            f"rolloff_{share}": voice[
                (cumulative >= share / 100 * cumulative[:, -1:]).argmax(axis=1)
            ]
            for share in (25, 50, 75, 90)
        }
        return {
            "energy": 10 * np.log10(total),
            "centroid": 1e3 * centroid,
            # Rounding can leave a line spectrum a variance just below 0.
            "spread": 1e3 * np.sqrt(np.maximum(second / total - centroid**2, 0)),
            **rolloffs,
            "alpha_ratio": 10 * np.log10(low / high),
            "hammarberg": decibels[:, lowest:two_khz].max(axis=1)
            - decibels[:, two_khz:five_khz].max(axis=1),
            "flux": _flux(decibels[:, lowest:], level, None if before is None else before[lowest:]),
            "slope_50_500": slope_low,
            "slope_500_1500": slope_middle,
            "flatness": level - 10 * np.log10(total / len(voice)),
        }


def _flux(
    decibels: NDArray[np.float32], level: NDArray[np.float32], before: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """Compute the root mean square change from frame to frame, the mean level left aside."""
    first = decibels[:1] if before is None else before[np.newaxis]
    change = np.diff(decibels, axis=0, prepend=first)
    # Without their mean m over n bins the changes d have the mean square sum(d^2) / n - m^2.
    square = np.einsum("fb,fb->f", change, change) / change.shape[1]
    step = np.diff(level, prepend=first.mean(axis=1))
    return np.sqrt(np.maximum(square - step**2, 0))


def _slope(hz: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Compute the weights of the slope, per kHz, of the least-squares line in a range."""
    inside = (hz >= low) & (hz <= high)
    weights = np.zeros_like(hz)
    centred = hz[inside] / 1e3 - hz[inside].mean() / 1e3
    weights[inside] = centred / (centred @ centred)
    return weights
