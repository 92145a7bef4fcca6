"""From a convolutional network's map to one vector per clip: the ways that EmoNet knows."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from skaudio.layers import AttentionPooling, frame_mask
from skaudio.layers.precision import double_in_evaluation
from skaudio.networks._corpora import Trunk
from skaudio.networks._recurrent import Recurrent

__all__ = ["AttentionTrunk", "CellTrunk", "MeanTrunk", "RecurrentTrunk", "new_attention"]

_CELL = 8


class _MapTrunk(Trunk):
    """A convolutional network and a pooling of its map.

    Parameters
    ----------
    body : torch.nn.Module
        Called with features, lengths and a corpus' layers, which its ``new_layers`` makes, as
        ``new_input_norm`` makes the norm before; returns a map of ``n_out`` channels, and lengths.
    n_features : int
        Size of the pooled vectors.
    """

    def __init__(self, body: Any, n_features: int) -> None:
        super().__init__()
        self.body = body
        self.n_features = n_features

    def new_input_norm(self) -> nn.Module | None:
        return self.body.new_input_norm()

    def new_layers(self, adapters: bool) -> nn.Module:
        return self.body.new_layers(adapters)

    @abstractmethod
    def new_pooling(self) -> nn.Module:
        """Make a pooling, called with a map and a mask."""

    def forward(self, x: Tensor, lengths: Tensor | None, layers: Any, pooling: Any) -> Tensor:
        x, lengths = self.body(x, lengths, layers)
        return pooling(x, None if lengths is None else frame_mask(lengths, x.shape[-1]))


class AttentionTrunk(_MapTrunk):
    """A mean over all positions with learned weights."""

    def __init__(self, body: Any) -> None:
        super().__init__(body, body.n_out)

    def new_pooling(self) -> nn.Module:
        return new_attention(self.n_features)


class MeanTrunk(_MapTrunk):
    """The plain mean over all positions."""

    def __init__(self, body: Any) -> None:
        super().__init__(body, body.n_out)

    def new_pooling(self) -> nn.Module:
        return _MeanPooling()


class CellTrunk(_MapTrunk):
    """Means of cells of 8 x 8 positions, side by side.

    Parameters
    ----------
    body : torch.nn.Module
    n_positions : tuple of two int
        Bands and frames of the map.
    """

    def __init__(self, body: Any, n_positions: tuple[int, int]) -> None:
        n_cells = (n_positions[0] // _CELL) * (n_positions[1] // _CELL)
        super().__init__(body, body.n_out * n_cells)

    def new_pooling(self) -> nn.Module:
        return _CellPooling()


class RecurrentTrunk(_MapTrunk):
    """Two recurrent layers over the frames of the map, with self-attention between them.

    Parameters
    ----------
    body : torch.nn.Module
    n_bands : int
        Bands of the map.
    dropout : float
        On the input of each recurrent layer.
    """

    def __init__(self, body: Any, n_bands: int, dropout: float) -> None:
        super().__init__(body, body.n_out)
        n_in = n_bands * body.n_out
        self.recurrent = Recurrent(
            n_in, body.n_out, n_projected=max(1, n_in // 4), dropout=dropout, self_attention=True
        )

    def new_layers(self, adapters: bool) -> nn.Module:
        body, recurrent = self.body.new_layers(adapters), self.recurrent.new_layers(adapters)
        return nn.ModuleDict({"body": body, "recurrent": recurrent})

    def new_pooling(self) -> nn.Module:
        return self.recurrent.new_pooling()

    def forward(self, x: Tensor, lengths: Tensor | None, layers: Any, pooling: Any) -> Tensor:
        x, lengths = self.body(x, lengths, layers["body"])
        frames = x.permute(0, 3, 2, 1).flatten(2)  # batch, frame, band * channel
        return self.recurrent(frames, lengths, layers["recurrent"], pooling)


def new_attention(n_channels: int) -> AttentionPooling:
    """Make an attention pooling with EmoNet's initial weights: normal, of deviation 0.05."""
    pooling = AttentionPooling(n_channels)
    for weight in pooling.parameters():
        nn.init.normal_(weight, std=0.05)
    return pooling


class _MeanPooling(nn.Module):
    """Average all real positions."""

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = double_in_evaluation(x, self.training)
        if mask is None:
            return x.mean((2, 3))
        return (x * mask).sum((2, 3)) / (mask.sum((2, 3)) * x.shape[2])


class _CellPooling(nn.Module):
    """Average whole cells, and put them side by side in the order band, frame, channel."""

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = double_in_evaluation(x if mask is None else x * mask, self.training)
        return functional.avg_pool2d(x, _CELL).permute(0, 2, 3, 1).flatten(1)
