"""EmoNet's residual and recurrent network side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from skaudio.layers import BandNorm, frame_mask
from skaudio.networks._corpora import ADAPTER_CONSTRAINTS, CORPUS_CONSTRAINTS, CorpusNet, Trunk
from skaudio.networks._map_trunks import new_attention
from skaudio.networks._recurrent import RECURRENT_CONSTRAINTS, Recurrent, pool_down
from skaudio.networks._resnet import RESNET_CONSTRAINTS, ResNet
from skaudio.networks.base import BaseNetwork

__all__ = ["FusionNet"]


class FusionNet(BaseNetwork):
    """Residual and recurrent network on the same features, both with adapters.

    :class:`AdapterResNet` with attention and :class:`AdapterRNN` with self-attention each give a
    vector per clip. Side by side, these go through two dense layers to the logits. After
    EmoNet [1]_, for decibels.

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
    n_hidden : int, default=512
        Size of the recurrent layers' state, for each direction, >= 1.
    n_layers : int, default=2
        Recurrent layers, >= 1.
    cell : {"lstm", "gru"}, default="lstm"
        Kind of the recurrent layers.
    bidirectional : bool, default=False
        Whether each recurrent layer reads backwards as well.
    down_pool : int, default=1
        Frames that are averaged to one before the recurrent layers, >= 1. The memory of
        self-attention grows with the square of the frames that are left.
    share_pooling : bool, default=False
        Whether one attention, self-attention and weighting of the frames serves all corpora.
    input_norm : bool, default=True
        Whether to normalise each band first.
    rnn_dropout : float, default=0.2
        Share of values set to zero before each recurrent layer while training, in [0, 1).
    l2 : float, default=1e-6
        What the sum of squares of the shared kernels and recurrent weights is multiplied by when
        it is added to the training loss, >= 0.
    adapter_l2 : float or "size", default=1e-6
        The same for the adapters. "size" makes it smaller for larger corpora: 5e-3 for fewer than
        500 training clips, 2e-3 for fewer than 1000, 5e-4 for fewer than 10 000, else 1e-6.

    See Also
    --------
    AdapterResNet : The first half alone.
    AdapterRNN : The second half alone.
    CorpusModule : What is built.

    Notes
    -----
    ``build(n_bands, n_outputs)`` with an integer makes the network without adapters, with a
    tuple one with adapters and an own set of layers for each entry.

    While training the module returns ``l2_loss`` with the logits, unless `l2` and `adapter_l2` are
    both 0. Frozen parameters do not count in it.

    References
    ----------
    .. [1] Gerczuk et al., "EmoNet: A Transfer Learning Framework for Multi-Corpus Speech
       Emotion Recognition", arXiv 2103.08310, 2021.

    Examples
    --------
    >>> import torch
    >>> from skaudio.networks import FusionNet
    >>> module = FusionNet(n_filters=4, n_hidden=16).build(n_bands=40, n_outputs=(7, 4))
    >>> module(torch.randn(2, 1, 40, 61), corpus=1)[0].shape
    torch.Size([2, 4])
    """

    has_adapters: ClassVar[bool] = True

    _parameter_constraints: dict = {
        **RESNET_CONSTRAINTS,
        **RECURRENT_CONSTRAINTS,
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
        n_hidden: int = 512,
        n_layers: int = 2,
        cell: Literal["lstm", "gru"] = "lstm",
        bidirectional: bool = False,
        down_pool: int = 1,
        share_pooling: bool = False,
        input_norm: bool = True,
        rnn_dropout: float = 0.2,
        l2: float = 1e-6,
        adapter_l2: float | Literal["size"] = 1e-6,
    ) -> None:
        self.n_filters = n_filters
        self.widen_factor = widen_factor
        self.n_blocks = n_blocks
        self.dropout = dropout
        self.n_hidden = n_hidden
        self.n_layers = n_layers
        self.cell = cell
        self.bidirectional = bidirectional
        self.down_pool = down_pool
        self.share_pooling = share_pooling
        self.input_norm = input_norm
        self.rnn_dropout = rnn_dropout
        self.l2 = l2
        self.adapter_l2 = adapter_l2

    def _build(
        self, n_bands: int, n_outputs: Any, n_frames: int | None, n_channels: int
    ) -> nn.Module:
        return CorpusNet(self, _FusionTrunk(self, n_bands, n_channels), n_outputs)

    _build_for_corpora = _build  # each corpus has a set of its own


class _FusionTrunk(Trunk):
    """Both networks; what a corpus has of each is in a dict with the same names."""

    def __init__(self, net: FusionNet, n_bands: int, n_channels: int) -> None:
        super().__init__()
        self.sizes = n_bands, n_channels
        self.down_pool = net.down_pool
        self.resnet = ResNet(net, n_channels)
        self.recurrent = Recurrent(
            n_bands * n_channels,
            net.n_hidden,
            net.n_layers,
            cell=net.cell,
            bidirectional=net.bidirectional,
            dropout=net.rnn_dropout,
            self_attention=True,
        )
        self.n_features = self.resnet.n_out + self.recurrent.n_out

    def new_input_norm(self) -> nn.Module:
        return BandNorm(*self.sizes)

    def new_layers(self, adapters: bool) -> nn.Module:
        resnet, recurrent = self.resnet.new_layers(adapters), self.recurrent.new_layers(adapters)
        return nn.ModuleDict({"resnet": resnet, "recurrent": recurrent})

    def new_pooling(self) -> nn.Module:
        resnet, recurrent = new_attention(self.resnet.n_out), self.recurrent.new_pooling()
        return nn.ModuleDict({"resnet": resnet, "recurrent": recurrent})

    def forward(self, x: Tensor, lengths: Tensor | None, layers: Any, pooling: Any) -> Tensor:
        features, left = self.resnet(x, lengths, layers["resnet"])
        mask = None if left is None else frame_mask(left, features.shape[-1])
        frames, lengths = pool_down(x, lengths, self.down_pool)
        vectors = [
            pooling["resnet"](features, mask),
            self.recurrent(frames, lengths, layers["recurrent"], pooling["recurrent"]),
        ]
        return torch.cat(vectors, dim=1)
