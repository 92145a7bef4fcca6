"""Recurrent layers that leave padding out, and compute in float64 in evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from skaudio.layers.precision import double_in_evaluation

__all__ = ["RecurrentLayer"]

_CELLS: dict[str, Callable[..., nn.RNNBase]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class RecurrentLayer(nn.Module):
    """One layer of LSTM or GRU, in one direction or both.

    Backwards, each clip is read from its own last frame on.

    Parameters
    ----------
    n_features : int
        Size of a frame's vector.
    n_hidden : int
        Size of the state, for each direction.
    cell : {"lstm", "gru"}, default="lstm"
    bidirectional : bool, default=False

    Shape: input ``(batch, n_frames, n_features)``, and `lengths` ``(batch,)``, the frames of each
    clip, or None where nothing is padding; output ``(batch, n_frames, n_hidden)``, twice as many
    features with two directions, in float64 in evaluation on a CPU (see
    :func:`~skaudio.layers.precision.double_in_evaluation`). What comes out at padding is some
    number or other.

    See Also
    --------
    SelfAttention : Lets frames look at each other.
    FramePooling : Makes one vector of all frames.

    Examples
    --------
    >>> import torch
    >>> from skaudio.layers import RecurrentLayer
    >>> layer = RecurrentLayer(40, 16, bidirectional=True)
    >>> layer(torch.randn(2, 50, 40), torch.tensor([50, 23])).shape
    torch.Size([2, 50, 32])
    """

    def __init__(
        self,
        n_features: int,
        n_hidden: int,
        cell: Literal["lstm", "gru"] = "lstm",
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        self.forwards = _CELLS[cell](n_features, n_hidden, batch_first=True)
        self.backwards = (
            _CELLS[cell](n_features, n_hidden, batch_first=True) if bidirectional else None
        )
        self.n_out = n_hidden * (2 if bidirectional else 1)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Compute the outputs of all frames."""
        # A frozen layer that passes gradients on is part of a training, not of a prediction.
        x = double_in_evaluation(x, self.training or x.requires_grad)
        # Padding comes after a clip, so that reading forwards no real frame sees it.
        y = _run(self.forwards, x)
        if self.backwards is None:
            return y
        reverse = _run(self.backwards, _reverse(x, lengths))
        return torch.cat([y, _reverse(reverse, lengths)], dim=2)


def _run(rnn: nn.RNNBase, x: Tensor) -> Tensor:
    """Apply one direction, in evaluation in the type of `x`."""
    if rnn.training:
        return rnn(x)[0]
    weights = [weight.to(x.dtype) for weight in rnn.parameters()]
    zero = x.new_zeros(1, len(x), rnn.hidden_size)
    # Biases, one layer, no dropout, training or not, one direction, batch first. Without dropout
    # "training" changes no number, but cuDNN has a backward pass only then, which a frozen layer
    # needs that passes gradients on.
    options = (weights, True, 1, 0.0, x.requires_grad, False, True)
    if isinstance(rnn, nn.LSTM):
        return torch.lstm(x, (zero, zero), *options)[0]
    return torch.gru(x, zero, *options)[0]


def _reverse(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Read each clip from its end; padding stays behind it."""
    if lengths is None:
        return x.flip(1)
    place = torch.arange(x.shape[1], device=x.device)
    mirrored = lengths[:, None] - 1 - place
    source = torch.where(mirrored >= 0, mirrored, place)
    return x.gather(1, source[:, :, None].expand(-1, -1, x.shape[2]))
