"""Blocks of a convolutional network, and the loop that takes padding through them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from skaudio.layers.masking import frame_mask, shrink_lengths
from skaudio.layers.normalization import MaskedBatchNorm2d, normalise

__all__ = ["ConvBlock", "MaskedBlocks", "make_pool"]


class ConvBlock(nn.Module):
    """Convolution, batch norm, ReLU, maximum pooling and dropout.

    Parameters
    ----------
    conv : torch.nn.Module
        Keeps the number of frames, as ``torch.nn.Conv2d(..., padding="same")`` does, or makes
        ``ceil(n_frames / stride)`` of them.
    n_channels : int
        Channels that `conv` gives.
    pool_size : int or tuple of int, default=2
        Bands and frames of which the maximum is kept. The last, incomplete window counts.
    dropout : float, default=0.0
        Probability of setting a value to zero while training, in [0, 1).
    batch_norm : bool, default=True
        Whether to normalise after the convolution.
    stride : int, default=1
        Frames that `conv` steps over.

    Shape: input ``(batch, channels, n_bands, n_frames)`` with zeros as padding, mask
    ``(batch, 1, 1, n_frames)``, True where a frame is real; output ``(batch, n_channels,
    ceil(n_bands / pool_size[0]), ceil(n_frames / pool_size[1]))``, or as many of what `conv`
    leaves, again with zeros as padding.

    See Also
    --------
    ResidualBlock : Two convolutions beside a shortcut.
    MaskedBlocks : Calls blocks one after the other, with the right mask for each.
    """

    def __init__(
        self,
        conv: nn.Module,
        n_channels: int,
        pool_size: int | tuple[int, int] = 2,
        dropout: float = 0.0,
        batch_norm: bool = True,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.conv = conv
        self.norm = MaskedBatchNorm2d(n_channels) if batch_norm else None
        self.pool = make_pool(pool_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the block's map."""
        x = self.conv(x)
        # Frame t of the result looks at the frames around t * stride: it is real if that one is.
        mask = None if mask is None else mask[..., :: self.stride]
        x = normalise(x, self.norm, mask).relu()
        # A ReLU gives nothing below zero. So the zero of padding never wins over a real frame, and
        # the maximum of a window that is partly padding is that of its real part.
        return self.dropout(self.pool(x))


def make_pool(pool_size: int | tuple[int, int]) -> nn.Module:
    """Make a maximum pooling whose last, incomplete window counts."""
    if pool_size in (1, (1, 1)):
        return nn.Identity()  # torch takes its time to find the maximum of one cell
    return nn.MaxPool2d(pool_size, ceil_mode=True)


class MaskedBlocks(nn.ModuleList):
    """Apply blocks one after the other, and keep track of which frames are padding.

    Padding is set to zero before the first block, as if each clip stood alone between zeros.

    Parameters
    ----------
    blocks : iterable of torch.nn.Module
        Called as ``block(x, mask)``. Each shortens n frames to ``ceil(n / stride)`` and gives
        zeros as padding, as :class:`ConvBlock` does.
    strides : sequence of int
        Frames that each block makes one of.

    Raises
    ------
    ValueError
        If there are not as many strides as blocks.

    Shape: input ``(batch, channels, n_bands, n_frames)``, lengths ``(batch,)`` or None where
    nothing is padding; output the last block's map, and its mask ``(batch, 1, 1, n_frames_out)``
    or None.

    See Also
    --------
    ConvBlock : A block to use.
    ResidualBlock : Another one.
    AttentionPooling : Takes the map and the mask.

    Examples
    --------
    >>> import torch
    >>> from skaudio.layers import ConvBlock, MaskedBlocks
    >>> conv = torch.nn.Conv2d(1, 8, 3, padding="same")
    >>> blocks = MaskedBlocks([ConvBlock(conv, n_channels=8)], strides=[2])
    >>> x, mask = blocks(torch.randn(2, 1, 40, 9), torch.tensor([9, 4]))
    >>> x.shape, mask.sum(3).flatten()
    (torch.Size([2, 8, 20, 5]), tensor([5, 2]))
    """

    def __init__(self, blocks: Iterable[nn.Module], strides: Sequence[int]) -> None:
        super().__init__(blocks)
        if len(strides) != len(self):
            raise ValueError(
                f"MaskedBlocks: got {len(strides)} strides for {len(self)} blocks, but expected "
                "one for each. A block that keeps all frames has the stride 1."
            )
        self.strides = tuple(strides)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Compute the last block's map, and which of its frames are real."""
        if lengths is None:
            for block in self:
                x = block(x, None)
            return x, None
        mask = frame_mask(lengths, x.shape[-1])
        x = x * mask
        for block, stride in zip(self, self.strides, strict=True):
            x = block(x, mask)
            lengths = shrink_lengths(lengths, stride)
            mask = frame_mask(lengths, x.shape[-1])
        return x, mask
