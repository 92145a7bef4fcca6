"""EmoNet's residual network with adapters for each corpus."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional

from skaudio._validation import Interval, StrOptions
from skaudio.layers import AttentionPooling, frame_mask
from skaudio.layers.precision import double_in_evaluation
from skaudio.networks._corpora import (
    ADAPTER_CONSTRAINTS,
    CORPUS_CONSTRAINTS,
    CorpusNet,
    Trunk,
    check_dropout,
)
from skaudio.networks._resnet import ResNet, ResNetLayers
from skaudio.networks.base import BaseNetwork

__all__ = ["AdapterResNet"]

# Bands and frames that a cell of the average pooling spans, and the least size of features for one
# cell to be left: ceil(57 / 8) = 8 after three halvings.
_CELL = 8
_LEAST = 57


class AdapterResNet(BaseNetwork):
    """Residual network whose convolutions can be shared by many corpora.

    A 3 x 3 convolution, then three stages of residual blocks of two convolutions, with 2, 4 and 8
    times as many channels; each stage halves bands and frames. Where corpora share the
    convolutions, each of these has beside it a 1 x 1 convolution of the corpus, the adapter, whose
    output is added, and a batch norm of the corpus. All positions of the last map are pooled to
    one vector per clip, and two dense layers give the logits. After EmoNet [1]_, for log-mel
    features of natural logarithm or decibels.

    Parameters
    ----------
    n_filters : int, default=32
        Channels of the first convolution, >= 1.
    widen_factor : int, default=1
        How many times as many all convolutions have, >= 1.
    n_blocks : int, default=2
        Residual blocks in each of the three stages, >= 1.
    dropout : tuple of two float, default=(0.0, 0.5)
        Share of values set to zero before the first and the second convolution of a block while
        training, in [0, 1). Where there are adapters, before the adapter only.
    pooling : {"attention", "average"}, default="attention"
        How the last map becomes a vector: as the mean of all positions with learned weights, or
        as the means of cells of 8 x 8 positions side by side, for which the number of frames has
        to be fixed, and bands and frames at least 57.
    share_pooling : bool, default=False
        Whether one attention serves all corpora.
    input_norm : bool, default=False
        Whether to normalise the features first, by one mean and deviation for each channel.
    l2 : float, default=1e-6
        What the sum of squares of the shared kernels is multiplied by when it is added to the
        training loss, >= 0.
    adapter_l2 : float or "size", default=1e-6
        The same for the adapters. "size" makes it smaller for larger corpora: 5e-3 for fewer than
        500 training clips, 2e-3 for fewer than 1000, 5e-4 for fewer than 10 000, else 1e-6.

    See Also
    --------
    skaudio.layers.CorpusConv : The convolution with its adapter.
    CorpusModule : What is built.

    Notes
    -----
    ``build(n_bands, n_outputs)`` with an integer makes the network without adapters, with a
    tuple one with adapters and an own set of layers for each entry.

    With 32 filters and 7 classes the shared kernels have 2 709 792 parameters, and a set has
    405 351: 301 088 in adapters, 4160 in norms, 66 048 in the attention and 34 055 in the dense
    layers.

    While training the module returns ``l2_loss`` with the logits, unless `l2` and `adapter_l2` are
    both 0. Frozen parameters do not count in it.

    References
    ----------
    .. [1] Gerczuk et al., "EmoNet: A Transfer Learning Framework for Multi-Corpus Speech
       Emotion Recognition", arXiv 2103.08310, 2021.

    Examples
    --------
    >>> import torch
    >>> from skaudio.networks import AdapterResNet
    >>> module = AdapterResNet(n_filters=8).build(n_bands=64, n_outputs=(7, 4))
    >>> module(torch.randn(2, 1, 64, 61), corpus=1)[0].shape
    torch.Size([2, 4])
    """

    has_adapters: ClassVar[bool] = True

    _parameter_constraints: dict = {
        "n_filters": [Interval(Integral, 1, None, closed="left")],
        "widen_factor": [Interval(Integral, 1, None, closed="left")],
        "n_blocks": [Interval(Integral, 1, None, closed="left")],
        "dropout": [tuple, list],
        "pooling": [StrOptions({"attention", "average"})],
        **CORPUS_CONSTRAINTS,
        **ADAPTER_CONSTRAINTS,
    }

    def __init__(
        self,
        n_filters: int = 32,
        widen_factor: int = 1,
        n_blocks: int = 2,
        dropout: Sequence[float] = (0.0, 0.5),
        *,
        pooling: str = "attention",
        share_pooling: bool = False,
        input_norm: bool = False,
        l2: float = 1e-6,
        adapter_l2: float | str = 1e-6,
    ) -> None:
        self.n_filters = n_filters
        self.widen_factor = widen_factor
        self.n_blocks = n_blocks
        self.dropout = dropout
        self.pooling = pooling
        self.share_pooling = share_pooling
        self.input_norm = input_norm
        self.l2 = l2
        self.adapter_l2 = adapter_l2

    def _build(
        self, n_bands: int, n_outputs: Any, n_frames: int | None, n_channels: int
    ) -> nn.Module:
        width = self.n_filters * self.widen_factor
        resnet = ResNet(n_channels, width, self.n_blocks, check_dropout("dropout", self.dropout))
        if self.pooling == "attention":
            return CorpusNet(self, _AttentionTrunk(resnet), n_outputs, n_channels)
        n_cells = _count_cells(n_bands, n_frames)
        return CorpusNet(self, _AverageTrunk(resnet, n_cells), n_outputs, n_channels, n_frames)


class _AttentionTrunk(Trunk):
    """Residual network and attention over all positions."""

    def __init__(self, resnet: ResNet) -> None:
        super().__init__()
        self.resnet = resnet
        self.n_features = resnet.n_out

    def new_layers(self, adapters: bool) -> nn.Module:
        return ResNetLayers(self.resnet, adapters)

    def new_pooling(self) -> nn.Module:
        return new_attention(self.n_features)

    def forward(
        self, x: Tensor, lengths: Tensor | None, layers: ResNetLayers, pooling: nn.Module
    ) -> Tensor:
        x, lengths = self.resnet(x, lengths, layers)
        return pooling(x, None if lengths is None else frame_mask(lengths, x.shape[-1]))


class _AverageTrunk(Trunk):
    """Residual network and averages of cells."""

    def __init__(self, resnet: ResNet, n_cells: int) -> None:
        super().__init__()
        self.resnet = resnet
        self.n_features = resnet.n_out * n_cells

    def new_layers(self, adapters: bool) -> nn.Module:
        return ResNetLayers(self.resnet, adapters)

    def new_pooling(self) -> nn.Module:
        return _CellPooling()

    def forward(
        self, x: Tensor, lengths: Tensor | None, layers: ResNetLayers, pooling: nn.Module
    ) -> Tensor:
        return pooling(self.resnet(x, lengths, layers)[0])


class _CellPooling(nn.Module):
    """Average whole cells, and put them side by side in the order band, frame, channel."""

    def forward(self, x: Tensor) -> Tensor:
        cells = functional.avg_pool2d(double_in_evaluation(x, self.training), _CELL)
        return cells.permute(0, 2, 3, 1).flatten(1)


def new_attention(n_channels: int) -> AttentionPooling:
    """Make an attention pooling with EmoNet's initial weights: normal, of deviation 0.05."""
    pooling = AttentionPooling(n_channels)
    for weight in pooling.parameters():
        nn.init.normal_(weight, std=0.05)
    return pooling


def _count_cells(n_bands: int, n_frames: int | None) -> int:
    """Count the cells of average pooling; raise a ValueError where there would be none."""
    if n_frames is None:
        raise ValueError(
            "pooling: got 'average', which needs clips of one length, but their lengths vary. "
            "Choose pooling='attention', or cut and pad the clips to one length (crop=)."
        )
    if min(n_bands, n_frames) < _LEAST:
        raise ValueError(
            f"pooling: got 'average', which needs at least {_LEAST} bands and {_LEAST} frames, but "
            f"the features have {n_bands} bands and {n_frames} frames. Choose "
            "pooling='attention', or longer clips and more bands."
        )
    n_left = [-(-size // 8) // _CELL for size in (n_bands, n_frames)]
    return n_left[0] * n_left[1]
