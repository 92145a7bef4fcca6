"""EmoNet's recurrent network with adapters for each corpus."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from skaudio.layers import BandNorm
from skaudio.networks._corpora import ADAPTER_CONSTRAINTS, CORPUS_CONSTRAINTS, CorpusNet, Trunk
from skaudio.networks._recurrent import RECURRENT_CONSTRAINTS, Recurrent, pool_down
from skaudio.networks.base import BaseNetwork

__all__ = ["AdapterRNN"]


class AdapterRNN(BaseNetwork):
    """Recurrent network whose layers can be shared by many corpora.

    Every few frames are averaged, layers of LSTM or GRU read them, and a mean of what they put
    out, with learned weights, is the clip's vector, of which two dense layers make the logits.
    Where corpora share the recurrent layers, each of these has behind it a small bottleneck of the
    corpus, the adapter. After EmoNet [1]_, for decibels or for MFCC of natural logarithm:
    ``MFCC(n_fft=1024, hop_length=512, center=False, n_mels=128, fmin=20, fmax=8000, htk=True,
    mel_norm=None, triangles="mel", log="ln")``.

    Parameters
    ----------
    n_hidden : int, default=512
        Size of the state, for each direction, >= 1.
    n_layers : int, default=2
        Recurrent layers, >= 1.
    cell : {"lstm", "gru"}, default="lstm"
        Kind of the recurrent layers.
    bidirectional : bool, default=False
        Whether each layer reads backwards as well.
    down_pool : int, default=8
        Frames that are averaged to one, >= 1.
    projection : bool, default=False
        Whether a linear map of the bands, to as many, comes before the recurrent layers.
    self_attention : bool, default=False
        Whether, between two layers, each frame is replaced by a weighted mean of all frames.
    share_pooling : bool, default=False
        Whether one self-attention and weighting of the frames serves all corpora.
    input_norm : bool, default=True
        Whether to normalise each band first.
    rnn_dropout : float, default=0.2
        Share of values set to zero before each recurrent layer while training, in [0, 1).
    l2 : float, default=1e-6
        What the sum of squares of the recurrent layers' weights is multiplied by when it is added
        to the training loss, >= 0.
    adapter_l2 : float or "size", default=1e-6
        The same for the adapters. "size" makes it smaller for larger corpora: 5e-3 for fewer than
        500 training clips, 2e-3 for fewer than 1000, 5e-4 for fewer than 10 000, else 1e-6.

    See Also
    --------
    AdapterResNet : Convolutions instead of recurrent layers.
    FusionNet : Both side by side.
    skaudio.layers.BottleneckAdapter : The adapter.
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
    >>> from skaudio.networks import AdapterRNN
    >>> module = AdapterRNN(n_hidden=16).build(n_bands=40, n_outputs=(7, 4))
    >>> module(torch.randn(2, 1, 40, 61), corpus=1)[0].shape
    torch.Size([2, 4])
    """

    has_adapters: ClassVar[bool] = True

    _parameter_constraints: dict = {
        **RECURRENT_CONSTRAINTS,
        "projection": ["boolean"],
        "self_attention": ["boolean"],
        **CORPUS_CONSTRAINTS,
        **ADAPTER_CONSTRAINTS,
    }

    def __init__(
        self,
        n_hidden: int = 512,
        n_layers: int = 2,
        *,
        cell: Literal["lstm", "gru"] = "lstm",
        bidirectional: bool = False,
        down_pool: int = 8,
        projection: bool = False,
        self_attention: bool = False,
        share_pooling: bool = False,
        input_norm: bool = True,
        rnn_dropout: float = 0.2,
        l2: float = 1e-6,
        adapter_l2: float | Literal["size"] = 1e-6,
    ) -> None:
        self.n_hidden = n_hidden
        self.n_layers = n_layers
        self.cell = cell
        self.bidirectional = bidirectional
        self.down_pool = down_pool
        self.projection = projection
        self.self_attention = self_attention
        self.share_pooling = share_pooling
        self.input_norm = input_norm
        self.rnn_dropout = rnn_dropout
        self.l2 = l2
        self.adapter_l2 = adapter_l2

    def _build(
        self, n_bands: int, n_outputs: Any, n_frames: int | None, n_channels: int
    ) -> nn.Module:
        return CorpusNet(self, _RNNTrunk(self, n_bands, n_channels), n_outputs)

    _build_for_corpora = _build  # each corpus has a set of its own


class _RNNTrunk(Trunk):
    """Averages of frames, and recurrent layers."""

    def __init__(self, net: AdapterRNN, n_bands: int, n_channels: int) -> None:
        super().__init__()
        self.sizes = n_bands, n_channels
        self.down_pool = net.down_pool
        n_in = n_bands * n_channels
        self.recurrent = Recurrent(
            n_in,
            net.n_hidden,
            net.n_layers,
            cell=net.cell,
            bidirectional=net.bidirectional,
            dropout=net.rnn_dropout,
            n_projected=n_in if net.projection else None,
            self_attention=net.self_attention,
        )
        self.n_features = self.recurrent.n_out

    def new_input_norm(self) -> nn.Module:
        return BandNorm(*self.sizes)

    def new_layers(self, adapters: bool) -> nn.Module:
        return self.recurrent.new_layers(adapters)

    def new_pooling(self) -> nn.Module:
        return self.recurrent.new_pooling()

    def forward(self, x: Tensor, lengths: Tensor | None, layers: Any, pooling: Any) -> Tensor:
        frames, lengths = pool_down(x, lengths, self.down_pool)
        return self.recurrent(frames, lengths, layers, pooling)
