"""Normalisation of features in which padding is not counted."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from skaudio.layers.autograd import refuse_second_derivative
from skaudio.layers.precision import at_least_float32

__all__ = ["BandNorm", "LevelNorm", "MaskedBatchNorm2d", "normalise"]


class MaskedBatchNorm2d(nn.BatchNorm2d):
    """:class:`torch.nn.BatchNorm2d` whose statistics leave padding out.

    In training, mean and variance are those of the real frames alone, so that a batch teaches the
    same however far it is padded. A batch with fewer than two values per channel, padding counted,
    has no variance: it is normalised by the running statistics, where torch raises an error.

    Parameters
    ----------
    num_features : int
        Channels.
    eps : float, default=1e-5
        Added to the variance.
    momentum : float, default=0.1
        Share of a batch in the running statistics.

    Shape: input and output ``(batch, num_features, n_bands, n_frames)``; mask
    ``(batch, 1, 1, n_frames)``, True where a frame is real. With a mask, padding comes out as
    zero.

    See Also
    --------
    BandNorm : For the input of a network, with statistics for each band.
    frame_mask : Makes the mask.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(num_features, eps, momentum)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise each channel; padding is not counted, and set to zero."""
        if not self.training:
            return super().forward(x) if mask is None else super().forward(x) * mask
        if x.numel() // x.shape[1] < 2:
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        if mask is None:
            return super().forward(x)
        y, mean, var, count = _NormaliseMasked.apply(x, mask, self.weight, self.bias, self.eps)
        self._update_running(mean, var, count)
        return y

    def _update_running(self, mean: Tensor, var: Tensor, count: Tensor) -> None:
        # As torch does: this batch is normalised by the variance divided by n, the running
        # variance estimates that of all data and takes n - 1.
        unbiased = var * count / (count - 1).clamp(min=1)
        momentum = cast(float, self.momentum)
        for buffer, batch in ((self.running_mean, mean), (self.running_var, unbiased)):
            running = cast(Tensor, buffer)
            running.lerp_(batch.to(running.dtype), momentum)
        cast(Tensor, self.num_batches_tracked).add_(1)


class _NormaliseMasked(torch.autograd.Function):
    """Normalise the real frames of each channel, and set the others to zero.

    What takes the time is to read and write maps, which autograd would do twice as often, and to
    ask for memory, which is why a map is changed in place wherever its old values have served.
    Sums over two axes at once and a norm are what torch computes fastest on a CPU: torch's own
    batch norm takes longer for its statistics, so that the mask costs little compared with it.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        exact = x.to(at_least_float32(x.dtype))
        real = mask.to(exact.dtype)
        count = real.sum() * x.shape[2]
        centred = exact * real
        mean = _sum_by_channel(centred) / count
        # The difference before the square. E[x^2] - E[x]^2 would, of decibels with mean -40 and
        # deviation 10, be the difference of 1700 and 1600.
        centred.addcmul_(_as_map(mean), real, value=-1)
        var = torch.linalg.vector_norm(centred, dim=(2, 3)).square().sum(0) / count
        inverse = torch.rsqrt(var + eps)
        scale = weight * inverse
        y = torch.addcmul(_as_map(bias) * real, centred, _as_map(scale))
        ctx.save_for_backward(centred, real, scale, inverse, count)
        ctx.mark_non_differentiable(mean, var, count)
        return y.to(x.dtype), mean, var, count

    @staticmethod
    @refuse_second_derivative("MaskedBatchNorm2d")
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        centred, real, scale, inverse, count = ctx.saved_tensors
        # With z = centred * inverse, y = weight z + bias. Mean and variance depend on x, too: they
        # take the parts of the gradient along 1 and along z away. Over the real frames,
        # dx = weight * inverse * (g - mean(g) - z mean(g z)).
        dx = grad.to(centred.dtype) * real  # g, until it is scaled
        grad_bias = _sum_by_channel(dx)
        grad_weight = _sum_by_channel(dx * centred) * inverse
        share = scale / count
        dx.mul_(_as_map(scale))
        dx.addcmul_(real, _as_map(share * grad_bias), value=-1)
        dx.addcmul_(centred, _as_map(share * inverse * grad_weight), value=-1)
        return dx.to(grad.dtype), None, grad_weight, grad_bias, None


def _as_map(x: Tensor) -> Tensor:
    return x.view(1, -1, 1, 1)


def _sum_by_channel(x: Tensor) -> Tensor:
    return x.sum((2, 3)).sum(0)


def normalise(x: Tensor, norm: MaskedBatchNorm2d | None, mask: Tensor | None) -> Tensor:
    """Normalise a map if there is a norm, and set its padding to zero in any case."""
    if norm is not None:
        return norm(x, mask)
    return x if mask is None else x * mask


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
