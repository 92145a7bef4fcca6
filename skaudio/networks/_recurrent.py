"""EmoNet's recurrent part: shared LSTM or GRU layers, adapters, self-attention, pooling."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional

from skaudio._validation import Interval, StrOptions
from skaudio.layers import (
    BottleneckAdapter,
    FramePooling,
    LinearHead,
    RecurrentLayer,
    SelfAttention,
    frame_mask,
    shrink_lengths,
)

__all__ = ["RECURRENT_CONSTRAINTS", "Recurrent", "pool_down"]

RECURRENT_CONSTRAINTS: dict[str, list[Any]] = {
    "n_hidden": [Interval(Integral, 1, None, closed="left")],
    "n_layers": [Interval(Integral, 1, None, closed="left")],
    "cell": [StrOptions({"lstm", "gru"})],
    "bidirectional": ["boolean"],
    "rnn_dropout": [Interval(Real, 0, 1, closed="left")],
    "down_pool": [Interval(Integral, 1, None, closed="left")],
}


class Recurrent(nn.Module):
    """Shared layers of a recurrent network, which a corpus' adapters and pooling go between.

    Parameters
    ----------
    n_features : int
        Size of a frame's vector.
    n_hidden : int
        Size of the state, for each direction.
    n_layers : int, default=2
    cell : {"lstm", "gru"}, default="lstm"
    bidirectional : bool, default=False
    dropout : float, default=0.2
        On the input of each layer.
    n_projected : int, optional
        Size of a linear map in front of everything.
    self_attention : bool, default=False
        Whether there is self-attention between the layers.

    Attributes
    ----------
    n_out : int
        Size of a clip's vector.
    """

    def __init__(
        self,
        n_features: int,
        n_hidden: int,
        n_layers: int = 2,
        *,
        cell: Literal["lstm", "gru"] = "lstm",
        bidirectional: bool = False,
        dropout: float = 0.2,
        n_projected: int | None = None,
        self_attention: bool = False,
    ) -> None:
        super().__init__()
        self.projection = None if n_projected is None else LinearHead(n_features, n_projected)
        self.n_out = n_hidden * (2 if bidirectional else 1)
        sizes = [n_projected or n_features] + [self.n_out] * (n_layers - 1)
        self.layers = nn.ModuleList(
            RecurrentLayer(size, n_hidden, cell, bidirectional) for size in sizes
        )
        self.dropout = nn.Dropout(dropout)
        self.self_attention = self_attention

    def new_layers(self, adapters: bool) -> nn.ModuleList:
        """Make what a corpus adds behind each layer."""
        return nn.ModuleList(
            BottleneckAdapter(self.n_out) if adapters else nn.Identity() for _ in self.layers
        )

    def new_pooling(self) -> nn.Module:
        """Make self-attention and pooling, of one corpus or of all."""
        n_attentions = len(self.layers) - 1 if self.self_attention else 0
        return _RecurrentPooling(self.n_out, n_attentions)

    def forward(
        self,
        x: Tensor,
        lengths: Tensor | None,
        adapters: nn.ModuleList,
        pooling: _RecurrentPooling,
    ) -> Tensor:
        """Map sequences ``(batch, n_frames, n_features)`` to vectors ``(batch, n_out)``."""
        mask = None if lengths is None else frame_mask(lengths, x.shape[1])
        x = x if self.projection is None else self.projection(x)
        for i, (layer, adapter) in enumerate(zip(self.layers, adapters, strict=True)):
            x = adapter(layer(self.dropout(x), lengths))
            if i < len(pooling.attentions):
                x = pooling.attentions[i](x, mask)
        return pooling.frames(x, mask)


class _RecurrentPooling(nn.Module):
    """Self-attention behind the first layers, and pooling behind the last."""

    def __init__(self, n_features: int, n_attentions: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(SelfAttention(n_features) for _ in range(n_attentions))
        self.frames = FramePooling(n_features)


def pool_down(x: Tensor, lengths: Tensor | None, n_pooled: int) -> tuple[Tensor, Tensor | None]:
    """Average every few frames of features, the last ones as many as there are.

    Parameters
    ----------
    x : Tensor of shape (batch, n_channels, n_bands, n_frames)
        With zeros as padding.
    lengths : Tensor of shape (batch,) or None
    n_pooled : int
        Frames that become one.

    Returns
    -------
    x : Tensor of shape (batch, ceil(n_frames / n_pooled), n_channels * n_bands)
    lengths : Tensor of shape (batch,) or None
        Pooled frames with at least one real frame in them.
    """
    x = x.flatten(1, 2)
    if n_pooled > 1:
        # As for the shortcuts of the residual network: zeros in the sum, put right by the share
        # of frames that are real.
        share = None if lengths is None else frame_mask(lengths, x.shape[-1])[:, 0].to(x.dtype)
        x = functional.avg_pool1d(x, n_pooled, ceil_mode=True)
        if share is not None:
            share = functional.avg_pool1d(share, n_pooled, ceil_mode=True)
            x = x / share.clamp(min=1 / n_pooled)
    return x.transpose(1, 2), None if lengths is None else shrink_lengths(lengths, n_pooled)
