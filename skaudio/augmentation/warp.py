"""Random warps of the frequency axis of features."""

from __future__ import annotations

from numbers import Real

import torch
from torch import Tensor

from skaudio._validation import Interval
from skaudio.augmentation._base import BaseAugmentation, Draws, log_uniform

__all__ = ["VocalTractWarp", "warp_bands"]

# Bands up to this share of all are moved by the factor; what is above is squeezed or spread.
_KNEE = 0.8


class VocalTractWarp(BaseAugmentation):
    """Warp the bands of features by a random factor, as vocal tracts of other lengths would.

    Known as vocal-tract-length perturbation. It needs no waveforms, unlike
    :class:`SpeedChange`, which changes pitch, formants and tempo as a real speaker has them.

    Parameters
    ----------
    factors : tuple of float (low, high), default=(0.9, 1.1)
        Range of the factor, > 0, drawn so that its logarithm is uniform: what was in band b moves
        to band ``factor * b``.
    probability : float, default=1.0
        Probability that a clip is changed, in [0, 1].

    See Also
    --------
    SpeedChange : Changes speakers more truly, by waveforms.
    FrequencyMask : Masks bands.
    make_chain : Combines several augmentations.

    Notes
    -----
    Bands have to be frequencies from low to high, as those of a spectrogram are. The factor is
    that of the scale on which they are equally spaced, which may be Hz or mel. Up to 80% of the
    bands (less with factors over 1) are moved by it; those above are squeezed or spread, so that
    the highest band stays where it is [1]_. Values between two bands are interpolated.

    References
    ----------
    .. [1] Jaitly and Hinton, "Vocal Tract Length Perturbation (VTLP) improves speech
       recognition", ICML Workshop on Deep Learning for Audio, Speech and Language, 2013.

    Examples
    --------
    >>> import torch
    >>> from skaudio.augmentation import VocalTractWarp
    >>> x = torch.tensor([0.0, 0, 1, 0, 0, 0, 0, 0, 0]).view(1, 1, 9, 1)
    >>> warp = VocalTractWarp(factors=(1.5, 1.5))
    >>> warp.apply(x, torch.Generator(), domain="feature").flatten()[:4]
    tensor([0.0000, 0.0000, 0.3333, 1.0000])
    """

    domains = frozenset(["feature"])
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
    ) -> Tensor:
        return warp_bands(x, draws[0])


def warp_bands(x: Tensor, factor: Tensor) -> Tensor:
    """Move bands of features ``(batch, channel, band, frame)`` by a factor ``(batch,)``."""
    top = x.shape[2] - 1
    band = torch.arange(top + 1, device=x.device)[None]
    factor = factor[:, None]
    # The line from 0 with the slope 1 / factor says where a new band comes from, up to the knee.
    # From there a second line leads to the top. The knee is where the old or the new band, the
    # higher of the two, is at its share of the bands.
    knee = _KNEE * top * factor.clamp(max=1)
    rest = (top - knee / factor) / (top - knee).clamp(min=1e-6)
    source = torch.where(band <= knee, band / factor, top - (top - band) * rest).clamp(0, top)
    below = source.long().clamp(max=max(top - 1, 0))
    way = (source - below).to(x.dtype)[:, None, :, None]
    index = below[:, None, :, None].expand(-1, x.shape[1], -1, x.shape[3])
    low, high = x.gather(2, index), x.gather(2, (index + 1).clamp(max=top))
    return torch.lerp(low, high, way.expand_as(low))
