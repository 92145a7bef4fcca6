"""A small network of depthwise-separable convolutions within norm bounds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from numbers import Real
from typing import Literal

from torch import Tensor, nn

from skaudio._validation import Interval, StrOptions
from skaudio.layers import (
    AttentionPooling,
    BandNorm,
    ConstrainedHead,
    ConvBlock,
    DepthwiseConv2d,
    LevelNorm,
    MaskedBatchNorm2d,
    MaskedBlocks,
    ResidualBlock,
    SeparableConv2d,
    StatisticsPooling,
    VectorNorm,
    frame_mask,
)
from skaudio.networks._sizes import check_counts, check_pairs
from skaudio.networks.base import BaseNetwork

__all__ = ["SeparableNet"]

# A score per position needs few directions; one for each channel would have more weights than
# all other layers together.
_N_SCORE = 8


class SeparableNet(BaseNetwork):
    """Network of few parameters and few multiply-adds, for small corpora and small devices.

    A 3 x 3 convolution that steps over every other band and frame, then residual blocks of
    separable convolutions: each channel is filtered on its own (the filters' norms bounded), then
    channels are mixed. Every block halves bands and frames. A last depthwise filter spans all
    bands that are left, so that each channel has a spectral profile, as EEGNet [1]_ has a spatial
    filter over all electrodes. Mean and deviation over time, with learned weights, give one vector
    per clip, a linear head with bounded norms the logits. The bounds are EEGNet's, the separable
    convolutions Xception's [2]_.

    Parameters
    ----------
    n_filters : tuple of int, default=(16, 32, 48)
        Channels of the first convolution, which is a plain one, and of each block after it.
    kernel_size : tuple of int, or tuple of such tuples, default=(5, 5)
        Bands and frames that a depthwise filter spans, for all blocks after the first convolution
        or one by one.
    dropout : float, default=0.0
        Share of values set to zero after each block while training, in [0, 1). Better 0 with
        ``pooling="statistics"``: it adds to the deviations, but only while training.
    head_dropout : float, default=0.3
        Share of values set to zero before the last layer while training, in [0, 1).
    level_norm : bool, default=False
        Subtract the mean of each channel of a clip, so that the gain of a recording does not
        matter. Only for bands that are all decibels. Clips of a single band are left as they are:
        their level may be all they have.
    depth_max_norm : float or None, default=1.0
        Largest norm of a depthwise filter, > 0; None for no bound.
    dense_max_norm : float or None, default=0.25
        Largest norm of an output's weights in the head, > 0; None for no bound.
    first_stride : tuple of int or None, default=(2, 2)
        Bands and frames that the first convolution steps over. None lets it take every step, and
        halve bands and frames as the other blocks do.
    block : {"residual", "plain"}, default="residual"
        What the blocks after the first convolution are: two separable convolutions beside a
        shortcut, with gates on the channels (:class:`~skaudio.layers.ResidualBlock`), or one each.
    pooling : {"statistics", "attention"}, default="statistics"
        What becomes of the frames: their mean and deviation with learned weights, brought to one
        scale by batch norm; or their mean with such weights.

    See Also
    --------
    skaudio.layers.SeparableConv2d : The layer that it is made of.
    skaudio.callbacks.NormScaling : Keeps the bounds while training.
    MTSNet : Plain convolutions, with kernels stretched in time.

    References
    ----------
    .. [1] Lawhern et al., "EEGNet: A Compact Convolutional Network for EEG-based Brain-Computer
       Interfaces", Journal of Neural Engineering 15(5), 2018, arXiv 1611.08024.
    .. [2] Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", CVPR 2017,
       arXiv 1610.02357.

    Examples
    --------
    >>> import torch
    >>> from skaudio.networks import SeparableNet
    >>> module = SeparableNet(n_filters=(8, 16)).build(n_bands=40, n_outputs=3)
    >>> module(torch.randn(2, 1, 40, 100)).shape
    torch.Size([2, 3])
    """

    _parameter_constraints: dict = {
        "n_filters": [tuple, list],
        "kernel_size": [tuple, list],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "head_dropout": [Interval(Real, 0, 1, closed="left")],
        "level_norm": ["boolean"],
        "depth_max_norm": [Interval(Real, 0, None, closed="neither"), None],
        "dense_max_norm": [Interval(Real, 0, None, closed="neither"), None],
        "first_stride": [tuple, list, None],
        "block": [StrOptions({"residual", "plain"})],
        "pooling": [StrOptions({"statistics", "attention"})],
    }

    def __init__(
        self,
        n_filters: Sequence[int] = (16, 32, 48),
        kernel_size: Sequence = (5, 5),
        dropout: float = 0.0,
        head_dropout: float = 0.3,
        level_norm: bool = False,
        depth_max_norm: float | None = 1.0,
        dense_max_norm: float | None = 0.25,
        *,
        first_stride: Sequence[int] | None = (2, 2),
        block: Literal["residual", "plain"] = "residual",
        pooling: Literal["statistics", "attention"] = "statistics",
    ) -> None:
        self.n_filters = n_filters
        self.kernel_size = kernel_size
        self.dropout = dropout
        self.head_dropout = head_dropout
        self.level_norm = level_norm
        self.depth_max_norm = depth_max_norm
        self.dense_max_norm = dense_max_norm
        self.first_stride = first_stride
        self.block = block
        self.pooling = pooling

    def _build(
        self, n_bands: int, n_outputs: int, n_frames: int | None, n_channels: int
    ) -> nn.Module:
        check_counts("n_filters", self.n_filters)
        return _SeparableModule(self, n_bands, n_outputs, n_channels)

    def _block(self, n_in: int, n_out: int, size: tuple[int, int]) -> nn.Module:
        """Make a block after the first."""
        first = SeparableConv2d(n_in, n_out, size, depth_max_norm=self.depth_max_norm)
        if self.block == "plain":
            return ConvBlock(first, n_out, dropout=self.dropout)
        second = SeparableConv2d(n_out, n_out, size, depth_max_norm=self.depth_max_norm)
        return ResidualBlock(first, second, n_in, n_out, dropout=self.dropout)


class _SeparableModule(nn.Module):
    n_frames = None

    def __init__(self, net: SeparableNet, n_bands: int, n_outputs: int, n_channels: int) -> None:
        super().__init__()
        first, last, bound = net.n_filters[0], net.n_filters[-1], net.depth_max_norm
        sizes = check_pairs("kernel_size", net.kernel_size, len(net.n_filters) - 1)
        stride, pool = (1, 1), (2, 2)
        if net.first_stride is not None:
            stride, pool = check_pairs("first_stride", net.first_stride, 1)[0], (1, 1)
        conv = nn.Conv2d(n_channels, first, 3, stride=stride, padding=1, bias=False)
        blocks: list[nn.Module] = [ConvBlock(conv, first, pool, net.dropout, stride=stride[1])]
        blocks += [
            net._block(*channels, size)
            for channels, size in zip(pairwise(net.n_filters), sizes, strict=True)
        ]
        n_halved = len(blocks) - 1
        n_left = -(-n_bands // (stride[0] * pool[0] * 2**n_halved))
        self.level_norm = LevelNorm() if net.level_norm and n_bands > 1 else None
        self.input_norm = BandNorm(n_bands, n_channels)
        self.blocks = MaskedBlocks(blocks, strides=[stride[1] * pool[1]] + [2] * n_halved)
        self.profile = DepthwiseConv2d(last, 1, (n_left, 1), padding="valid", max_norm=bound)
        self.profile_norm = MaskedBatchNorm2d(last)
        deviates = net.pooling == "statistics"
        n_pooled = 2 * last if deviates else last
        self.pooling = (StatisticsPooling if deviates else AttentionPooling)(last, _N_SCORE)
        self.pooled_norm = VectorNorm(n_pooled) if deviates else None
        self.head_dropout = nn.Dropout(net.head_dropout)
        self.head = ConstrainedHead(n_pooled, n_outputs, max_norm=net.dense_max_norm)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map ``(batch, n_channels, n_bands, n_frames)`` to ``(batch, n_outputs)``."""
        mask = None if lengths is None else frame_mask(lengths, x.shape[-1])
        x = x if self.level_norm is None else self.level_norm(x, mask)
        x, mask = self.blocks(self.input_norm(x, mask), lengths)
        x = self.profile_norm(self.profile(x), mask).relu()  # batch, channel, 1, frame
        pooled = self.pooling(x, mask)
        pooled = pooled if self.pooled_norm is None else self.pooled_norm(pooled)
        return self.head(self.head_dropout(pooled))
