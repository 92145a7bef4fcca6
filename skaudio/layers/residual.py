"""Residual blocks, and the gates on their channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skaudio.layers.blocks import make_pool
from skaudio.layers.normalization import MaskedBatchNorm2d, normalise
from skaudio.layers.precision import LinearHead, double_in_evaluation

__all__ = ["ResidualBlock", "SqueezeExcitation"]


class SqueezeExcitation(nn.Module):
    """Scale each channel of a clip by a factor that depends on the means of all channels [1]_.

    The means over bands and (real) frames go through two dense layers with a ReLU between them;
    a sigmoid gives the factors, in (0, 1).

    Parameters
    ----------
    n_channels : int
        Channels of the map.
    reduction : int, default=4
        The first dense layer has ``n_channels / reduction`` outputs, and 4 at least.

    Shape: input and output ``(batch, n_channels, n_bands, n_frames)``, with zeros as padding;
    mask ``(batch, 1, 1, n_frames)``, True where a frame is real.

    See Also
    --------
    ResidualBlock : Has such gates.

    References
    ----------
    .. [1] Hu, Shen and Sun, "Squeeze-and-Excitation Networks", CVPR 2018, arXiv 1709.01507.

    Examples
    --------
    >>> import torch
    >>> from skaudio.layers import SqueezeExcitation
    >>> SqueezeExcitation(16)(torch.randn(2, 16, 20, 50)).shape
    torch.Size([2, 16, 20, 50])
    """

    def __init__(self, n_channels: int, reduction: int = 4) -> None:
        super().__init__()
        n_hidden = max(4, n_channels // reduction)
        # In float64 in evaluation: a product in float32 would depend on the clip's place in the
        # batch in its last bit.
        self.squeeze = LinearHead(n_channels, n_hidden)
        self.excite = LinearHead(n_hidden, n_channels)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Scale the channels of every clip."""
        n_frames: int | Tensor = x.shape[3] if mask is None else mask.sum((2, 3))
        mean = double_in_evaluation(x.sum(2), self.training).sum(2) / (n_frames * x.shape[2])
        gate = torch.sigmoid(self.excite(self.squeeze(mean).relu()))
        return x * gate.to(x.dtype)[:, :, None, None]


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut, gates on channels, ReLU, maximum pooling and dropout.

    Each convolution is followed by batch norm. Where the number of channels changes, the shortcut
    is a 1 x 1 convolution with batch norm, elsewhere the input itself.

    Parameters
    ----------
    first, second : torch.nn.Module
        Convolutions that keep the numbers of bands and frames, as ``torch.nn.Conv2d(...,
        padding="same")`` does: from `in_channels` to `out_channels`, and from those to as many.
    in_channels, out_channels : int
    pool_size : int or tuple of int, default=2
        Bands and frames of which the maximum is kept. The last, incomplete window counts.
    dropout : float, default=0.0
        Probability of setting a value to zero while training, in [0, 1).
    batch_norm : bool, default=True
        Whether to normalise after the convolutions.

    Shape: input ``(batch, in_channels, n_bands, n_frames)`` with zeros as padding, mask
    ``(batch, 1, 1, n_frames)``, True where a frame is real; output ``(batch, out_channels,
    ceil(n_bands / pool_size[0]), ceil(n_frames / pool_size[1]))``, again with zeros as padding.

    See Also
    --------
    ConvBlock : One convolution without a shortcut.
    MaskedBlocks : Calls blocks one after the other, with the right mask for each.
    SqueezeExcitation : The gates.

    References
    ----------
    .. [1] He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv 1512.03385.

    Examples
    --------
    >>> import torch
    >>> from skaudio.layers import MultiscaleConv2d, ResidualBlock
    >>> first, second = (
    ...     MultiscaleConv2d(n_in, 16, 3, padding="same", scale_factors=[(1.0, 2.0)])
    ...     for n_in in (8, 16)
    ... )
    >>> block = ResidualBlock(first, second, in_channels=8, out_channels=16)
    >>> block(torch.randn(2, 8, 20, 51)).shape
    torch.Size([2, 16, 10, 26])
    """

    def __init__(
        self,
        first: nn.Module,
        second: nn.Module,
        in_channels: int,
        out_channels: int,
        pool_size: int | tuple[int, int] = 2,
        dropout: float = 0.0,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.first_norm = MaskedBatchNorm2d(out_channels) if batch_norm else None
        self.second_norm = MaskedBatchNorm2d(out_channels) if batch_norm else None
        widens = in_channels != out_channels
        bias = not batch_norm  # batch norm would subtract it again
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=bias) if widens else None
        self.shortcut_norm = MaskedBatchNorm2d(out_channels) if widens and batch_norm else None
        self.gate = SqueezeExcitation(out_channels)
        self.pool = make_pool(pool_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the block's map."""
        y = normalise(self.first(x), self.first_norm, mask).relu()
        y = self.gate(normalise(self.second(y), self.second_norm, mask), mask)
        if self.shortcut is not None:
            x = normalise(self.shortcut(x), self.shortcut_norm, mask)
        # A ReLU gives nothing below zero. So the zero of padding never wins over a real frame, and
        # the maximum of a window that is partly padding is that of its real part.
        return self.dropout(self.pool((x + y).relu()))
