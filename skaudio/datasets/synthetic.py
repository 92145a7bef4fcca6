"""Synthetic sounds for examples and tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skaudio._validation import Clips, check_seed

__all__ = ["make_chirps", "make_tones"]


def make_tones(
    n_clips: int = 100,
    *,
    frequencies: Sequence[float] = (300.0, 600.0, 1200.0),
    sample_rate: int = 8000,
    duration: float | tuple[float, float] = 0.5,
    noise: float = 0.05,
    random_state: Any = None,
) -> tuple[Clips, NDArray[np.str_]]:
    """Make steady tones, one class per frequency.

    Each clip is a sine of random phase, with an amplitude between 0.2 and 0.5, in white noise.

    Parameters
    ----------
    n_clips : int, default=100
        Number of clips, in random order. Class sizes differ by one at most.
    frequencies : sequence of float, default=(300, 600, 1200)
        One per class, in Hz, under half of `sample_rate`.
    sample_rate : int, default=8000
        In Hz.
    duration : float or tuple of (float, float), default=0.5
        Length of all clips in seconds, or the range from which each clip's length is drawn.
    noise : float, default=0.05
        Standard deviation of the noise, >= 0.
    random_state : int, RandomState instance or None, default=None
        Pass an integer for the same clips at every call.

    Returns
    -------
    X : ndarray of shape (n_clips, n_samples), or list of ndarray of shape (n_samples,)
        Waveforms in [-1, 1], float32; a list where `duration` is a range.
    y : ndarray of shape (n_clips,), str
        Labels such as ``"300 Hz"``.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    See Also
    --------
    make_chirps : Tones whose frequency changes.
    load_spoken_digits : Speech that comes with the package.

    Examples
    --------
    >>> from skaudio.datasets import make_tones
    >>> X, y = make_tones(4, frequencies=(440, 880), random_state=0)
    >>> X.shape, sorted(set(y.tolist()))
    ((4, 4000), ['440 Hz', '880 Hz'])
    """
    sweeps = [(frequency, frequency) for frequency in frequencies]
    names = [f"{frequency:g} Hz" for frequency in frequencies]
    return _make(n_clips, sweeps, names, sample_rate, duration, noise, random_state)


def make_chirps(
    n_clips: int = 100,
    *,
    sweeps: Sequence[tuple[float, float]] = ((400.0, 1600.0), (1600.0, 400.0)),
    sample_rate: int = 8000,
    duration: float | tuple[float, float] = 0.5,
    noise: float = 0.05,
    random_state: Any = None,
) -> tuple[Clips, NDArray[np.str_]]:
    """Make tones whose frequency rises or falls linearly in time, one class per sweep.

    A sweep and its reverse have the same mean spectrum, so that only a model of time can
    distinguish them; with a range of durations the classes come at many tempi.

    Parameters
    ----------
    n_clips : int, default=100
        Number of clips, in random order. Class sizes differ by one at most.
    sweeps : sequence of (float, float), default=((400, 1600), (1600, 400))
        Frequency at the start and at the end, one pair per class, in Hz, under half of
        `sample_rate`.
    sample_rate, duration, noise, random_state
        As in :func:`make_tones`.

    Returns
    -------
    X : ndarray of shape (n_clips, n_samples), or list of ndarray of shape (n_samples,)
        Waveforms in [-1, 1], float32; a list where `duration` is a range.
    y : ndarray of shape (n_clips,), str
        Labels such as ``"400-1600 Hz"``.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    See Also
    --------
    make_tones : Tones whose frequency stays.
    load_spoken_digits : Speech that comes with the package.

    Examples
    --------
    >>> from skaudio.datasets import make_chirps
    >>> X, y = make_chirps(6, duration=(0.2, 0.8), random_state=0)
    >>> len(X), X[0].ndim, sorted(set(y.tolist()))
    (6, 1, ['1600-400 Hz', '400-1600 Hz'])
    """
    names = [f"{first:g}-{last:g} Hz" for first, last in sweeps]
    return _make(n_clips, sweeps, names, sample_rate, duration, noise, random_state)


def _make(
    n_clips: int,
    sweeps: Sequence[tuple[float, float]],
    names: list[str],
    sample_rate: int,
    duration: float | tuple[float, float],
    noise: float,
    random_state: Any,
) -> tuple[Clips, NDArray[np.str_]]:
    shortest, longest = (float(seconds) for seconds in np.broadcast_to(duration, 2))
    _check(n_clips, sweeps, sample_rate, shortest, longest, noise)
    rng = np.random.default_rng(check_seed(random_state))
    y = rng.permutation(np.arange(n_clips) % len(sweeps))
    lengths = np.rint(rng.uniform(shortest, longest, n_clips) * sample_rate).astype(int)
    clips = [
        _sweep(sweeps[label], max(length, 1), sample_rate, noise, rng)
        for label, length in zip(y, lengths, strict=True)
    ]
    return clips if np.ndim(duration) else np.stack(clips), np.asarray(names)[y]


def _sweep(
    sweep: tuple[float, float],
    n_samples: int,
    sample_rate: int,
    noise: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    first, last = sweep
    amplitude, start = rng.uniform(0.2, 0.5), rng.uniform()
    seconds = np.arange(n_samples) / sample_rate
    # The frequency runs linearly from first to last over the clip's duration T:
    # f(t) = first + (last - first) / T * t. The phase in cycles is its integral,
    # first * t + (last - first) / T * t ** 2 / 2. (sin(2 pi f(t) t) would end at 2 last - first.)
    slope = (last - first) / (n_samples / sample_rate)
    cycles = start + first * seconds + slope * seconds**2 / 2
    clip = amplitude * np.sin(2 * np.pi * cycles) + noise * rng.standard_normal(n_samples)
    return np.clip(clip, -1, 1).astype(np.float32)


def _check(
    n_clips: int,
    sweeps: Sequence[tuple[float, float]],
    sample_rate: int,
    shortest: float,
    longest: float,
    noise: float,
) -> None:
    if n_clips < 1:
        raise ValueError(f"n_clips is {n_clips}, but expected at least 1.")
    if len(sweeps) == 0:
        raise ValueError(
            "There are no classes, but expected at least one frequency or sweep. Pass one per "
            "class."
        )
    for frequency in np.ravel(np.asarray(sweeps)):
        if not 0 < frequency < sample_rate / 2:
            raise ValueError(
                f"A frequency is {frequency:g} Hz, but expected one between 0 and "
                f"{sample_rate / 2:g} Hz, half of sample_rate={sample_rate}."
            )
    if not 0 < shortest <= longest < float("inf"):
        raise ValueError(
            f"duration is from {shortest} to {longest}, but expected seconds over 0, the shortest "
            "first."
        )
    if not 0 <= noise < float("inf"):
        raise ValueError(f"noise is {noise}, but expected 0 or more.")
