"""Random background noise."""

from __future__ import annotations

from numbers import Real
from typing import Literal

import torch
from torch import Tensor

from skaudio._validation import Interval, StrOptions
from skaudio.augmentation._base import BaseAugmentation, Draws, uniform
from skaudio.layers.masking import frame_mask

__all__ = ["AdditiveNoise", "add_at_snr", "color_noise"]

# The power density falls with frequency as f ** -exponent: 10 log10(2) = 3 dB per octave for each
# unit.
_EXPONENTS = {"white": 0, "pink": 1, "brown": 2}


class AdditiveNoise(BaseAugmentation):
    """Add Gaussian noise to waveforms, at a random signal-to-noise ratio.

    Parameters
    ----------
    snr_db : tuple of float (low, high), default=(10.0, 30.0)
        Range of the signal-to-noise ratio in decibels, from which each clip's is drawn
        uniformly. It is the ratio of the mean powers over the clip's samples, and the noise is
        scaled so that it holds exactly.
    color : {"white", "pink", "brown"}, default="white"
        Power density over frequency: constant, falling by 3 dB per octave, or by 6.
    probability : float, default=1.0
        Probability that a clip is changed, in [0, 1].

    See Also
    --------
    Gain : Changes the loudness.
    make_chain : Combines several augmentations.

    Notes
    -----
    A silent clip stays silent, as no noise would give it a finite ratio.

    Examples
    --------
    >>> import torch
    >>> from skaudio.augmentation import AdditiveNoise
    >>> x = torch.ones(1, 1000)
    >>> noise = AdditiveNoise(snr_db=(20, 20)).apply(x, torch.Generator(), domain="waveform") - x
    >>> round(noise.square().mean().item(), 4)
    0.01
    """

    domains = frozenset(["waveform"])
    _parameter_constraints: dict = {
        **BaseAugmentation._parameter_constraints,
        "color": [StrOptions(set(_EXPONENTS))],
    }
    _ranges = {"snr_db": Interval(Real, None, None, closed="neither")}

    def __init__(
        self,
        snr_db: tuple[float, float] = (10.0, 30.0),
        *,
        color: Literal["white", "pink", "brown"] = "white",
        probability: float = 1.0,
    ) -> None:
        self.snr_db = snr_db
        self.color = color
        self.probability = probability

    def _draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        snr_db = uniform(self.snr_db, shape[0], generator)
        return snr_db, torch.randn(shape, generator=generator)

    def _change(
        self, x: Tensor, draws: Draws, lengths: Tensor, sample_rate: float | None
    ) -> Tensor:
        snr_db, white = draws
        return add_at_snr(x, color_noise(white, _EXPONENTS[self.color]), snr_db, lengths)


# -250 dB, under the last bit of any recording.
_SILENCE = 1e-25


def add_at_snr(x: Tensor, noise: Tensor, snr_db: Tensor, lengths: Tensor) -> Tensor:
    """Add noise to waveforms, both ``(batch, n_samples)``, at ratios `snr_db` ``(batch,)``."""
    # The noise is scaled by g so that P_x / (g ** 2 * P_noise) = 10 ** (snr_db / 10), hence
    # g = sqrt(P_x / P_noise * 10 ** (-snr_db / 10)). Powers are means over the clip's own samples:
    # padding would lower P_x, but not P_noise.
    real = frame_mask(lengths, x.shape[-1])[:, 0, 0]
    exact = x.to(noise.dtype)
    noise_power = _power(noise, real)
    # Of noise that is silent there is nothing to add; a division by its power would overflow.
    ratio = _power(exact, real) / noise_power.clamp(min=_SILENCE) * (noise_power > _SILENCE)
    return exact + torch.sqrt(ratio * torch.pow(10, -snr_db / 10))[:, None] * noise


def color_noise(white: Tensor, exponent: int) -> Tensor:
    """Filter white noise ``(batch, n_samples)`` so that its power falls as ``f ** -exponent``."""
    # Amplitudes are multiplied by f ** (-exponent / 2), as power is amplitude squared. The scale
    # does not matter: add_at_snr sets the power.
    if exponent == 0:
        return white
    spectrum = torch.fft.rfft(white)
    frequency = torch.arange(spectrum.shape[-1], device=white.device, dtype=white.dtype)
    # At 0 Hz the law is infinite; that bin is treated as the lowest frequency above it.
    return torch.fft.irfft(spectrum * frequency.clamp(min=1) ** (-exponent / 2), white.shape[-1])


def _power(x: Tensor, real: Tensor) -> Tensor:
    # A clip without samples has power 0, not 0 / 0.
    return (x.square() * real).sum(-1) / real.sum(-1).clamp(min=1)
