"""Normalisation of features in which padding is not counted."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["BandNorm", "LevelNorm", "MaskedBatchNorm2d"]


class MaskedBatchNorm2d(nn.BatchNorm2d):
    """:class:`torch.nn.BatchNorm2d` whose statistics leave padding out.

    In training, mean and variance are those of the real frames alone, so that a batch teaches the
    same however far it is padded. A batch with fewer than two values per channel has no variance:
    it is normalised by the running statistics, where torch raises an error.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats, device, dtype
        As for :class:`torch.nn.BatchNorm2d`.

    Shape: input and output ``(batch, num_features, n_bands, n_frames)``; mask
    ``(batch, 1, 1, n_frames)``, True where a frame is real. Padding comes out as some number or
    other: multiply by the mask what goes on.

    See Also
    --------
    BandNorm : For the input of a network, with statistics for each band.
    frame_mask : Makes the mask.
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
        # Not E[x^2] - E[x]^2: of decibels with mean -40 and deviation 10 these are 1700 and 1600,
        # and their difference would have 17 times the rounding error of either.
        var = (centred.square() * weight).sum(axes) / count
        self._update_running(mean.detach(), var.detach(), count)
        scale = self.weight * torch.rsqrt(var + self.eps)
        return centred * scale.view(shape) + self.bias.view(shape)

    def _update_running(self, mean: Tensor, var: Tensor, count: Tensor) -> None:
        # As torch does: this batch is normalised by the variance divided by n, the running
        # variance estimates that of all data and takes n - 1.
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
        Bands of the features.
    n_channels : int, default=1
        Channels of the features.

    Shape: input and output ``(batch, n_channels, n_bands, n_frames)``; mask
    ``(batch, 1, 1, n_frames)``, True where a frame is real.

    See Also
    --------
    LevelNorm : Makes each clip independent of its gain, and learns nothing.
    MaskedBatchNorm2d : Does the same between the layers of a network, with statistics for each
        channel.

    Examples
    --------
    >>> import torch
    >>> from skaudio.layers import BandNorm
    >>> decibels = 10 * torch.randn(16, 1, 40, 100) - 50
    >>> round(BandNorm(n_bands=40)(decibels).std().item(), 2)
    1.0
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

    On a logarithmic scale a gain g adds the constant ``20 log10(g)`` dB to all values, so that
    the difference from their mean does not depend on it. Voices and microphones that were not in
    the training data often differ in level more than in anything else. Each channel has its own
    mean: a channel without decibels, such as DiffRes' resolution encoding, is not shifted by the
    level of the others.

    Shape: input and output ``(batch, n_channels, n_bands, n_frames)``; mask
    ``(batch, 1, 1, n_frames)``, True where a frame is real.

    See Also
    --------
    BandNorm : Normalises each band by statistics of the training set.

    Examples
    --------
    >>> import torch
    >>> from skaudio.layers import LevelNorm
    >>> quiet = torch.randn(1, 1, 40, 100) - 50
    >>> torch.allclose(LevelNorm()(quiet), LevelNorm()(quiet + 20), atol=1e-4)
    True
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Shift every channel to a mean of zero."""
        axes = (2, 3)
        if mask is None:
            return x - x.mean(axes, keepdim=True)
        n_cells = mask.sum(axes, keepdim=True) * x.shape[2]
        # Filled rather than multiplied by the mask: not a number times 0 is still not a number.
        return x - x.masked_fill(~mask, 0.0).sum(axes, keepdim=True) / n_cells
