"""Mixup: training on weighted means of two clips."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["draw_mixup", "mix"]


def draw_mixup(n_clips: int, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw which clips of a batch are mixed, and with which weights.

    Parameters
    ----------
    n_clips : int
        Number of clips in the batch.
    alpha : float
        The shares come from Beta(alpha, alpha), > 0: near 0 and 1 for a small `alpha`, near
        one half for a large one.
    generator : torch.Generator
        On the CPU. The only source of randomness.

    Returns
    -------
    partner : Tensor of shape (n_clips,), int64
        Position of the other clip for each clip, a permutation; a clip may be its own partner.
    share : Tensor of shape (n_clips,), float32
        Weight of the clip itself, in [0, 1]; its partner has the rest. The loss of the mixture
        is the mean of the losses on both targets with the same weights.

    Raises
    ------
    ValueError
        If `alpha` is not positive.

    See Also
    --------
    mix : Applies what was drawn.

    References
    ----------
    .. [1] Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, equation 1.
    """
    if not alpha > 0:
        raise ValueError(
            f"mixup: alpha is {alpha}, but expected a number > 0. To mix nothing, do not call it."
        )
    partner = torch.randperm(n_clips, generator=generator)
    # torch draws from a beta distribution with its global generator only. numpy takes a seed,
    # which comes from our generator, so that the result depends on that one alone.
    seed = torch.randint(2**62, (), generator=generator).item()
    share = np.random.default_rng(int(seed)).beta(alpha, alpha, size=n_clips)
    return partner, torch.from_numpy(share.astype(np.float32))


def mix(x: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    """Compute the weighted mean of each clip of a batch and its partner.

    Parameters
    ----------
    x : Tensor of shape (batch, ...)
        Waveforms or features. In a padded batch a mixture is as long as the longer of the two, so
        that padding has to be silence: the lowest value of each band in decibels, not 0.
    partner : Tensor of shape (batch,), int64
        Position of the other clip.
    share : Tensor of shape (batch,)
        Weight of the clip itself, in [0, 1].

    Returns
    -------
    Tensor of the same shape, dtype and device as `x`

    See Also
    --------
    draw_mixup : Draws `partner` and `share`.
    """
    share = share.to(x).view(-1, *[1] * (x.ndim - 1))
    return share * x + (1 - share) * x[partner.to(x.device)]
