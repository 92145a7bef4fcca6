"""Shape of the power spectrum of each frame, in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skaudio.features._stft import Framing

__all__ = ["NOISE_FLOOR", "SpectralShape"]

# Power of the noise of 16 bits, (2^-15)^2 / 12 = 8e-11, rounded.
NOISE_FLOOR = 1e-10

_HIGHEST = 8000.0


@dataclass(frozen=True, eq=False)
class SpectralShape:
    """Describe spectra from 0 to 8 kHz, whatever the sample rate.

    Parameters
    ----------
    frequencies : ndarray of shape (n_bins,)
        In Hz, up to 8000.
    power_weights : ndarray of shape (n_bins, 5)
        For the sums of power that are needed: all of it, times f, times f^2 (f in kHz), 50 to
        1000 Hz, 1 to 5 kHz.
    level_weights : ndarray of shape (n_bins, 3)
        For the mean level, and for the slopes at 0 to 500 and 500 to 1500 Hz.
    scale : float
        Makes the mean of a spectrum's bins the mean square of its frame.
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
        sums = [np.ones_like(hz), hz / 1e3, (hz / 1e3) ** 2, _between(hz, 50, 1e3),
                _between(hz, 1e3, 5e3)]  # fmt: skip
        lines = [np.ones_like(hz) / len(hz), _slope(hz, 0, 500), _slope(hz, 500, 1500)]
        return cls(
            hz.astype(np.float32),
            np.stack(sums, axis=1).astype(np.float32),
            np.stack(lines, axis=1).astype(np.float32),
            1 / float(np.square(framing.window).sum()),
        )

    def spectrum(self, power: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale spectra ``(n_frames, n_all_bins)``, cut them at 8 kHz, and add the noise floor."""
        return power[:, : len(self.frequencies)] * np.float32(self.scale) + np.float32(NOISE_FLOOR)

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
        two_khz, five_khz = np.searchsorted(self.frequencies, [2000, 5000], side="right")
        cumulative = np.cumsum(spectrum, axis=1)
        rolloffs = {
            f"rolloff_{share}": self.frequencies[
                (cumulative >= share / 100 * cumulative[:, -1:]).argmax(axis=1)
            ]
            for share in (25, 50, 75, 90)
        }
        n_bins = len(self.frequencies)
        return {
            "energy": 10 * np.log10(total / n_bins),
            "centroid": 1e3 * centroid,
            # Rounding can leave a line spectrum a variance just below 0.
            "spread": 1e3 * np.sqrt(np.maximum(second / total - centroid**2, 0)),
            **rolloffs,
            "alpha_ratio": 10 * np.log10(low / high),
            "hammarberg": decibels[:, :two_khz].max(axis=1)
            - decibels[:, two_khz:five_khz].max(axis=1),
            "flux": _flux(decibels, level, before),
            "slope_0_500": slope_low,
            "slope_500_1500": slope_middle,
            "flatness": level - 10 * np.log10(total / n_bins),
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


def _between(hz: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return ((hz >= low) & (hz < high)).astype(np.float64)


def _slope(hz: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Compute the weights of the slope, per kHz, of the least-squares line in a range."""
    inside = (hz >= low) & (hz <= high)
    weights = np.zeros_like(hz)
    centred = hz[inside] / 1e3 - hz[inside].mean() / 1e3
    weights[inside] = centred / (centred @ centred)
    return weights
