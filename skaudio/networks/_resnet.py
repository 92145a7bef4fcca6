"""The residual network of EmoNet: shared convolutions, and around them what a corpus adds."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional

from skaudio._validation import Interval
from skaudio.layers import CorpusConv, MaskedBatchNorm2d, SameConv2d, frame_mask

__all__ = ["RESNET_CONSTRAINTS", "ResNet", "ResNetLayers"]

RESNET_CONSTRAINTS: dict[str, list[Any]] = {
    "n_filters": [Interval(Integral, 1, None, closed="left")],
    "widen_factor": [Interval(Integral, 1, None, closed="left")],
    "n_blocks": [Interval(Integral, 1, None, closed="left")],
    "dropout": [tuple, list],
}

_N_STAGES = 3


class ResNet(nn.Module):
    """Shared 3 x 3 convolutions: one, then three stages of blocks of two.

    Parameters
    ----------
    net : AdapterResNet or FusionNet
        Its ``n_filters * widen_factor`` are the channels after the first convolution; the stages
        have 2, 4 and 8 times as many. Each has ``n_blocks`` blocks, of which the first one halves
        bands and frames. The two numbers of its ``dropout`` stand before the first and the second
        convolution of a block; before the adapter alone where there is one.
    n_channels : int
        Channels of the features.

    Attributes
    ----------
    n_out : int
        Channels of the result.

    Raises
    ------
    ValueError
        If the dropout is not two numbers in [0, 1).
    """

    def __init__(self, net: Any, n_channels: int) -> None:
        super().__init__()
        self.n_channels = n_channels
        self.dropout = _check_dropout(net.dropout)
        width = net.n_filters * net.widen_factor
        convs = [SameConv2d(n_channels, width)]
        for _ in range(_N_STAGES):
            for block in range(net.n_blocks):
                wider = 2 * width if block == 0 else width
                convs += [SameConv2d(width, wider, stride=wider // width), SameConv2d(wider, wider)]
                width = wider
        self.convs = nn.ModuleList(convs)
        self.n_out = width

    def new_input_norm(self) -> nn.Module:
        """Make a norm with one mean and deviation for each channel of the features."""
        return MaskedBatchNorm2d(self.n_channels, eps=1e-3)

    def new_layers(self, adapters: bool) -> ResNetLayers:
        """Make what a corpus adds."""
        return ResNetLayers(self, adapters)

    def forward(
        self, x: Tensor, lengths: Tensor | None, layers: ResNetLayers
    ) -> tuple[Tensor, Tensor | None]:
        """Compute the map ``(batch, n_out, n_bands / 8, n_frames / 8)`` and its lengths.

        `x` has zeros as padding, as has the result.
        """
        stem, *rest = zip(self.convs, layers.convs, strict=True)
        x, lengths = _apply(stem, x, lengths)
        for first, second in zip(rest[::2], rest[1::2], strict=True):
            y, lengths_out = _apply(first, x, lengths)
            y, _ = _apply(second, y.relu(), lengths_out)
            x, lengths = (y + _shortcut(x, lengths, like=y)).relu(), lengths_out
        mask = None if lengths is None else frame_mask(lengths, x.shape[-1])
        return layers.norm(x, mask).relu(), lengths


class ResNetLayers(nn.Module):
    """What a corpus adds to a :class:`ResNet`.

    Parameters
    ----------
    resnet : ResNet
    adapters : bool
        Whether each convolution has an adapter.
    """

    def __init__(self, resnet: ResNet, adapters: bool) -> None:
        super().__init__()
        dropouts = [0.0, *resnet.dropout * (len(resnet.convs) // 2)]
        self.convs = nn.ModuleList(
            CorpusConv(cast(SameConv2d, conv), adapters, dropout)
            for conv, dropout in zip(resnet.convs, dropouts, strict=True)
        )
        self.norm = MaskedBatchNorm2d(resnet.n_out, eps=1e-3)


def _check_dropout(dropout: Sequence[Any]) -> tuple[float, float]:
    """Return the dropouts of a block, or raise a ValueError."""
    if len(dropout) == 2 and all(isinstance(p, Real) and 0 <= float(p) < 1 for p in dropout):
        return float(dropout[0]), float(dropout[1])
    raise ValueError(
        f"dropout: got {dropout!r}, but expected two numbers in [0, 1), for the first and the "
        "second convolution of a block."
    )


def _apply(
    pair: tuple[nn.Module, nn.Module], x: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    shared, own = pair
    return own(shared, x, lengths)


def _shortcut(x: Tensor, lengths: Tensor | None, like: Tensor) -> Tensor:
    """Halve a block's input where the block does, by averages of real cells, and add channels."""
    n_missing = like.shape[1] - x.shape[1]
    if n_missing == 0:
        return x
    mean = _average_pairs(x)
    if lengths is not None:
        # Padding is zero in the sum. Its share of each window is put right by the mask's average,
        # which is a half where one frame of two is real.
        share = _average_pairs(frame_mask(lengths, x.shape[-1]).to(x.dtype))
        mean = mean / share.clamp(min=0.5)
    return functional.pad(mean, (0, 0, 0, 0, 0, n_missing))


def _average_pairs(x: Tensor) -> Tensor:
    """Average two by two cells; a window at the border averages the cells that there are."""
    return functional.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
