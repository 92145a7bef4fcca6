"""Faster or slower."""

from __future__ import annotations

from numbers import Real

import torch
from torch import Tensor

from skaudio._validation import Interval
from skaudio.augmentation._base import BaseAugmentation, Draws, uniform

__all__ = ["SpeedChange", "change_speed"]

# Positions are whole numbers of 2 ** -_BITS samples: exact in clips of any length, where single
# precision would be off by 0.03 samples after half a minute.
_BITS = 20


class SpeedChange(BaseAugmentation):
    """Play waveforms faster or slower, pitch and tempo together.

    Parameters
    ----------
    factors : tuple of float (low, high), default=(0.9, 1.1)
        Range of the speed, > 0, drawn so that its logarithm is uniform; 2 is twice as fast and
        an octave up. A clip keeps its number of samples: a faster one ends in silence, a slower
        one loses its end.
    probability : float, default=1.0
        Chance of each clip to be changed, in [0, 1].

    Notes
    -----
    Samples are interpolated by a cubic through four neighbours (Catmull and Rom). That is
    cheap and good where the sound is well below half the sample rate; nothing keeps a faster
    clip's highest frequencies from aliasing.

    References
    ----------
    .. [1] Ko et al., "Audio Augmentation for Speech Recognition", Interspeech 2015.

    Examples
    --------
    >>> import torch
    >>> from skaudio.augmentation import SpeedChange
    >>> x = torch.arange(1.0, 7)[None]
    >>> SpeedChange(factors=(2, 2)).apply(x, torch.Generator(), domain="waveform")
    tensor([[1., 3., 5., 0., 0., 0.]])
    """

    domains = frozenset(["waveform"])
    _ranges = {"factors": Interval(Real, 0, None, closed="neither")}

    def __init__(
        self, factors: tuple[float, float] = (0.9, 1.1), *, probability: float = 1.0
    ) -> None:
        self.factors = factors
        self.probability = probability

    def _draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        low, high = torch.tensor(self.factors, dtype=torch.float64).log().tolist()
        return (uniform((low, high), shape[0], generator).exp(),)

    def _change(
        self, x: Tensor, draws: Draws, lengths: Tensor, sample_rate: float | None
    ) -> Tensor:
        (factor,) = draws
        return change_speed(x, factor, lengths)


def change_speed(x: Tensor, factor: Tensor, lengths: Tensor) -> Tensor:
    """Play waveforms ``(batch, n_samples)`` at `factor` ``(batch,)`` times their speed."""
    step = torch.round(factor * 2**_BITS).long()
    position = torch.arange(x.shape[-1], device=x.device) * step[:, None]  # clip, sample
    before = position >> _BITS
    way = (position & (2**_BITS - 1)) * 2.0**-_BITS  # from one sample to the next, in [0, 1)
    last = (lengths[:, None] - 1).clamp(min=0)
    left, start, end, right = (
        x.gather(1, (before + i).clamp(min=0).minimum(last)) for i in (-1, 0, 1, 2)
    )
    slope, next_slope = (end - left) / 2, (right - start) / 2
    rise = end - start
    bend = 3 * rise - 2 * slope - next_slope
    twist = slope + next_slope - 2 * rise
    value = start + way * (slope + way * (bend + way * twist))
    return torch.where(before <= last, value, 0)
