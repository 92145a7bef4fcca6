"""What the DiffRes layers share: from raw scores to a warped spectrogram, and positions in it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from skaudio.layers.precision import at_least_float32, widest_float
from skaudio.layers.resolution.scoring import guide_terms, normalise_scores
from skaudio.layers.resolution.slot_pooling import pool_slots
from skaudio.layers.resolution.warping import assign_slots, overlap_matrix

__all__ = [
    "PositionalTable",
    "ResolutionLayer",
    "adopt_original_names",
    "clip_lengths",
    "count_left",
    "least_size",
    "real_frames",
    "sinusoids",
]

ROUNDING = 1e-9
"""Products such as 10 * (1 - 0.9), 0.9999999999999998 in floating point, must not lose a frame."""


def count_left(size: int, rate: float, what: str = "frames") -> int:
    """Count the frames (or bands) left of `size`, ``floor(size * (1 - rate))``.

    Parameters
    ----------
    size : int
    rate : float
        Share to remove, in [0, 1).
    what : str, default="frames"
        What is counted, for the error messages.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    ValueError
        If `rate` is out of range, or nothing would be left.
    """
    if not 0 <= rate < 1:
        raise ValueError(
            f"Got a dimension reduction rate of {rate!r}, but expected one in [0, 1): the share "
            f"of {what} to remove."
        )
    n_left = math.floor(size * (1 - rate) + ROUNDING)
    if n_left < 1:
        raise ValueError(
            f"Of {size} {what}, none would remain at a dimension reduction rate of {rate:g}. "
            f"Lower the rate, or give at least {least_size(rate)} {what}."
        )
    return n_left


def least_size(rate: float) -> int:
    """Compute the smallest size of which :func:`count_left` leaves one.

    ``floor(size * (1 - rate) + r) >= 1`` holds from ``size = (1 - r) / (1 - rate)`` on.

    Parameters
    ----------
    rate : float
        Share to remove, in [0, 1).

    Returns
    -------
    int
    """
    return math.ceil((1 - ROUNDING) / (1 - rate))


def clip_lengths(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the frames of each clip of ``(batch, n_frames, n_features)``, all if not given."""
    return torch.full((len(x),), x.shape[1], device=x.device) if lengths is None else lengths


def real_frames(x: Tensor, lengths: Tensor | None, n_features: int) -> tuple[Tensor, list[int]]:
    """Check a batch, and mark its frames that are not padding.

    Parameters
    ----------
    x : Tensor of shape (batch, n_frames, n_features)
    lengths : Tensor of shape (batch,), or None
        Frames of each clip; None where nothing is padding.
    n_features : int
        Features that `x` has to have.

    Returns
    -------
    real : Tensor of shape (batch, n_frames), bool
        False where a frame is padding.
    sizes : list of int
        Frames of each clip.

    Raises
    ------
    ValueError
        If the shape or the lengths do not fit.
    """
    if x.dim() != 3 or x.shape[2] != n_features:
        raise ValueError(
            f"Got input of shape {tuple(x.shape)}, but expected (batch, n_frames, {n_features})."
        )
    batch, n_frames, _ = x.shape
    if lengths is None:
        return torch.ones(batch, n_frames, dtype=torch.bool, device=x.device), [n_frames] * batch
    sizes = [int(size) for size in lengths]
    if len(sizes) != batch or not all(1 <= size <= n_frames for size in sizes):
        raise ValueError(
            f"Got lengths {sizes}, but expected {batch} of them between 1 and {n_frames}, the "
            "frames of the padded batch."
        )
    frames = torch.arange(n_frames, device=x.device)
    return frames < torch.tensor(sizes, device=x.device)[:, None], sizes


