"""Statistics of sequences over some of their frames."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["DELTA", "check_statistics", "compute_statistics", "deltas"]

DELTA = "delta_"
"""Begins the names of statistics of the sequences' slopes instead of the sequences."""

_PERCENTILES = re.compile(r"p(\d{1,2}|100)(?:-p(\d{1,2}|100))?")
_OCTAVE = re.compile(r"octave([1-9])")
_EPS = 10 * np.finfo(np.float64).eps


class _Frames:
    """Frames of some sequences, with what several statistics share.

    Parameters
    ----------
    values : ndarray of shape (n_bands, n_frames)
        Float32, at least one frame.
    times : ndarray of shape (n_frames,)
        Place of each frame in its clip, ascending.
    """

    def __init__(self, values: NDArray[np.float32], times: NDArray[np.intp]) -> None:
        self.values = values
        self.times = times

    @cached_property
    def exact(self) -> NDArray[np.float64]:
        return self.values.astype(np.float64)

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        return self.exact.mean(axis=1)

    @cached_property
    def centred(self) -> NDArray[np.float64]:
        return self.exact - self.mean[:, np.newaxis]

    @cached_property
    def std(self) -> NDArray[np.float64]:
        return np.sqrt(np.square(self.centred).mean(axis=1))

    @cached_property
    def standardised(self) -> NDArray[np.float64]:
        """Deviations from the mean in units of the standard deviation; 0 in a constant band."""
        # Rounding leaves a deviation of a few eps in a constant band, which division would blow up.
        varies = self.std > _EPS * np.abs(self.exact).max(axis=1)
        std = np.where(varies, self.std, np.inf)
        return self.centred / std[:, np.newaxis]

    @cached_property
    def standardised_square(self) -> NDArray[np.float64]:
        return np.square(self.standardised)

    @cached_property
    def centred_times(self) -> NDArray[np.float64]:
        return self.times - self.times.mean()

    @cached_property
    def steps(self) -> NDArray[np.float64]:
        """Differences of frames that are neighbours in the clip, ``(n_bands, n_pairs)``."""
        return np.diff(self.exact, axis=1)[:, np.diff(self.times) == 1]

    @cached_property
    def ordered(self) -> NDArray[np.float32]:
        return np.sort(self.values, axis=1)

    @cached_property
    def octaves(self) -> NDArray[np.float64]:
        """Standard deviation of each band's part in each of nine octaves, ``(9, n_bands)``."""
        n_frames = self.values.shape[1]
        power = np.square(np.abs(np.fft.rfft(self.centred, axis=1))) / n_frames**2
        # By Parseval the variance is the sum over all n bins. Those above 1/2 cycle a frame mirror
        # those below, and are counted by doubling; the bin at 1/2 itself has no mirror.
        power[:, 1 : (n_frames + 1) // 2] *= 2
        # Bin j has j / n cycles a frame: octave k has 2^-(k+1) < j / n <= 2^-k.
        cycles = np.arange(1, power.shape[1]) / n_frames
        octave = np.floor(-np.log2(cycles) + 1e-9).astype(np.intp)
        variance = np.zeros((9, len(power)))
        for k in range(9):
            variance[k] = power[:, 1:][:, octave == k + 1].sum(axis=1)
        return np.sqrt(variance)

    def percentile(self, rank: int) -> NDArray[np.float64]:
        """Compute a percentile, between two frames by linear interpolation."""
        place = rank / 100 * (self.values.shape[1] - 1)
        below = int(place)
        above = min(below + 1, self.values.shape[1] - 1)
        low, high = self.ordered[:, below].astype(np.float64), self.ordered[:, above]
        return low + (place - below) * (high - low)


def _slope(frames: _Frames) -> NDArray[np.float64]:
    # sum(t x) / sum(t^2) with t centred on 0, which makes the mean of x drop out.
    t = frames.centred_times
    return frames.exact @ t / (t @ t or 1.0)


def _correlation(frames: _Frames) -> NDArray[np.float64]:
    t = frames.centred_times
    return frames.standardised @ t / (np.sqrt(t @ t * len(t)) or 1.0)


def _mean_rise(frames: _Frames) -> NDArray[np.float64]:
    rises = np.maximum(frames.steps, 0)
    return rises.sum(axis=1) / np.maximum((rises > 0).sum(axis=1), 1)


_STATISTICS: dict[str, Callable[[_Frames], NDArray[np.float64]]] = {
    "mean": lambda frames: frames.mean,
    "std": lambda frames: frames.std,
    "min": lambda frames: frames.exact.min(axis=1),
    "max": lambda frames: frames.exact.max(axis=1),
    "skewness": lambda frames: (frames.standardised_square * frames.standardised).mean(axis=1),
    "kurtosis": lambda frames: np.square(frames.standardised_square).mean(axis=1),
    "slope": _slope,
    "correlation": _correlation,
    "mean_abs_diff": lambda f: np.abs(f.steps).sum(axis=1) / max(f.steps.shape[1], 1),
    "mean_rise": _mean_rise,
}


def check_statistics(names: Sequence[str], parameter: str = "statistics") -> None:
    """Raise a ValueError unless all names are known, and there is one."""
    if not names:
        raise ValueError(f"{parameter} is empty, but expected at least one name, such as 'mean'.")
    for name in names:
        bare = str(name).removeprefix(DELTA)
        if bare in _STATISTICS or _PERCENTILES.fullmatch(bare) or _OCTAVE.fullmatch(bare):
            continue
        known = ", ".join(repr(known) for known in _STATISTICS)
        raise ValueError(
            f"{parameter} holds {name!r}, but expected {known}, a percentile from 'p0' to 'p100', "
            "a difference of two such as 'p80-p20', 'octave1' to 'octave9', or one of these after "
            f"{DELTA!r}."
        )


def compute_statistics(
    names: Sequence[str],
    values: NDArray[np.float32],
    times: NDArray[np.intp],
    slopes: NDArray[np.float32] | None = None,
) -> NDArray[np.float64]:
    """Compute statistics of sequences.

    Parameters
    ----------
    names : sequence of str
        As :func:`check_statistics` lets them pass.
    values : ndarray of shape (n_bands, n_frames)
    times : ndarray of shape (n_frames,)
        Places in the clip of the frames, if not all are given.
    slopes : ndarray of shape (n_bands, n_frames), optional
        For names that begin with "delta_".

    Returns
    -------
    ndarray of shape (n_statistics, n_bands)
        All 0 where there is no frame.
    """
    table = np.zeros((len(names), len(values)))
    if len(times):
        frames = _Frames(values, times)
        moving = frames if slopes is None else _Frames(slopes, times)
        for row, name in zip(table, names, strict=True):
            is_delta = name.startswith(DELTA)
            row[:] = _statistic(name.removeprefix(DELTA), moving if is_delta else frames)
    return table


def _statistic(name: str, frames: _Frames) -> NDArray[np.float64]:
    if name in _STATISTICS:
        return _STATISTICS[name](frames)
    if octave := _OCTAVE.fullmatch(name):
        return frames.octaves[int(octave[1]) - 1]
    high, low = _PERCENTILES.fullmatch(name).groups()  # type: ignore[union-attr]
    top = frames.percentile(int(high))
    return top if low is None else top - frames.percentile(int(low))


def deltas(values: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Compute the slope, per frame, of the line that fits the frames around each one best.

    Parameters
    ----------
    values : ndarray of shape (n_bands, n_frames)
    width : int
        Frames that the line is fitted to, odd. At a clip's ends it is that of the first or last
        `width` frames; a clip with fewer is lengthened by repeating its last frame.

    Returns
    -------
    ndarray of shape (n_bands, n_frames)
    """
    n_frames, half = values.shape[1], width // 2
    offsets = np.arange(-half, half + 1)
    weights = offsets / (offsets @ offsets)
    long = np.pad(values.astype(np.float64), ((0, 0), (0, max(width - n_frames, 0))), mode="edge")
    inner = np.zeros((len(long), long.shape[1] - 2 * half))
    for shift in range(1, half + 1):
        after = long[:, half + shift : long.shape[1] - half + shift]
        before = long[:, half - shift : long.shape[1] - half - shift]
        inner += weights[half + shift] * (after - before)
    return np.pad(inner, ((0, 0), (half, half)), mode="edge")[:, :n_frames].astype(np.float32)
