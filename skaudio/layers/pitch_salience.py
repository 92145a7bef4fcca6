"""Salience of each pitch, as a torch module."""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from skaudio.layers.framing import Framed, PadMode, groups_of_clips, in_dtype_of, no_autocast

__all__ = ["PitchSalience"]


class PitchSalience(Framed):
    """Compute the salience of pitches, as :class:`skaudio.features.PitchSalience` does.

    Parameters
    ----------
    window : array-like of shape (n_fft,)
        Zero-padded by more than the longest lag.
    hop_length : int
        Samples from one frame to the next.
    weights : array-like of shape (n_lags, n_fft // 2 + 1)
        Of a power spectrum in the salience of each lag.
    energy_weights : array-like of shape (n_fft // 2 + 1,)
        Of a power spectrum in the energy of its frame.
    floor : float
        Added to the energy, so that silence has a salience of 0.
    center : bool, default=True
        Whether frame t is centred on sample ``t * hop_length`` rather than starting there.
    pad_mode : {"constant", "edge", "reflect", "symmetric"}, default="constant"
        What lies before and after a centred clip, as in :func:`numpy.pad`.

    Shape: input ``(batch, n_samples)``, in [-1, 1], and `lengths` ``(batch,)``, the samples of
    each clip where clips are followed by padding; output ``(batch, n_lags, n_frames)``, in
    [-1, 1], of which the first ``n_frames(lengths)`` frames are those of the clip alone.

    See Also
    --------
    skaudio.features.PitchSalience : The transformer, which has the arguments for this module.
    StackedFeatures : Puts these bands beside those of a log-mel spectrogram.
    """

    weights: Tensor
    energy_weights: Tensor

    def __init__(
        self,
        window: ArrayLike,
        hop_length: int,
        weights: ArrayLike,
        energy_weights: ArrayLike,
        floor: float,
        *,
        center: bool = True,
        pad_mode: PadMode = "constant",
    ) -> None:
        super().__init__(window, hop_length, center, pad_mode)
        self._constant("weights", weights)
        self._constant("energy_weights", energy_weights)
        self.floor = floor

    @property
    def n_bands(self) -> int:
        """Lags."""
        return len(self.weights)

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Compute the salience."""
        with no_autocast(waveform):
            frames = self._frames(waveform, lengths)
            salience = torch.cat([self._salience(part) for part in groups_of_clips(frames)])
            return in_dtype_of(salience.transpose(1, 2), waveform)

    def _salience(self, frames: Tensor) -> Tensor:
        window = self.window.to(frames.dtype).sum(0)
        mean = frames @ window / window.sum()
        power = self._magnitude(frames - mean[..., None], 2)
        energy = power @ self.energy_weights.to(frames.dtype) + self.floor
        return (power @ self.weights.to(frames.dtype).T / energy[..., None]).clamp(-1, 1)
