"""Random changes of speed."""

from __future__ import annotations

from numbers import Real

import torch
from torch import Tensor

from skaudio._validation import Interval
from skaudio.augmentation._base import BaseAugmentation, Draws, uniform

__all__ = ["SpeedChange", "change_speed"]

# Positions between samples are integers in units of 2 ** -_BITS samples, and so exact in clips of
# any length. In float32, whose significand has 24 bits, the position of sample 480 000 (30 s at
# 16 kHz, over 2 ** 18) would be rounded to multiples of 2 ** (18 - 23) = 0.03 samples.
_BITS = 20


class SpeedChange(BaseAugmentation):
    """Resample waveforms to a random speed, so that pitch and tempo change together.

    Parameters
    ----------
    factors : tuple of float (low, high), default=(0.9, 1.1)
        Range of the speed, > 0, drawn so that its logarithm is uniform; 2 is twice as fast and
        an octave up. A clip keeps its number of samples: a faster one ends in silence, and the
        end of a slower one is cut off.
    probability : float, default=1.0
        Probability that a clip is changed, in [0, 1].

    See Also
    --------
    TimeShift : Shifts without changing the speed.
    skaudio.networks.MTSNet : A network whose kernels respond at several tempi.
    make_chain : Combines several augmentations.

    Notes
    -----
    Samples are interpolated by a cubic through four neighbours (Catmull and Rom). That is fast,
    and accurate for frequencies well below half the sample rate; there is no filter, so that
    the highest frequencies of a faster clip are aliased.

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
    part = (position & (2**_BITS - 1)) * 2.0**-_BITS  # of the way to the next sample, in [0, 1)
    last = (lengths[:, None] - 1).clamp(min=0)
    # Beyond the clip's ends its first and last sample are repeated.
    left, start, end, right = (
        x.gather(1, (before + i).clamp(min=0).minimum(last)) for i in (-1, 0, 1, 2)
    )
    # The cubic p(t) = start + slope t + c2 t ** 2 + c3 t ** 3 between two samples has their values
    # at its ends, p(1) = end, and there the slopes of the chords between their neighbours,
    # p'(1) = next_slope. Solving these two equations gives c2 and c3.
    slope, next_slope = (end - left) / 2, (right - start) / 2
    rise = end - start
    c2 = 3 * rise - 2 * slope - next_slope
    c3 = slope + next_slope - 2 * rise
    value = start + part * (slope + part * (c2 + part * c3))
    return torch.where(before <= last, value, 0)
