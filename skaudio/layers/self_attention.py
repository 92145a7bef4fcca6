"""Self-attention with added instead of multiplied queries and keys."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skaudio.layers.precision import LinearHead

__all__ = ["SelfAttention"]


class SelfAttention(nn.Module):
    r"""Replace each frame by a weighted mean of all frames of its clip.

    .. math:: e_{t t'} = \sigma\big(v^\top \tanh(A x_t + B x_{t'} + b)\big), \qquad
        y_t = \sum_{t'} \mathrm{softmax}_{t'}(e_{t t'}) \, x_{t'}

    The scores are in (0, 1), so that no frame weighs more than e times as much as another one.

    Parameters
    ----------
    n_features : int
        Size of a frame's vector.
    n_hidden : int, default=32
        Rows of A and B.

    Shape: input ``(batch, n_frames, n_features)``, mask ``(batch, 1, 1, n_frames)``, True where a
    frame is real; output as the input, in float64 in evaluation on a CPU (see
    :func:`~skaudio.layers.precision.double_in_evaluation`). Memory grows with ``n_frames ** 2 *
    n_hidden``.

    See Also
    --------
    RecurrentLayer : Computes the frames.
    FramePooling : Makes one vector of all frames.

    References
    ----------
    .. [1] Bahdanau, Cho and Bengio, "Neural Machine Translation by Jointly Learning to Align and
       Translate", ICLR 2015, arXiv 1409.0473.

    Examples
    --------
    >>> import torch
    >>> from skaudio.layers import SelfAttention
    >>> SelfAttention(64)(torch.randn(2, 50, 64)).shape
    torch.Size([2, 50, 64])
    """

    def __init__(self, n_features: int, n_hidden: int = 32) -> None:
        super().__init__()
        self.query = LinearHead(n_features, n_hidden)
        self.key = LinearHead(n_features, n_hidden, bias=False)
        self.score = LinearHead(n_hidden, 1, bias=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix the frames of every clip."""
        query, key = self.query(x)[:, :, None], self.key(x)[:, None]  # batch, frame, frame, hidden
        score = self.score(torch.tanh(query + key)).squeeze(3).sigmoid()
        if mask is not None:
            score = score.masked_fill(~mask[:, 0], float("-inf"))
        weight = torch.softmax(score, dim=2)
        return weight @ x.to(weight.dtype)
