"""Several features of the same waveforms, stacked as bands, as a torch module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from skaudio.layers.framing import Lengths
from skaudio.layers.masking import frame_mask
from skaudio.layers.pitch_salience import PitchSalience
from skaudio.layers.spectrogram import MFCC, LogMel, Spectrogram

__all__ = ["StackedFeatures"]

_KINDS: dict[str, Any] = {
    "LogMel": LogMel,
    "MFCC": MFCC,
    "PitchSalience": PitchSalience,
    "Spectrogram": Spectrogram,
}


class StackedFeatures(nn.Module):
    """Stack the bands of several features, as :class:`skaudio.features.StackedFeatures` does.

    Parameters
    ----------
    parts : sequence of tuple (str, dict)
        Names of modules, "LogMel", "MFCC", "PitchSalience" or "Spectrogram", and their arguments.
    average : int, default=1
        How many frames after one another are averaged into one.

    Shape: input ``(batch, n_samples)``, in [-1, 1], and `lengths` ``(batch,)``, the samples of
    each clip where clips are followed by padding; output ``(batch, n_bands, n_frames)``, of which
    the first ``n_frames(lengths)`` frames are those of the clip alone.

    See Also
    --------
    skaudio.features.StackedFeatures : The transformer, which has the arguments for this module.
    LogMel : One of the features that can be stacked.
    """

    def __init__(self, parts: Sequence[tuple[str, dict[str, Any]]], *, average: int = 1) -> None:
        super().__init__()
        self.parts: Any = nn.ModuleList(_KINDS[name](**arguments) for name, arguments in parts)
        self.average = average

    @property
    def n_bands(self) -> int:
        """Bands of all features."""
        return sum(part.n_bands for part in self.parts)

    def n_frames(self, n_samples: Lengths) -> Lengths:
        """Count the frames of a clip, as :meth:`LogMel.n_frames` does, after averaging."""
        return -(-self.parts[0].n_frames(n_samples) // self.average)

    def padded_length(self, n_samples: Lengths) -> Lengths:
        """Compute how far a clip can be padded, as :meth:`LogMel.padded_length` does."""
        shortest, *others = [part.padded_length(n_samples) for part in self.parts]
        for other in others:
            shortest = shortest * (shortest <= other) + other * (other < shortest)
        return shortest

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Compute all features."""
        bands = torch.cat([part(waveform, lengths) for part in self.parts], dim=1)
        if self.average == 1:
            return bands
        n_frames = bands.shape[2]
        if lengths is None:
            real = torch.ones(1, 1, n_frames, dtype=torch.bool, device=bands.device)
        else:
            real = frame_mask(self.parts[0].n_frames(lengths), n_frames)[:, 0]
        # The last frames of a clip may be fewer than `average`: the mean is that of the real ones.
        # Where there are none, it is that of padding, which is as silent as it was.
        missing = -n_frames % self.average
        bands, real, here = (
            functional.pad(x, (0, missing)).unflatten(2, (-1, self.average))
            for x in (bands, real, torch.ones_like(real))
        )
        counted = torch.where(real.any(3, keepdim=True), real, here)
        return bands.masked_fill(~counted, 0).sum(3) / counted.sum(3)
