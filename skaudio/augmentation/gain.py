"""Random changes of loudness."""

from __future__ import annotations

from numbers import Real

import torch
from torch import Tensor

from skaudio._validation import Interval
from skaudio.augmentation._base import BaseAugmentation, Draws, uniform

__all__ = ["Gain", "amplify"]


class Gain(BaseAugmentation):
    """Amplify or attenuate waveforms by a random gain.

    Parameters
    ----------
    gain_db : tuple of float (low, high), default=(-6.0, 6.0)
        Range of the gain in decibels, from which each clip's is drawn uniformly; 6 dB doubles
        the amplitude. Nothing is clipped: samples may leave [-1, 1].
    probability : float, default=1.0
        Probability that a clip is changed, in [0, 1].

    See Also
    --------
    AdditiveNoise : Adds background noise.
    make_chain : Combines several augmentations.

    Examples
    --------
    >>> import torch
    >>> from skaudio.augmentation import Gain
    >>> x = torch.ones(2, 3)
    >>> Gain(gain_db=(20, 20)).apply(x, torch.Generator(), domain="waveform")[0]
    tensor([10., 10., 10.])
    """

    domains = frozenset(["waveform"])
    _ranges = {"gain_db": Interval(Real, None, None, closed="neither")}

    def __init__(
        self, gain_db: tuple[float, float] = (-6.0, 6.0), *, probability: float = 1.0
    ) -> None:
        self.gain_db = gain_db
        self.probability = probability

    def _draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        return (uniform(self.gain_db, shape[0], generator),)

    def _change(
        self, x: Tensor, draws: Draws, lengths: Tensor, sample_rate: float | None
    ) -> Tensor:
        (gain_db,) = draws
        return amplify(x, gain_db)


def amplify(x: Tensor, gain_db: Tensor) -> Tensor:
    """Amplify waveforms ``(batch, n_samples)`` by a gain in decibels ``(batch,)``."""
    # Decibels are 10 log10 of a ratio of powers, hence 20 log10 of a ratio of amplitudes.
    return x * torch.pow(10, gain_db / 20)[:, None]
