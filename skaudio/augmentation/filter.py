"""Random filters."""

from __future__ import annotations

import math
from numbers import Integral, Real

import torch
from torch import Tensor

from skaudio._validation import Interval
from skaudio.augmentation._base import BaseAugmentation, Draws, clear_padding
from skaudio.layers.precision import at_least_float32

__all__ = ["RandomFilter", "filter_smoothly"]

_LOWEST_HZ = 60.0

# Silence behind a clip, in samples, for the filter's response to end in: the Fourier transform
# takes a clip for one period of an endless sound.
_GAP = 512


class RandomFilter(BaseAugmentation):
    """Filter waveforms by a random smooth curve, as other microphones and rooms would.

    Parameters
    ----------
    max_gain_db : float, default=6.0
        Largest gain and attenuation in decibels, > 0.
    n_points : int, default=6
        Number of frequencies, >= 2, at equal musical intervals from 60 Hz to half the sample
        rate, whose gains are drawn uniformly in [-max_gain_db, max_gain_db]. Between them the
        curve is smooth; the more points, the finer its structure.
    probability : float, default=1.0
        Probability that a clip is changed, in [0, 1].

    See Also
    --------
    Gain : The same gain for all frequencies.
    Reverberation : Filters with responses that were recorded.
    make_chain : Combines several augmentations.

    Notes
    -----
    Phases stay as they are, so that nothing is delayed.

    Examples
    --------
    >>> import torch
    >>> from skaudio.augmentation import RandomFilter
    >>> x = torch.zeros(1, 16000)
    >>> x[0, 8000] = 1  # all frequencies alike
    >>> generator = torch.Generator().manual_seed(0)
    >>> y = RandomFilter(max_gain_db=12).apply(x, generator, domain="waveform", sample_rate=16000)
    >>> response = 20 * torch.fft.rfft(y).abs().log10()[0]
    >>> bool(response.abs().max() <= 12)
    True
    """

    domains = frozenset(["waveform"])
    _parameter_constraints: dict = {
        **BaseAugmentation._parameter_constraints,
        "max_gain_db": [Interval(Real, 0, None, closed="neither")],
        "n_points": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(
        self, max_gain_db: float = 6.0, n_points: int = 6, *, probability: float = 1.0
    ) -> None:
        self.max_gain_db = max_gain_db
        self.n_points = n_points
        self.probability = probability

    def _draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        return (2 * torch.rand(shape[0], self.n_points, generator=generator) - 1,)

    def _change(
        self, x: Tensor, draws: Draws, lengths: Tensor, sample_rate: float | None
    ) -> Tensor:
        if sample_rate is None:
            raise ValueError(
                "RandomFilter: its frequencies are in Hz, but the sample rate of the waveforms is "
                "not known. Pass sample_rate to apply (an estimator takes it from its frontend)."
            )
        x = clear_padding(x, lengths)
        return filter_smoothly(x, self.max_gain_db * draws[0], sample_rate)


def filter_smoothly(x: Tensor, gains_db: Tensor, sample_rate: float) -> Tensor:
    """Filter waveforms ``(batch, n_samples)`` so that `gains_db` ``(batch, n_points)`` hold.

    The points are at equal intervals of pitch from 60 Hz to half the sample rate.
    """
    exact = x.to(at_least_float32(x.dtype))
    # A multiple of 1024 is a size without large prime factors, up to 10^6 samples at least.
    size = -(-(x.shape[-1] + _GAP) // 1024) * 1024
    spectrum = torch.fft.rfft(exact, size)
    bins = torch.arange(spectrum.shape[-1], device=x.device, dtype=exact.dtype)
    frequency = (bins * (sample_rate / size)).clamp(min=_LOWEST_HZ)
    # The last point is at half the sample rate; where that is no more than 60 Hz all bins get the
    # gain of the first.
    octaves = max(math.log2(sample_rate / 2 / _LOWEST_HZ), 1e-6)
    last = gains_db.shape[1] - 1
    place = (torch.log2(frequency / _LOWEST_HZ) * (last / octaves)).clamp(0, last)
    left = place.long().clamp(max=last - 1)
    # Half a cosine from point to point: the curve has no corners, and stays between its points.
    way = 0.5 - 0.5 * torch.cos(math.pi * (place - left))
    decibels = torch.lerp(gains_db[:, left], gains_db[:, left + 1], way.to(gains_db.dtype))
    # The response is real, hence its impulse response symmetric in time: half of it comes before
    # the impulse. A clip's beginning is thus heard at the end of the silence behind it, and lost.
    filtered = torch.fft.irfft(spectrum * torch.pow(10, decibels / 20), size)
    return filtered[:, : x.shape[-1]]
