"""Pooling of a map of any length to one vector per clip."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skaudio.layers.precision import LinearHead, double_in_evaluation

__all__ = ["AttentionPooling", "FramePooling", "StatisticsPooling"]


class AttentionPooling(nn.Module):
    r"""Weighted mean over positions, the weights learned.

    Each position :math:`h` gets the score :math:`s \, u^\top \tanh(W h + b)`; the scores'
    softmax over all positions gives the weights.

    Parameters
    ----------
    n_channels : int
        Channels of the map, kept in the output.
    n_hidden : int, optional
        Rows of :math:`W`; by default `n_channels`.
    scale : float, default=0.3
        The factor :math:`s`: small values stay near the plain mean.

    Shape: input ``(batch, n_channels, n_bands, n_frames)``, mask ``(batch, 1, 1, n_frames)``;
    output ``(batch, n_channels)``, in float64 in evaluation on a CPU (see
    :func:`~skaudio.layers.precision.double_in_evaluation`).

    See Also
    --------
    LinearHead : Maps the pooled vectors to logits.
    FramePooling : The same for sequences, with simpler scores.
    frame_mask : Makes the mask.

    References
    ----------
    .. [1] Gerczuk et al., "EmoNet: A Transfer Learning Framework for Multi-Corpus Speech
       Emotion Recognition", arXiv 2103.08310, 2021.

    Examples
    --------
    >>> import torch
    >>> from skaudio.layers import AttentionPooling
    >>> AttentionPooling(16)(torch.randn(4, 16, 1, 50)).shape
    torch.Size([4, 16])
    """

    def __init__(self, n_channels: int, n_hidden: int | None = None, scale: float = 0.3) -> None:
        super().__init__()
        n_hidden = n_channels if n_hidden is None else n_hidden
        self.hidden = nn.Linear(n_channels, n_hidden)
        self.score = nn.Linear(n_hidden, 1, bias=False)
        self.scale = scale

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool all positions of every clip."""
        weight, positions = self._weigh(x, mask)
        return torch.einsum("bp,bpc->bc", weight, positions)

    def _weigh(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return weights ``(batch, position)`` and what they weigh, of one type."""
        positions = x.flatten(2).transpose(1, 2)  # batch, position, channel
        score = self.scale * self.score(torch.tanh(self.hidden(positions))).squeeze(2)
        if mask is not None:
            real = mask.expand(-1, 1, x.shape[2], -1).flatten(1)
            score = score.masked_fill(~real, float("-inf"))
        weight = torch.softmax(double_in_evaluation(score, self.training), dim=1)
        return weight, positions.to(weight.dtype)


class StatisticsPooling(AttentionPooling):
    r"""Weighted mean and weighted deviation over positions, the weights learned [1]_.

    How much a voice varies says as much as how it is on average. With the weights :math:`w_p` of
    :class:`AttentionPooling`, the deviation of a channel is :math:`\sqrt{\sum_p w_p (x_p - \mu)^2
    + \epsilon}`, with :math:`\mu` the weighted mean.

    Parameters
    ----------
    n_channels, n_hidden, scale
        As for :class:`AttentionPooling`.
    eps : float, default=1e-5
        Keeps the slope of the root finite where nothing varies, > 0.

    Shape: input ``(batch, n_channels, n_bands, n_frames)``, mask ``(batch, 1, 1, n_frames)``;
    output ``(batch, 2 * n_channels)``, the means first, in float64 in evaluation on a CPU (see
    :func:`~skaudio.layers.precision.double_in_evaluation`).

    See Also
    --------
    AttentionPooling : The mean alone.
    VectorNorm : Brings means and deviations to one scale.
    frame_mask : Makes the mask.

    References
    ----------
    .. [1] Okabe, Koshinaka and Shinoda, "Attentive Statistics Pooling for Deep Speaker
       Embedding", Interspeech 2018.

    Examples
    --------
    >>> import torch
    >>> from skaudio.layers import StatisticsPooling
    >>> StatisticsPooling(16)(torch.randn(4, 16, 1, 50)).shape
    torch.Size([4, 32])
    """

    def __init__(
        self,
        n_channels: int,
        n_hidden: int | None = None,
        scale: float = 0.3,
        eps: float = 1e-5,
    ) -> None:
        super().__init__(n_channels, n_hidden, scale)
        self.eps = eps

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute both statistics of every clip."""
        weight, positions = self._weigh(x, mask)
        mean = torch.einsum("bp,bpc->bc", weight, positions)
        # Not E[x^2] - E[x]^2, whose rounding error can exceed a small variance.
        variance = torch.einsum("bp,bpc->bc", weight, (positions - mean[:, None]).square())
        return torch.cat([mean, (variance + self.eps).sqrt()], dim=1)


class FramePooling(nn.Module):
    r"""Weighted mean over the frames of a sequence, the weights learned.

    The softmax over all frames of the scores :math:`w^\top h_t` gives the weights. (A bias of the
    scores would not change them.)

    Parameters
    ----------
    n_features : int
        Size of a frame's vector.

    Shape: input ``(batch, n_frames, n_features)``, mask ``(batch, 1, 1, n_frames)``, True where a
    frame is real; output ``(batch, n_features)``, in float64 in evaluation on a CPU (see
    :func:`~skaudio.layers.precision.double_in_evaluation`).

    See Also
    --------
    AttentionPooling : For maps of channels, bands and frames.
    RecurrentLayer : Computes the frames.

    Examples
    --------
    >>> import torch
    >>> from skaudio.layers import FramePooling
    >>> FramePooling(64)(torch.randn(2, 50, 64)).shape
    torch.Size([2, 64])
    """

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.score = LinearHead(n_features, 1, bias=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool all frames of every clip."""
        score = self.score(x)  # batch, frame, 1
        if mask is not None:
            score = score.masked_fill(~mask[:, 0, 0, :, None], float("-inf"))
        weight = torch.softmax(score, dim=1)
        return (weight * x.to(weight.dtype)).sum(1)
