"""Random changes of speed."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import count, islice
from numbers import Real

import torch
from torch import Tensor

from skaudio._validation import Interval
from skaudio.augmentation._base import (
    Augmented,
    BaseAugmentation,
    Draws,
    log_uniform,
    stack_clips,
)
from skaudio.layers.precision import at_least_float32

__all__ = ["SpeedChange", "change_speed", "play_at"]

# Silence behind a clip, in samples. The Fourier transform takes the clip for one period of an
# endless sound: without a gap, its end would ring at its beginning.
_GAP = 1000

# Sizes of transforms are multiples of a block with prime factors from this list: with larger ones
# a transform takes up to ten times as long.
_BLOCK = 8
_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61)


class SpeedChange(BaseAugmentation):
    """Resample waveforms to a random speed, so that pitch, formants and tempo change together.

    A voice played faster is that of a smaller speaker with a shorter vocal tract, who speaks
    faster.

    Parameters
    ----------
    factors : tuple of float (low, high), default=(0.9, 1.1)
        Range of the speed, > 0, drawn so that its logarithm is uniform; 2 is twice as fast and
        an octave up. A clip of n samples becomes one of ``round(n / speed)``.
    probability : float, default=1.0
        Probability that a clip is changed, in [0, 1].

    See Also
    --------
    PitchShift : Changes pitch and formants, and keeps the length.
    TimeShift : Shifts without changing the speed.
    skaudio.networks.MTSNet : A network whose kernels respond at several tempi.
    make_chain : Combines several augmentations.

    Notes
    -----
    :meth:`apply` returns a pair, waveforms and the length of each. Frequencies that a faster clip
    would have above half the sample rate are removed.

    A network that only takes clips of one length, in an estimator, gets them all in that length:
    faster clips end in silence, and the ends of slower ones are cut off.

    References
    ----------
    .. [1] Ko et al., "Audio Augmentation for Speech Recognition", Interspeech 2015.

    Examples
    --------
    >>> import torch
    >>> from skaudio.augmentation import SpeedChange
    >>> speed = SpeedChange(factors=(2, 2))
    >>> x, lengths = speed.apply(torch.ones(1, 6), torch.Generator(), domain="waveform")
    >>> x.shape, lengths
    (torch.Size([1, 3]), tensor([3]))
    """

    domains = frozenset(["waveform"])
    _ranges = {"factors": Interval(Real, 0, None, closed="neither")}

    def __init__(
        self, factors: tuple[float, float] = (0.9, 1.1), *, probability: float = 1.0
    ) -> None:
        self.factors = factors
        self.probability = probability

    def _draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        return (log_uniform(self.factors, shape[0], generator),)

    def _change(
        self, x: Tensor, draws: Draws, lengths: Tensor, sample_rate: float | None
    ) -> Augmented:
        return change_speed(x, draws[0], lengths)


def change_speed(x: Tensor, factor: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Play waveforms ``(batch, n_samples)`` at `factor` ``(batch,)`` times their speed.

    Returns the waveforms with zeros behind them, and their lengths.
    """
    clips = [
        play_at(clip[:length], speed)
        for clip, length, speed in zip(x, lengths.tolist(), factor.tolist(), strict=True)
    ]
    lengths = torch.tensor([len(clip) for clip in clips], device=x.device)
    return stack_clips(clips, max(1, *map(len, clips))), lengths


def play_at(clip: Tensor, speed: float) -> Tensor:
    """Resample a waveform ``(n,)`` to one of ``round(n / speed)`` samples, at least one."""
    if speed == 1 or len(clip) == 0:
        return clip
    size, new_size = _transform_sizes(len(clip), speed)
    # A sound within one period of N samples is the sum of tones of k / N cycles a sample. The same
    # tones in a period of M samples have k / M, N / M times as many. Those at or above half the
    # new sample rate, k >= M / 2, are left out. irfft divides by M where rfft summed N samples.
    spectrum = torch.fft.rfft(clip.to(at_least_float32(clip.dtype)), size)
    kept = spectrum[: (min(size, new_size) + 1) // 2]
    played = torch.fft.irfft(kept, new_size) * (new_size / size)
    return played[: max(1, round(len(clip) / speed))]


def _transform_sizes(n_samples: int, speed: float) -> tuple[int, int]:
    """Find sizes N and M of the transforms whose ratio N / M is nearly the speed.

    For 12 sizes N from the least that will do, M rounds to a multiple of a block. Of 12 rounding
    errors the least is about a 24th of a block, so that the speed is off by 1e-5 in clips of 2 s
    at 16 kHz, and by 3e-3 at most, as M has 80 blocks or more.
    """
    least = max(-(-(n_samples + _GAP) // _BLOCK), math.ceil(80 * speed))
    blocks = ((n, round(n / speed)) for n in count(least))
    fast = islice((pair for pair in blocks if all(map(_is_fast, pair))), 12)
    best = min(fast, key=lambda pair: abs(pair[0] / pair[1] / speed - 1))
    return best[0] * _BLOCK, best[1] * _BLOCK


@lru_cache(4096)
def _is_fast(n_blocks: int) -> bool:
    """Tell whether a transform of so many blocks is one of the fast ones."""
    for prime in _PRIMES:
        while n_blocks % prime == 0:
            n_blocks //= prime
    return n_blocks == 1