class ResolutionLayer(nn.Module):
    """Base of the layers that warp a spectrogram by the scores of its frames.

    "Frame" stands for an entry of the axis that is warped: that is time in
    :class:`~skaudio.layers.DiffRes`, and frequency in :class:`~skaudio.layers.DiffResF`.

    Parameters
    ----------
    n_positions, n_columns : int
        Size of the positional table: entries along the warped axis and along the other one.
    rate : float
        Share of frames to remove, in [0, 1).
    learn_pos_emb : bool
        Whether the table is learned. Beyond its size it goes on as sinusoids in any case.

    Attributes
    ----------
    positions : PositionalTable
        Tells where the merged frames come from.

    Raises
    ------
    ValueError
        If `rate` is out of range, or nothing of `n_positions` would remain.
    """

    _warped = "frames"

    def __init__(self, n_positions: int, n_columns: int, rate: float, learn_pos_emb: bool) -> None:
        super().__init__()
        count_left(n_positions, rate, self._warped)
        self.dimension_reduction_rate = rate
        self.positions = PositionalTable(n_positions, n_columns, learn_pos_emb)
        self.register_load_state_dict_pre_hook(adopt_original_names)

    def warp(
        self,
        log_power: Tensor,
        logits: Tensor,
        n_values: int | Tensor,
        real: Tensor,
        sizes: list[int],
        encode: bool = True,
    ) -> dict[str, Any]:
        """Normalise scores, warp, aggregate, and measure the guide loss.

        Parameters
        ----------
        log_power : Tensor of shape (batch, n_frames, n_features)
            Natural logarithm of power.
        logits : Tensor of shape (batch, n_frames)
            What the scorer gave; their sigmoids are the raw scores.
        n_values : int or Tensor of shape (batch, 1)
            Features of a frame that are not padding.
        real : Tensor of shape (batch, n_frames), bool
            False where a frame is padding.
        sizes : list of int
            Frames of each clip.
        encode : bool, default=True
            Whether the maps include the positional table.

        Returns
        -------
        dict
            ``score``, ``slots``, ``n_slots``, ``maps`` as from
            :func:`~skaudio.layers.resolution.slot_pooling.pool_slots`, and what
            :func:`~skaudio.layers.resolution.scoring.guide_terms` gives.
        """
        # What comes is a logarithm, but its exponential is summed: float16 overflows at exp(11.1),
        # and bfloat16 keeps three digits.
        dtype = at_least_float32(log_power.dtype)
        # Slots are cut at whole numbers of the scores' running sum. In float32 a sum near 15 000 is
        # a multiple of 2^-10 and off by up to 5e-4 of a slot. In float64 it is off by 1e-10, with
        # the roundings of 30 000 frames on the way there.
        raw = torch.sigmoid(logits.to(dtype)).to(widest_float(logits.device))
        rate = self.dimension_reduction_rate
        left = [count_left(size, rate, self._warped) for size in sizes]
        n_slots = torch.tensor(left, device=log_power.device)
        score = normalise_scores(raw, n_slots, real)
        slots = assign_slots(score, n_slots, max(left))
        table = self.positions(*log_power.shape[1:]) if encode else None
        # A slot's maximum is taken over weighted frames, whose weights are 1 - rate on average.
        # The gain makes up for it, so that a steady sound keeps its level.
        maps, total = pool_slots(log_power.to(dtype), table, slots, gain=1 / (1 - rate))
        score = score.to(maps.dtype)
        return {
            "score": score,
            "slots": slots,
            "n_slots": n_slots,
            "maps": maps,
            **guide_terms(score, total / n_values, rate, real),
        }

    def weight(self, warped: dict[str, Any]) -> Tensor:
        """Write out the weights, ``(batch, n_frames, n_slots)``, of what `warp` gave."""
        return overlap_matrix(warped["slots"]).to(warped["score"].dtype)


def adopt_original_names(
    module: nn.Module, state: dict[str, Any], prefix: str, *unused: Any
) -> None:
    """Rename entries of the authors' state dicts: ``model`` is the scorer, ``pos_emb`` the table.

    It is a hook for :meth:`torch.nn.Module.register_load_state_dict_pre_hook`.
    """
    for key in [key for key in state if key.startswith(prefix + "model.")]:
        state[prefix + "scorer." + key.removeprefix(prefix + "model.")] = state.pop(key)
    if prefix + "pos_emb" in state:
        state[prefix + "positions.table"] = state.pop(prefix + "pos_emb")[0]


def sinusoids(n_positions: int, n_columns: int, n_dims: int | None = None) -> Tensor:
    r"""Compute a table with sines in even columns and cosines in odd ones.

    Column :math:`i` oscillates at :math:`10000^{-2 \lfloor i / 2 \rfloor / D}` radians per
    position.

    Parameters
    ----------
    n_positions : int
    n_columns : int
    n_dims : int, optional
        The :math:`D` of the formula; by default `n_columns`.

    Returns
    -------
    Tensor of shape (n_positions, n_columns), float64
        Values in [-1, 1].

    References
    ----------
    .. [1] Vaswani et al., "Attention is all you need", 2017, section 3.5.
    """
    column = torch.arange(n_columns, dtype=torch.float64)
    speed = 10000.0 ** (-2 * (column // 2) / (n_dims or n_columns))
    phase = torch.arange(n_positions, dtype=torch.float64)[:, None] * speed
    phase[:, 1::2] += torch.pi / 2  # cos(p) = sin(p + pi / 2)
    return phase.sin_()


class PositionalTable(nn.Module):
    """Table of sinusoids, learned or not, that is continued beyond its size as needed.

    Parameters
    ----------
    n_positions, n_columns : int
        Size of the table.
    learned : bool
        Whether the table is a parameter. What lies beyond its size is never learned.
    """

    table: Tensor

    def __init__(self, n_positions: int, n_columns: int, learned: bool) -> None:
        super().__init__()
        table = sinusoids(n_positions, n_columns).to(torch.get_default_dtype())
        if learned:
            self.table = nn.Parameter(table)
        else:
            self.register_buffer("table", table)

    def forward(self, n_positions: int, n_columns: int) -> Tensor:
        """Return the table in the size wanted, of shape ``(n_positions, n_columns)``."""
        rows, columns = self.table.shape
        if n_positions <= rows and n_columns <= columns:
            return self.table[:n_positions, :n_columns]
        further = sinusoids(n_positions, n_columns, n_dims=columns).to(self.table)
        inner = self.table[:n_positions, :n_columns]
        rows, columns = inner.shape
        return torch.cat([torch.cat([inner, further[:rows, columns:]], dim=1), further[rows:]])
