"""Keep DiffRes from spending its frame budget on silence."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["guide_terms"]

ENERGY_TOLERANCE = 1e-6
"""Frames whose mean power is this close to the clip's smallest count as empty."""

GUIDE_THRESHOLD = 0.5
"""The guide loss counts only above this, the lambda of the paper."""


def guide_terms(score: Tensor, energy: Tensor, rate: float, real: Tensor) -> dict[str, Tensor]:
    """Measure how much of the budget goes to empty frames, and how much frames differ.

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
    """Unbiased standard deviation of each row; 0 where it is undefined, and then no gradient."""
    squares = (values - _masked_mean(values, mask)[:, None]).square() * mask
    var = squares.sum(1) / (mask.sum(1) - 1).clamp(min=1)
    return torch.where(var > 0, var, 1).sqrt() * (var > 0)
