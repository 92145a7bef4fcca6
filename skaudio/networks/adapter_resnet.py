"""EmoNet's residual network with adapters for each corpus."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, Literal

from torch import nn

from skaudio._validation import Interval, StrOptions
from skaudio.networks._corpora import ADAPTER_CONSTRAINTS, CORPUS_CONSTRAINTS, CorpusNet
from skaudio.networks._map_trunks import AttentionTrunk, CellTrunk, RecurrentTrunk
from skaudio.networks._resnet import RESNET_CONSTRAINTS, ResNet
from skaudio.networks.base import BaseNetwork

__all__ = ["AdapterResNet"]


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
    pooling : {"attention", "average", "rnn"}, default="attention"
        How the last map becomes a vector: by the mean of all positions with learned weights; by
        the means of cells of 8 x 8 positions side by side, for which the number of frames has to
        be fixed, and bands and frames at least 57; or by two layers of LSTM over its frames, with
        self-attention between them.
    share_pooling : bool, default=False
        Whether one attention, or one self-attention and weighting of the frames of the LSTM,
        serves all corpora. The LSTM itself always does.
    input_norm : bool, default=False
        Whether to normalise the features first, by one mean and deviation for each channel.
    rnn_dropout : float, default=0.2
        Share of values set to zero before each layer of LSTM while training, in [0, 1).
    l2 : float, default=1e-6
        What the sum of squares of the shared kernels is multiplied by when it is added to the
        training loss, >= 0.
    adapter_l2 : float or "size", default=1e-6
        The same for the adapters. "size" makes it smaller for larger corpora: 5e-3 for fewer than
        500 training clips, 2e-3 for fewer than 1000, 5e-4 for fewer than 10 000, else 1e-6.

    See Also
    --------
    AdapterRNN : Recurrent layers instead of convolutions.
    FusionNet : Both side by side.
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
        **RESNET_CONSTRAINTS,
        "pooling": [StrOptions({"attention", "average", "rnn"})],
        "rnn_dropout": [Interval(Real, 0, 1, closed="left")],
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
        pooling: Literal["attention", "average", "rnn"] = "attention",
        share_pooling: bool = False,
        input_norm: bool = False,
        rnn_dropout: float = 0.2,
        l2: float = 1e-6,
        adapter_l2: float | Literal["size"] = 1e-6,
    ) -> None:
        self.n_filters = n_filters
        self.widen_factor = widen_factor
        self.n_blocks = n_blocks
        self.dropout = dropout
        self.pooling = pooling
        self.share_pooling = share_pooling
        self.input_norm = input_norm
        self.rnn_dropout = rnn_dropout
        self.l2 = l2
        self.adapter_l2 = adapter_l2

    def _build(
        self, n_bands: int, n_outputs: Any, n_frames: int | None, n_channels: int
    ) -> nn.Module:
        resnet = ResNet(self, n_channels)
        n_left = -(-n_bands // 8)
        if self.pooling == "average":
            positions = (n_left, _count_frames(n_bands, n_frames))
            return CorpusNet(self, CellTrunk(resnet, positions), n_outputs, n_frames)
        trunk = (
            RecurrentTrunk(resnet, n_left, self.rnn_dropout)
            if self.pooling == "rnn"
            else AttentionTrunk(resnet)
        )
        return CorpusNet(self, trunk, n_outputs)

    _build_for_corpora = _build  # each corpus has a set of its own


# ceil(57 / 8) = 8 positions after three halvings, one cell of the average pooling.
_LEAST = 57


def _count_frames(n_bands: int, n_frames: int | None) -> int:
    """Count the frames of the map; raise a ValueError where average pooling cannot work."""
    if n_frames is None:
        raise ValueError(
            "pooling: got 'average', which needs clips of one length, but their lengths vary. "
            "Choose pooling='attention', or cut and pad the clips to one length."
        )
    if min(n_bands, n_frames) < _LEAST:
        raise ValueError(
            f"pooling: got 'average', which needs at least {_LEAST} bands and {_LEAST} frames, but "
            f"the features have {n_bands} bands and {n_frames} frames. Choose "
            "pooling='attention', more bands, or longer clips."
        )
    return -(-n_frames // 8)
