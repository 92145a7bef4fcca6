"""Convolutional network with multi-time-scale kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from numbers import Integral, Real
from typing import Literal, get_args

from torch import Tensor, nn

from skaudio._validation import Interval, StrOptions
from skaudio.layers import (
    AttentionPooling,
    BandNorm,
    ConvBlock,
    LevelNorm,
    LinearHead,
    MaskedBatchNorm2d,
    MaskedBlocks,
    MultiscaleConv2d,
    ResidualBlock,
    StatisticsPooling,
    VectorNorm,
    frame_mask,
)
from skaudio.layers.multiscale.convolution import KernelUpdate, TrainingMode
from skaudio.networks._sizes import check_counts, check_pairs
from skaudio.networks.base import BaseNetwork

__all__ = ["MTSNet"]

# A score per frame needs few directions. Where n_frame_features is None, the vector of a frame has
# as many entries as channels and bands that are left, hundreds as a rule: one direction for each
# would have more weights than all other layers together.
_N_SCORE = 64


class MTSNet(BaseNetwork):
    """Small convolutional network with multi-time-scale kernels.

    A convolution and residual blocks shorten bands and frames. The channels and bands that are
    left form one vector for each frame, which a dense layer makes smaller. The mean and deviation
    of these vectors over time, with learned weights, stand for clips of any length, and a linear
    layer gives the logits.

    Parameters
    ----------
    n_filters : tuple of int, default=(16, 16, 32, 64)
        Kernels of each block; its length is the number of blocks.
    kernel_size : tuple of int, or tuple of such tuples, default=(3, 5)
        Bands and frames that a kernel spans, for all blocks or one by one.
    tempo_factors : tuple of float, default=(0.7, 1.428)
        Factors by which copies of the kernels are stretched in time: 0.7 matches what is spoken
        faster, 1.428 what is spoken slower. ``()`` makes a plain convolutional network.
    pool_size : tuple of int, or tuple of such tuples, default=(2, 2)
        Bands and frames of which a block keeps the maximum, for all blocks but the last, or one
        by one. ``(1, 1)`` means no pooling.
    first_stride : tuple of int or None, default=(2, 2)
        Bands and frames that the first convolution steps over. Its block then does not pool, and
        costs a quarter. None lets it take every step, and pool as the other blocks do.
    multiscale_blocks : tuple of int or None, default=(0,)
        Positions of the blocks that have stretched kernels, 0 being the first; None means all.
    block : {"residual", "plain"}, default="residual"
        What the blocks after the first one are: two convolutions beside a shortcut, with gates
        on the channels (:class:`~skaudio.layers.ResidualBlock`), or one convolution each.
    padding : {"same", "valid"}, default="same"
        Whether convolutions keep the size of their input or lose the border, for which the
        number of frames has to be fixed (``pooling="flatten"``).
    n_frame_features : int or None, default=64
        Size to which a dense layer with batch norm and ReLU brings the vector of each frame
        before the pooling; None leaves the vectors as they are.
    pooling : {"statistics", "attention", "flatten"}, default="statistics"
        What becomes of the frames: their mean and deviation with learned weights, brought to one
        scale by batch norm; their mean with such weights; or their concatenation, for clips of
        one length only.
    n_hidden : int, optional
        Size of a dense layer with ReLU before the last one; by default there is none.
    dropout : float, default=0.0
        Share of values set to zero after each block and the dense layer while training, in
        [0, 1). Better 0 with ``pooling="statistics"``: it adds to the deviations, but only while
        training.
    head_dropout : float, default=0.3
        Share of values set to zero before the last layer while training, in [0, 1).
    level_norm : bool, default=False
        Subtract the mean of each channel of a clip, so that the gain of a recording does not
        matter. Only for bands that are all decibels. Clips of a single band are left as they are:
        their level may be all they have.
    input_norm : bool, default=True
        Normalise each band over the training set first, so that raw decibels are fine.
    batch_norm : bool, default=True
        Normalise after each convolution.
    stretch_penalty_lambda : float, default=0.0
        How much less a stretched kernel counts than an unstretched one, >= 0; see
        :class:`~skaudio.layers.MultiscaleConv2d`.
    training_mode : {"train_and_eval", "only_eval", "only_train", "only_gradients"}, \
            default="train_and_eval"
        When the stretched kernels take part; see :class:`~skaudio.layers.MultiscaleConv2d`.
    kernel_update : {"tied", "averaged"}, default="tied"
        How kernels learn from their stretched versions. ``averaged`` is the published way and
        relies on the callback ``KernelAveraging``. To stretch a kernel and back smooths it, and
        that after every step, so that small kernels learn faster with ``tied``.

    See Also
    --------
    skaudio.layers.MultiscaleConv2d : The layer that it is made of.
    SeparableNet : Fewer parameters.
    DiffResNet : Shortens clips before this network or another one.

    References
    ----------
    .. [1] Guizzo, Weyde and Leveson, "Multi-Time-Scale Convolution for Emotion Recognition from
       Speech Audio Signals", ICASSP 2020, arXiv 2003.03375.

    Examples
    --------
    >>> from skaudio.networks import MTSNet
    >>> module = MTSNet().build(n_bands=64, n_outputs=10)

    The paper's largest network (A3), for clips of 200 frames:

    >>> network = MTSNet(
    ...     n_filters=(10, 10), kernel_size=(5, 10), first_stride=None, multiscale_blocks=None,
    ...     block="plain", padding="valid", n_frame_features=None, pooling="flatten",
    ...     n_hidden=200, head_dropout=0.0, input_norm=False, batch_norm=False,
    ...     kernel_update="averaged",
    ... )
    >>> module = network.build(n_bands=128, n_outputs=7, n_frames=200)
    """

    _parameter_constraints: dict = {
        "n_filters": [tuple, list],
        "kernel_size": [tuple, list],
        "tempo_factors": [tuple, list],
        "pool_size": [tuple, list],
        "first_stride": [tuple, list, None],
        "multiscale_blocks": [tuple, list, None],
        "block": [StrOptions({"residual", "plain"})],
        "padding": [StrOptions({"same", "valid"})],
        "n_frame_features": [Interval(Integral, 1, None, closed="left"), None],
        "pooling": [StrOptions({"statistics", "attention", "flatten"})],
        "n_hidden": [Interval(Integral, 1, None, closed="left"), None],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "head_dropout": [Interval(Real, 0, 1, closed="left")],
        "level_norm": ["boolean"],
        "input_norm": ["boolean"],
        "batch_norm": ["boolean"],
        "stretch_penalty_lambda": [Interval(Real, 0, None, closed="left")],
        "training_mode": [StrOptions(set(get_args(TrainingMode)))],
        "kernel_update": [StrOptions(set(get_args(KernelUpdate)))],
    }

    def __init__(
        self,
        n_filters: Sequence[int] = (16, 16, 32, 64),
        kernel_size: Sequence = (3, 5),
        tempo_factors: Sequence[float] = (0.7, 1.428),
        *,
        pool_size: Sequence = (2, 2),
        first_stride: Sequence[int] | None = (2, 2),
        multiscale_blocks: Sequence[int] | None = (0,),
        block: Literal["residual", "plain"] = "residual",
        padding: Literal["same", "valid"] = "same",
        n_frame_features: int | None = 64,
        pooling: Literal["statistics", "attention", "flatten"] = "statistics",
        n_hidden: int | None = None,
        dropout: float = 0.0,
        head_dropout: float = 0.3,
        level_norm: bool = False,
        input_norm: bool = True,
        batch_norm: bool = True,
        stretch_penalty_lambda: float = 0.0,
        training_mode: TrainingMode = "train_and_eval",
        kernel_update: KernelUpdate = "tied",
    ) -> None:
        self.n_filters = n_filters
        self.kernel_size = kernel_size
        self.tempo_factors = tempo_factors
        self.pool_size = pool_size
        self.first_stride = first_stride
        self.multiscale_blocks = multiscale_blocks
        self.block = block
        self.padding = padding
        self.n_frame_features = n_frame_features
        self.pooling = pooling
        self.n_hidden = n_hidden
        self.dropout = dropout
        self.head_dropout = head_dropout
        self.level_norm = level_norm
        self.input_norm = input_norm
        self.batch_norm = batch_norm
        self.stretch_penalty_lambda = stretch_penalty_lambda
        self.training_mode = training_mode
        self.kernel_update = kernel_update

    def _build(
        self, n_bands: int, n_outputs: int, n_frames: int | None, n_channels: int
    ) -> nn.Module:
        self._check(n_frames)
        return _MTSModule(self, n_bands, n_outputs, n_frames, n_channels)

    def _check(self, n_frames: int | None) -> None:
        check_counts("n_filters", self.n_filters)
        wanted = {"pooling": "flatten", "block": "plain", "first_stride": None}
        wrong = [name for name, value in wanted.items() if getattr(self, name) != value]
        if self.padding == "valid" and wrong:
            found = ", ".join(f"{name}={getattr(self, name)!r}" for name in wrong)
            remedy = ", ".join(f"{name}={wanted[name]!r}" for name in wrong)
            raise ValueError(
                f"padding: got 'valid', but {found}, which needs padding='same'. Set {remedy} for "
                "clips of one length, or choose padding='same' for clips of any length."
            )
        if self.pooling == "flatten" and n_frames is None:
            raise ValueError(
                "pooling: got 'flatten', which needs clips of one length, but their lengths vary. "
                "Choose pooling='statistics', or cut and pad the clips to one length."
            )
        if not all(isinstance(f, Real) and 0 < f < math.inf for f in self.tempo_factors):
            raise ValueError(
                f"tempo_factors: got {self.tempo_factors!r}, but expected positive numbers."
            )
        places = range(len(self.n_filters))
        if any(place not in places for place in self.multiscale_blocks or ()):
            raise ValueError(
                f"multiscale_blocks: got {self.multiscale_blocks!r}, but expected positions of "
                f"the {len(places)} blocks, counted from 0."
            )

    def _pools(self) -> list[tuple[int, int]]:
        """Return the bands and frames of which each block makes one."""
        pools = check_pairs("pool_size", self.pool_size, len(self.n_filters))
        if isinstance(self.pool_size[0], Integral):
            pools[-1] = (1, 1)
        if self.first_stride is not None:
            pools[0] = check_pairs("first_stride", self.first_stride, 1)[0]
        return pools

    def _block(
        self, place: int, n_in: int, n_out: int, size: tuple[int, int], pool: tuple[int, int]
    ) -> nn.Module:
        """Make the block at `place`."""
        rest = (self.dropout, self.batch_norm)
        if place > 0 and self.block == "residual":
            first = self._conv(place, n_in, n_out, size)
            second = self._conv(place, n_out, n_out, size)
            return ResidualBlock(first, second, n_in, n_out, pool, *rest)
        if place == 0 and self.first_stride is not None:
            conv = self._conv(place, n_in, n_out, size, pool)
            return ConvBlock(conv, n_out, (1, 1), *rest, stride=pool[1])
        return ConvBlock(self._conv(place, n_in, n_out, size), n_out, pool, *rest)

    def _conv(
        self,
        place: int,
        n_in: int,
        n_out: int,
        size: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
    ) -> nn.Conv2d:
        """Make a convolution of the block at `place`."""
        stretched = self.multiscale_blocks is None or place in self.multiscale_blocks
        return MultiscaleConv2d(
            n_in,
            n_out,
            size,
            stride=stride,
            padding=self.padding,
            bias=not self.batch_norm,  # batch norm would subtract it again
            scale_factors=[(1.0, factor) for factor in self.tempo_factors if stretched],
            stretch_penalty_lambda=self.stretch_penalty_lambda,
            training_mode=self.training_mode,
            kernel_update=self.kernel_update,
            time_axis=-1,
        )


class _MTSModule(nn.Module):
    def __init__(
        self, net: MTSNet, n_bands: int, n_outputs: int, n_frames: int | None, n_channels: int
    ) -> None:
        super().__init__()
        self.n_frames = n_frames if net.pooling == "flatten" else None
        sizes = check_pairs("kernel_size", net.kernel_size, len(net.n_filters))
        pools = net._pools()
        self.level_norm = LevelNorm() if net.level_norm and n_bands > 1 else None
        self.input_norm = BandNorm(n_bands, n_channels) if net.input_norm else None
        blocks = [
            net._block(place, *channels, sizes[place], pools[place])
            for place, channels in enumerate(pairwise([n_channels, *net.n_filters]))
        ]
        self.blocks = MaskedBlocks(blocks, strides=[frames for _, frames in pools])
        lost = [size if net.padding == "valid" else (1, 1) for size in sizes]
        n_rows = _size_left("bands", n_bands, [k for k, _ in lost], [p for p, _ in pools])
        n_features = net.n_filters[-1] * n_rows
        n_reduced = net.n_frame_features
        self.frame_layer = None if n_reduced is None else _FrameLayer(n_features, n_reduced)
        n_features = n_reduced or n_features
        self.pooling: nn.Module
        self.pooled_norm = None
        if net.pooling == "statistics":
            self.pooling = StatisticsPooling(n_features, n_hidden=_N_SCORE)
            n_features *= 2
            self.pooled_norm = VectorNorm(n_features)
        elif self.n_frames is None:
            self.pooling = AttentionPooling(n_features, n_hidden=_N_SCORE)
        else:
            self.pooling = _Flatten()
            kernels, strides = [k for _, k in lost], self.blocks.strides
            n_features *= _size_left("frames", self.n_frames, kernels, strides)
        self.dense = None if net.n_hidden is None else LinearHead(n_features, net.n_hidden)
        self.dropout = nn.Dropout(net.dropout)
        self.head_dropout = nn.Dropout(net.head_dropout)
        self.head = LinearHead(net.n_hidden or n_features, n_outputs)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map ``(batch, n_channels, n_bands, n_frames)`` to ``(batch, n_outputs)``."""
        lengths = self._check_frames(x, lengths)
        mask = None if lengths is None else frame_mask(lengths, x.shape[-1])
        for norm in (self.level_norm, self.input_norm):
            x = x if norm is None else norm(x, mask)
        x, mask = self.blocks(x, lengths)
        # Channels and the bands that are left are one vector for each frame.
        x = x.flatten(1, 2).unsqueeze(2)
        x = x if self.frame_layer is None else self.frame_layer(x, mask)
        pooled = self.pooling(x, mask)
        pooled = pooled if self.pooled_norm is None else self.pooled_norm(pooled)
        if self.dense is not None:
            pooled = self.dropout(self.dense(pooled).relu())
        return self.head(self.head_dropout(pooled))

    def _check_frames(self, x: Tensor, lengths: Tensor | None) -> Tensor | None:
        """Refuse other lengths than a fixed one; where it is fixed, nothing is padding."""
        if self.n_frames is None:
            return lengths
        if x.shape[-1] != self.n_frames:
            raise ValueError(
                f"MTSNet: got clips of {x.shape[-1]} frames, but pooling='flatten' was built for "
                f"{self.n_frames}. Cut or pad the clips, or choose pooling='statistics'."
            )
        return None


class _FrameLayer(nn.Module):
    """Dense layer on the vector of each frame, batch norm and ReLU."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, 1, bias=False)
        self.norm = MaskedBatchNorm2d(n_out)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.norm(self.conv(x), mask).relu()


class _Flatten(nn.Module):
    """Concatenate the values of all frames."""

    def forward(self, x: Tensor, mask: None) -> Tensor:
        return x.flatten(1)


def _size_left(what: str, size: int, kernels: Sequence[int], pools: Sequence[int]) -> int:
    """Bands or frames left after convolutions without padding and pooling by the ceiling."""
    # A convolution without padding loses kernel - 1, pooling divides and rounds up.
    left = size
    for kernel, pool in zip(kernels, pools, strict=True):
        left = -(-(left - kernel + 1) // pool)
        if left < 1:
            raise ValueError(
                f"MTSNet: {size} {what} are too few for these kernels without padding. "
                "Choose padding='same', smaller kernels, or longer clips."
            )
    return left
