"""Makes log features independent of how loud a clip was recorded."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["LevelNorm"]


class LevelNorm(nn.Module):
    """Subtract from each channel of a clip its mean over bands and (real) frames.

    On a logarithmic scale a gain is a constant, so that what is left does not depend on it. A
    voice or a microphone that training has not heard mostly differs in just that. Channels that
    hold something else, such as DiffRes' encoding, get nothing of it.

    Shape: input and output ``(batch, n_channels, n_bands, n_frames)``; mask
    ``(batch, 1, 1, n_frames)``, True where a frame is real.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Shift every channel to a mean of zero."""
        axes = (2, 3)
        if mask is None:
            return x - x.mean(axes, keepdim=True)
        n_cells = mask.sum(axes, keepdim=True) * x.shape[2]
        return x - x.masked_fill(~mask, 0.0).sum(axes, keepdim=True) / n_cells
