"""Normalisation of features in which padding is not counted."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["BandNorm", "LevelNorm", "MaskedBatchNorm2d"]


class MaskedBatchNorm2d(nn.BatchNorm2d):
    """:class:`torch.nn.BatchNorm2d` whose statistics leave padding out.

    A batch with fewer than two values per channel is normalised by the running statistics,
    where torch raises an error.

    Shape: input and output ``(batch, num_features, n_bands, n_frames)``; mask
    ``(batch, 1, 1, n_frames)``, True where a frame is real.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise each channel; padding is normalised too but not counted."""
        if not self.training:
            return super().forward(x)
        if x.numel() // x.shape[1] < 2:
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(x) if mask is None else self._forward_masked(x, mask)

    def _forward_masked(self, x: Tensor, mask: Tensor) -> Tensor:
        weight = mask.to(x.dtype)
        count = weight.sum() * x.shape[2]
        axes, shape = (0, 2, 3), (1, -1, 1, 1)
        mean = (x * weight).sum(axes) / count
        centred = x - mean.view(shape)
        var = (centred.square() * weight).sum(axes) / count
        self._update_running(mean.detach(), var.detach(), count)
        scale = self.weight * torch.rsqrt(var + self.eps)
        return centred * scale.view(shape) + self.bias.view(shape)

    def _update_running(self, mean: Tensor, var: Tensor, count: Tensor) -> None:
        unbiased = var * count / (count - 1).clamp(min=1)
        momentum = cast(float, self.momentum)
        for buffer, batch in ((self.running_mean, mean), (self.running_var, unbiased)):
            running = cast(Tensor, buffer)
            running.lerp_(batch.to(running.dtype), momentum)
        cast(Tensor, self.num_batches_tracked).add_(1)


class BandNorm(nn.Module):
    """Batch normalisation with statistics of its own for every channel and band.

    Put first in a network, it makes raw decibels fine as input.

    Parameters
    ----------
    n_bands : int
    n_channels : int, default=1

    Shape: input and output ``(batch, n_channels, n_bands, n_frames)``.
    """

    def __init__(self, n_bands: int, n_channels: int = 1) -> None:
        super().__init__()
        self.norm = MaskedBatchNorm2d(n_channels * n_bands)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise every band over clips and (real) frames."""
        batch, channels, bands, frames = x.shape
        flat = x.reshape(batch, channels * bands, 1, frames)
        return self.norm(flat, mask).reshape(x.shape)


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
