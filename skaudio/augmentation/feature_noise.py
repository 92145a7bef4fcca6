"""Random noise on features."""

from __future__ import annotations

from numbers import Real

import torch
from torch import Tensor

from skaudio._validation import Interval
from skaudio.augmentation._base import BaseAugmentation, Draws

__all__ = ["FeatureNoise"]


class FeatureNoise(BaseAugmentation):
    """Add Gaussian noise to features, as EmoNet does with spectrograms [1]_.

    Parameters
    ----------
    variance : float, default=1.0
        Variance of the noise in each cell, >= 0, in the square of the features' unit: 1.0 is a
        deviation of one decibel in decibels, and of 4.3 decibels in natural logarithm.
    probability : float, default=1.0
        Probability that a clip is changed, in [0, 1].

    See Also
    --------
    AdditiveNoise : Noise on waveforms, at a signal-to-noise ratio.
    make_chain : Combines several augmentations.

    References
    ----------
    .. [1] Gerczuk et al., "EmoNet: A Transfer Learning Framework for Multi-Corpus Speech
       Emotion Recognition", arXiv 2103.08310, 2021.

    Examples
    --------
    >>> import torch
    >>> from skaudio.augmentation import FeatureNoise
    >>> x = torch.zeros(1, 1, 300, 300)
    >>> noise = FeatureNoise(variance=4.0).apply(x, torch.Generator(), domain="feature")
    >>> round(noise.var().item(), 1)
    4.0
    """

    domains = frozenset(["feature"])
    _parameter_constraints: dict = {
        **BaseAugmentation._parameter_constraints,
        "variance": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, variance: float = 1.0, *, probability: float = 1.0) -> None:
        self.variance = variance
        self.probability = probability

    def _draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        return (torch.randn(shape, generator=generator),)

    def _change(
        self, x: Tensor, draws: Draws, lengths: Tensor, sample_rate: float | None
    ) -> Tensor:
        (noise,) = draws
        return x + self.variance**0.5 * noise
