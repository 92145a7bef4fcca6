"""Periodicity of a voice: the salience of each pitch, the pitch's path, and the exact period."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft

from skaudio._validation import Interval
from skaudio.features._stft import Framing, Spectra, make_window

__all__ = [
    "NOISE_FLOOR",
    "PITCH_CONSTRAINTS",
    "PitchPlan",
    "SalienceOfClips",
    "best_paths",
    "padded_length",
]

PITCH_CONSTRAINTS: dict[str, list[Any]] = {
    "sample_rate": [Interval(Real, 0, None, closed="neither")],
    "hop_length": [Interval(Integral, 1, None, closed="left"), None],
    "win_length": [Interval(Integral, 2, None, closed="left"), None],
    "n_lags": [Interval(Integral, 2, None, closed="left")],
    "fmin": [Interval(Real, 0, None, closed="neither")],
    "fmax": [Interval(Real, 0, None, closed="neither")],
    "n_jobs": [Integral, None],
}

_LOWEST_RATE = 16000

# A period then has at least eight samples, and three harmonics lie below 8 kHz.
_HIGHEST_PITCH = 2000

# Power of the noise of 16 bits, (2^-15)^2 / 12 = 8e-11, rounded. Silence is described as white
# noise of this power, whose pitch has no salience, so that nothing is divided by 0.
NOISE_FLOOR = 1e-10


@dataclass(frozen=True, eq=False)
class PitchPlan:
    """The autocorrelation at the lags of a range of pitches, as weights of a power spectrum.

    By Wiener and Khinchin the autocorrelation is the cosine transform of the power spectrum. Only
    some lags are wanted, so that a sum over the spectrum replaces the inverse Fourier transform,
    and need not be whole numbers of samples.

    Parameters
    ----------
    framing : Framing
        With a window that is zero-padded by more than the longest lag, so that the circular
        autocorrelation is the linear one.
    lags : ndarray of shape (n_lags,)
        Periods in samples, the longest first.
    """

    framing: Framing
    lags: NDArray[np.float64]

    @classmethod
    def of(cls, transformer: Any) -> PitchPlan:
        """Take the parameters of a transformer and check that they fit each other."""
        sample_rate = transformer.sample_rate
        if sample_rate < _LOWEST_RATE:
            raise ValueError(
                f"sample_rate={sample_rate:g} Hz, but {type(transformer).__name__} expected at "
                f"least {_LOWEST_RATE} Hz. Convert the clips, as AudioLoader(sample_rate="
                f"{_LOWEST_RATE}) does while reading."
            )
        fmin, fmax = transformer.fmin, transformer.fmax
        if not fmin < fmax <= _HIGHEST_PITCH:
            raise ValueError(
                f"fmin={fmin:g} and fmax={fmax:g} Hz, but expected fmin < fmax and fmax at most "
                f"{_HIGHEST_PITCH} Hz."
            )
        win_length, hop_length = _win_length(transformer), transformer.hop_length
        if win_length < 2 * sample_rate / fmin:
            raise ValueError(
                f"win_length={win_length} is shorter than two periods of fmin={fmin:g} Hz, which "
                f"take {2 * sample_rate / fmin:.0f} samples. Raise one of them."
            )
        if hop_length is None:
            hop_length = round(sample_rate / 100)
        window = make_window("hann", win_length, padded_length(transformer))
        framing = Framing(window, hop_length, True, "constant")
        return cls(framing, sample_rate / np.geomspace(fmin, fmax, transformer.n_lags))

    @cached_property
    def weights(self) -> NDArray[np.float32]:
        """Weights of a power spectrum in the salience of each lag, ``(n_lags, n_bins)``."""
        # The autocorrelation of a frame of a periodic signal falls with the lag as the window's own
        # does, since fewer samples overlap; divided by it, it is 1 again at each period [1]_.
        #
        # .. [1] Boersma, "Accurate Short-Term Analysis of the Fundamental Frequency and the
        #    Harmonics-to-Noise Ratio of a Sampled Sound", IFA Proceedings 17, 1993.
        cosines = self._cosines(self.lags)
        taper = cosines @ self._window_power / np.square(self.framing.window).sum()
        return (cosines / taper[:, np.newaxis]).astype(np.float32)

    @cached_property
    def energy_weights(self) -> NDArray[np.float32]:
        """Weights of a power spectrum in the energy of its frame, ``(n_bins,)``."""
        return self._cosines(np.zeros(1))[0].astype(np.float32)

    @property
    def floor(self) -> float:
        """Energy of a frame of noise that is as loud as the rounding to 16 bits."""
        return NOISE_FLOOR * float(np.square(self.framing.window).sum())

    def salience(self, power: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the salience, ``(n_lags, n_frames)``, of spectra ``(n_bins, n_frames)``."""
        salience = self.weights @ power
        salience /= self.energy_weights @ power + self.floor
        return np.clip(salience, -1, 1, out=salience)

    def correlation(self, power: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the salience at every half sample of lag, for :meth:`refine`.

        Parameters
        ----------
        power : ndarray of shape (n_frames, n_bins)

        Returns
        -------
        ndarray of shape (n_frames, n_half_samples)
            From a little below the shortest lag to a little above the longest.
        """
        # Twice as many bins, the upper half of them empty, interpolate the autocorrelation. Where
        # harmonics reach up to half the sample rate its peaks are a sample wide: at whole samples
        # their height could be off by a third.
        first, tapers = self._half_samples
        lagged = irfft(power, n=2 * self.framing.n_fft, axis=1)
        lagged = lagged[:, first : first + len(tapers)] * (2 * tapers)
        return lagged / (power @ self.energy_weights + self.floor)[:, np.newaxis]

    def largest(self, correlation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Find the largest correlation around each lag, up to halfway to the next one.

        Harmonics of several kHz make peaks narrower than the distance of two lags, and almost as
        narrow as that of two half samples. Read off at these alone, a period that falls between
        two of them could seem lower than its double.

        Parameters
        ----------
        correlation : ndarray of shape (n_frames, n_half_samples)
            As :meth:`correlation` computes it.

        Returns
        -------
        ndarray of shape (n_frames, n_lags)
        """
        first, _ = self._half_samples
        shortest_first = self.lags[::-1]
        edges = np.sqrt(shortest_first[1:] * shortest_first[:-1])
        starts = np.concatenate([[0], np.ceil(2 * edges).astype(np.intp) - first])
        before, middle, after = (correlation[:, i : i - 2 or None] for i in range(3))
        at = np.nonzero((middle >= before) & (middle >= after))
        tops = correlation.copy()
        _, tops[:, 1:-1][at] = _parabola(before[at], middle[at], after[at])
        return np.minimum(np.maximum.reduceat(tops, starts, axis=1)[:, ::-1], 1)

    def refine(
        self, path: NDArray[np.intp], correlation: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Find the highest correlation within one step of a path through the lags.

        Parameters
        ----------
        path : ndarray of shape (n_frames,)
            A lag for each frame, as its place among `lags`.
        correlation : ndarray of shape (n_frames, n_half_samples)
            As :meth:`correlation` computes it.

        Returns
        -------
        period : ndarray of shape (n_frames,)
            In samples.
        peak : ndarray of shape (n_frames,)
            Height of the autocorrelation there, at most 1.
        """
        first, tapers = self._half_samples
        step = (self.lags[0] / self.lags[-1]) ** (1 / (len(self.lags) - 1)) - 1
        middle = 2 * self.lags[path, np.newaxis]
        reach = np.maximum(middle * step, 1)
        offsets = np.arange(-np.ceil(reach.max()), np.ceil(reach.max()) + 1)
        places = np.rint(middle) + offsets
        is_near = np.abs(places - middle) <= reach
        # A neighbour on either side is needed for the parabola.
        places = np.clip(places - first, 1, len(tapers) - 2).astype(np.intp)
        near = np.where(is_near, np.take_along_axis(correlation, places, axis=1), -np.inf)
        place = np.take_along_axis(places, near.argmax(axis=1)[:, np.newaxis], axis=1)
        before, top, after = (
            np.take_along_axis(correlation, place + side, axis=1)[:, 0].astype(np.float64)
            for side in (-1, 0, 1)
        )
        shift, peak = _parabola(before, top, after)
        return (place[:, 0] + first + shift) / 2, np.minimum(peak, 1)

    @property
    def n_half_samples(self) -> int:
        """Number of lags of :meth:`correlation`."""
        return len(self._half_samples[1])

    @cached_property
    def _half_samples(self) -> tuple[int, NDArray[np.float32]]:
        """The first lag of :meth:`correlation` in half samples, and 1 over the window's at each."""
        first, last = int(2 * self.lags[-1]) - 1, int(2 * self.lags[0]) + 2
        lagged = irfft(self._window_power, n=2 * self.framing.n_fft)[first : last + 1]
        return first, (np.square(self.framing.window).sum() / (2 * lagged)).astype(np.float32)

    def _cosines(self, lags: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the weights of a power spectrum in the autocorrelation at each lag."""
        # sum_t x_t x_(t + lag) = 1/N sum_k |X_k|^2 cos(2 pi k lag / N) over all N bins; those
        # above N/2 mirror those below.
        n_fft, n_bins = self.framing.n_fft, self.framing.n_bins
        cosines = np.cos(2 * np.pi / n_fft * np.outer(lags, np.arange(n_bins))) / n_fft
        cosines[:, 1:-1] *= 2
        return cosines

    @property
    def _window_power(self) -> NDArray[np.float64]:
        return np.square(np.abs(np.fft.rfft(self.framing.window)))


def _parabola(before: NDArray, middle: NDArray, after: NDArray) -> tuple[NDArray, NDArray]:
    """Find the top of the parabola through three points a distance of 1 apart.

    Returns its place relative to the middle point, and its height: those of the middle point
    itself where one of the others is higher.
    """
    # The top lies at -slope/curvature, where it is higher than the middle point by
    # slope^2 / (-2 curvature).
    slope, curvature = (after - before) / 2, before - 2 * middle + after
    is_peak = (middle >= before) & (middle >= after) & (curvature < 0)
    shift = np.divide(-slope, curvature, out=np.zeros_like(slope), where=is_peak)
    return shift, middle + slope * shift / 2


@dataclass(frozen=True, eq=False)
class SalienceOfClips:
    """Compute the salience, ``(n_lags, n_frames)``, of every clip."""

    pitch: PitchPlan

    @property
    def framing(self) -> Framing:
        """Where the frames lie."""
        return self.pitch.framing

    def __call__(self, clips: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        spectra = Spectra(self.framing.window, np.float32, remove_mean=True)
        return [self._salience(clip, spectra) for clip in clips]

    def _salience(self, clip: NDArray[np.float32], spectra: Spectra) -> NDArray[np.float32]:
        frames = self.framing.frames(clip)
        salience = np.empty((len(self.pitch.lags), len(frames)), dtype=np.float32)
        for where, power in spectra.blocks(frames):
            salience[:, where] = self.pitch.salience(power)
        return salience


def best_paths(scores: Sequence[NDArray[np.float32]], step_cost: float) -> list[NDArray[np.intp]]:
    """Find the path through each clip's states with the largest sum of scores.

    A step from state i to j costs ``step_cost * abs(i - j)``. Clips of similar lengths are done at
    once, so that memory grows with the sum of all lengths, not with the longest for each clip.

    Parameters
    ----------
    scores : sequence of ndarray of shape (n_frames, n_states)
    step_cost : float

    Returns
    -------
    list of ndarray of shape (n_frames,)
        The state of each frame.
    """
    order = sorted(range(len(scores)), key=lambda i: -len(scores[i]))
    found: dict[int, NDArray[np.intp]] = {}
    while order:
        longest = len(scores[order[0]])
        similar = [i for i in order if 2 * len(scores[i]) >= longest]
        found |= zip(similar, _paths([scores[i] for i in similar], step_cost), strict=True)
        order = order[len(similar) :]
    return [found[i] for i in range(len(scores))]


def _paths(scores: Sequence[NDArray[np.float32]], step_cost: float) -> list[NDArray[np.intp]]:
    """Find the paths by Viterbi's algorithm, of clips sorted from the longest to the shortest."""
    lengths = np.array([len(score) for score in scores])
    n_states = scores[0].shape[1]
    best = np.zeros((lengths[0], len(scores), n_states))  # frame, clip, state
    for place, score in enumerate(scores):
        best[: len(score), place] = score
    # The longest clips come first, so that those which reach frame t are the first n_there[t].
    n_there = [*(lengths > np.arange(lengths[0])[:, np.newaxis]).sum(axis=1), 0]
    ramp = step_cost * np.arange(n_states)
    for t in range(1, lengths[0]):
        before = best[t - 1, : n_there[t]]
        # max over i of b_i - c |i - j|: from below it is max(b_i + c i) - c j over i <= j, which
        # one running maximum gives for all j; from above likewise.
        below = np.maximum.accumulate(before + ramp, axis=1) - ramp
        above = np.maximum.accumulate((before - ramp)[:, ::-1], axis=1)[:, ::-1] + ramp
        best[t, : n_there[t]] += np.maximum(below, above)
    costs = np.abs(ramp[:, np.newaxis] - ramp)
    paths = np.zeros((lengths[0] + 1, len(scores)), dtype=np.intp)
    for t in reversed(range(lengths[0])):
        reached = best[t, : n_there[t]]
        reached[: n_there[t + 1]] -= costs[paths[t + 1, : n_there[t + 1]]]
        paths[t, : n_there[t]] = reached.argmax(axis=1)
    return [paths[:length, place] for place, length in enumerate(lengths)]


def padded_length(transformer: Any) -> int:
    """Compute the samples of a frame that is zero-padded by more than its longest lag."""
    longest_lag = int(transformer.sample_rate / transformer.fmin)
    return 1 << (_win_length(transformer) + longest_lag + 2).bit_length()


def _win_length(transformer: Any) -> int:
    if transformer.win_length is not None:
        return transformer.win_length
    return 2 * round(transformer.sample_rate / 50)  # 40 ms, and even
