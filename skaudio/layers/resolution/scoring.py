"""Scores of frames: the network that computes them, their normalisation and the guide loss."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skaudio.layers.normalization import MaskedBatchNorm2d

__all__ = ["FrameConvStack", "guide_terms", "normalise_scores", "scorer_widths"]

RAISABLE = (1e-4, 1 - 1e-4)
"""Scores between these bounds are raised where a clip's scores fall short of its budget."""

ENERGY_TOLERANCE = 1e-6
"""Frames whose mean power is this close to the clip's smallest count as empty."""

GUIDE_THRESHOLD = 0.5
"""The guide loss counts only above this, the lambda of the paper."""


def scorer_widths(n_features: int) -> list[int]:
    """Compute the channels of DiffRes' scorer: halved by each block, at least 1, and 1 at the end.

    Parameters
    ----------
    n_features : int
        Bands of a frame.

    Returns
    -------
    list of int
        Channels of the input, and of each of the five blocks.
    """
    return [max(1, n_features // 2**i) for i in range(5)] + [1]


def normalise_scores(raw: Tensor, n_slots: Tensor, real: Tensor) -> Tensor:
    r"""Scale each clip's scores so that none exceeds 1 and they sum to its number of slots.

    The scores are multiplied by :math:`M / \sum s`. Where the largest is 1 or more, the clip is
    divided by it; if its sum then falls short of :math:`M` by 1 or more, its scores
    :math:`s \in (10^{-4}, 1 - 10^{-4})` rise by :math:`\alpha (1 - s)` with
    :math:`\alpha = \min(1, (M - \sum s) / \sum (1 - s))`, the last sum over those frames.

    Parameters
    ----------
    raw : Tensor of shape (batch, n_frames)
        Importance in [0, 1].
    n_slots : Tensor of shape (batch,)
        Frames that each clip keeps, integers of at least 1.
    real : Tensor of shape (batch, n_frames), bool
        False where a frame is padding.

    Returns
    -------
    Tensor of shape (batch, n_frames)
        Scores in [0, 1], 0 for padding. A clip that keeps all its frames has scores of 1, the
        only ones that sum to its budget.
    """
    # A score above 1 would reach over three slots, hence the division by the largest. What that
    # takes away from the sum is handed to the others, each in proportion to what it lacks to 1:
    # s + alpha (1 - s) stays at or under 1 for alpha <= 1, and sums to M for alpha as above.
    budget = n_slots[:, None].to(raw.dtype)
    raw = raw * real
    score = raw * budget / _floored(raw.sum(1, keepdim=True))
    score = score / score.amax(1, keepdim=True).clamp(min=1)
    missing = budget - score.sum(1, keepdim=True)
    room = (1 - score) * ((score > RAISABLE[0]) & (score < RAISABLE[1]))
    share = (missing / _floored(room.sum(1, keepdim=True))).clamp(max=1)
    score = score + room * share * (missing >= 1)
    keeps_all = n_slots[:, None] == real.sum(1, keepdim=True)
    return torch.where(keeps_all, real.to(score.dtype), score)


def _floored(total: Tensor) -> Tensor:
    # Sums of scores that underflowed to 0 are divided by.
    return total.clamp(min=torch.finfo(total.dtype).tiny)


class FrameConvStack(nn.Module):
    """Network of residual blocks, each of two convolutions over time.

    Parameters
    ----------
    widths : sequence of int
        Channels of the input, then of each block's output.

    Shape: input ``(batch, n_frames, widths[0])``, mask ``(batch, n_frames)``, True where a
    frame is real; output ``(batch, n_frames, widths[-1])``. Parameters have the names and shapes
    of the authors' code.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.blks = nn.ModuleList(_Block(*pair) for pair in itertools.pairwise(widths))

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """Map every frame, given its neighbours; padding counts as zeros around a clip."""
        # batch, frame, channel is the channels-last layout of batch, channel, 1, frame: nothing
        # is copied, and the convolutions and norms keep the layout.
        x = x.transpose(1, 2).unsqueeze(2)
        mask = None if real is None else real[:, None, None, :]
        for block in self.blks:
            x = block(x, mask)
        return x.squeeze(2).transpose(1, 2)


class _Block(nn.Module):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.cnn1 = _FrameConv(n_in, n_out, 5, padding=2)
        self.batch_norm1 = MaskedBatchNorm2d(n_out)
        self.cnn2 = _FrameConv(n_out, n_out, 5, padding=2)
        self.batch_norm2 = MaskedBatchNorm2d(n_out)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        # In place where backward does not need what was there (a ReLU needs its output only): on
        # long clips, to get fresh memory from the system costs more than the arithmetic.
        h = self.batch_norm1(self.cnn1(x).relu_(), mask)
        return self.batch_norm2(self.cnn2(h).relu_(), mask).add_(h)


class _FrameConv(nn.Conv1d):
    """One-dimensional convolution for maps in the layout ``(batch, channel, 1, frame)``."""

    def forward(self, x: Tensor) -> Tensor:
        padding = (0, int(self.padding[0]))
        return nn.functional.conv2d(x, self.weight.unsqueeze(2), self.bias, padding=padding)


def guide_terms(score: Tensor, energy: Tensor, rate: float, real: Tensor) -> dict[str, Tensor]:
    """Compute how much of the budget goes to empty frames, and how much scores differ.

    Parameters
    ----------
    score : Tensor of shape (batch, n_frames)
        Normalised scores in [0, 1].
    energy : Tensor of shape (batch, n_frames)
        Mean power of each frame, >= 0.
    rate : float
        Dimension reduction rate in [0, 1); ``1 - rate`` is the mean score.
    real : Tensor of shape (batch, n_frames), bool
        False where a frame is padding.

    Returns
    -------
    dict of str to Tensor
        ``guide_loss``: a scalar, the mean score of a clip's empty frames relative to the mean
        score, counted where it exceeds 0.5, averaged over the batch. ``guide_loss_total``: the
        same without the threshold. ``activeness``: a scalar, the standard deviation of the
        relative scores of the other frames, averaged; clips with fewer than two of them count
        as 0. ``score_mask``: the empty frames, shape ``(batch, n_frames)``, bool.
    """
    energy = energy.masked_fill(~real, float("inf"))
    empty = (energy <= energy.amin(1, keepdim=True) + ENERGY_TOLERANCE) & real
    relative = score / (1 - rate)
    spent = _masked_mean(relative, empty)
    return {
        "guide_loss": torch.where(spent > GUIDE_THRESHOLD, spent, 0).mean(),
        "guide_loss_total": spent.mean(),
        "activeness": _masked_std(relative, real & ~empty).mean(),
        "score_mask": empty,
    }


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum(1) / mask.sum(1).clamp(min=1)


def _masked_std(values: Tensor, mask: Tensor) -> Tensor:
    """Compute the unbiased standard deviation of each row; 0 where it is undefined."""
    # The slope of a root is infinite at 0. Where the variance is 0 the root of 1 is taken instead,
    # and multiplied by 0: no gradient, rather than not a number.
    squares = (values - _masked_mean(values, mask)[:, None]).square() * mask
    var = squares.sum(1) / (mask.sum(1) - 1).clamp(min=1)
    return torch.where(var > 0, var, 1).sqrt() * (var > 0)
