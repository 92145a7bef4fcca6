"""What the three DiffRes layers share: from raw scores to a warped spectrogram."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from skaudio.layers.resolution.scoring import guide_terms, normalise_scores
from skaudio.layers.resolution.slot_pooling import pool_slots
from skaudio.layers.resolution.warping import assign_slots, overlap_matrix

__all__ = [
    "PositionalTable",
    "ResolutionLayer",
    "adopt_original_names",
    "kept",
    "real_frames",
    "sinusoids",
    "wide",
]


def kept(size: int, rate: float, what: str = "frames") -> int:
    """Frames (or bands) left of `size` at `rate`; a ValueError where none would be.

    The small addend keeps products such as 10 * (1 - 0.9) from losing one to rounding.
    """
    if not 0 <= rate < 1:
        raise ValueError(
            f"Got a dimension reduction rate of {rate!r}, but expected one in [0, 1): the share "
            f"of {what} to remove."
        )
    n_kept = math.floor(size * (1 - rate) + 1e-9)
    if n_kept < 1:
        least = math.ceil((1 - 1e-9) / (1 - rate))
        raise ValueError(
            f"Of {size} {what}, none would remain at a dimension reduction rate of {rate:g}. "
            f"Lower the rate, or give at least {least} {what}."
        )
    return n_kept


def real_frames(x: Tensor, lengths: Tensor | None, n_features: int) -> tuple[Tensor, list[int]]:
    """Check a batch ``(batch, n_frames, n_features)``; mark its frames that are not padding.

    Returns the marks, of shape ``(batch, n_frames)``, and the frames of each clip.
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


def wide(x: Tensor) -> Tensor:
    """Give float16 and bfloat16 in float32, the others as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


class ResolutionLayer(nn.Module):
    """The warp of a spectrogram by the scores of its frames, and a positional table.

    "Frame" stands for whatever axis is warped: :class:`~skaudio.layers.DiffRes` warps
    time, :class:`~skaudio.layers.DiffResF` bands.

    Parameters
    ----------
    n_positions, n_columns : int
        Size of the positional table: entries along the warped axis and along the other one.
    rate : float
        Share of frames to remove, in [0, 1).
    learn_pos_emb : bool
        Whether the table is learned. Beyond its size it goes on as sinusoids in any case.

    Raises
    ------
    ValueError
        If `rate` is out of range, or nothing of `n_positions` would remain.
    """

    _warped = "frames"

    def __init__(self, n_positions: int, n_columns: int, rate: float, learn_pos_emb: bool) -> None:
        super().__init__()
        kept(n_positions, rate, self._warped)
        self.dimension_reduction_rate = rate
        self.positions = PositionalTable(n_positions, n_columns, learn_pos_emb)
        self.register_load_state_dict_pre_hook(adopt_original_names)

    def warp(
        self,
        log_power: Tensor,
        raw: Tensor,
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
        raw : Tensor of shape (batch, n_frames)
            Raw scores in [0, 1].
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
        rate = self.dimension_reduction_rate
        left = [kept(size, rate, self._warped) for size in sizes]
        n_slots = torch.tensor(left, device=log_power.device)
        # A running sum in float32 is off by 2e-4 on 30 000 frames. MPS knows no float64.
        exact = raw.float() if raw.device.type == "mps" else raw.double()
        score = normalise_scores(exact, n_slots, real)
        slots = assign_slots(score, n_slots, max(left))
        table = self.positions(*log_power.shape[1:]) if encode else None
        maps, total = pool_slots(log_power, table, slots, gain=1 / (1 - rate))
        score = score.to(maps.dtype)
        return {
            "score": score,
            "slots": slots,
            "n_slots": n_slots,
            "maps": maps,
            **guide_terms(score, total / n_values, rate, real),
        }

    def weight(self, warped: dict[str, Any]) -> Tensor:
        """Dense weights of shape ``(batch, n_frames, n_slots)`` from what `warp` gave."""
        return overlap_matrix(warped["slots"]).to(warped["score"].dtype)


def adopt_original_names(
    module: nn.Module, state: dict[str, Any], prefix: str, *unused: Any
) -> None:
    """Read state dicts of the authors' code: ``model`` is the scorer, ``pos_emb`` the table.

    A hook for :meth:`torch.nn.Module.register_load_state_dict_pre_hook`.
    """
    for key in [key for key in state if key.startswith(prefix + "model.")]:
        state[prefix + "scorer." + key.removeprefix(prefix + "model.")] = state.pop(key)
    if prefix + "pos_emb" in state:
        state[prefix + "positions.table"] = state.pop(prefix + "pos_emb")[0]


def sinusoids(n_positions: int, n_columns: int, n_dims: int | None = None) -> Tensor:
    r"""Sine on even columns, cosine on odd ones.

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
    phase[:, 1::2] += torch.pi / 2
    return phase.sin_()


class PositionalTable(nn.Module):
    """Sinusoids of a given size, learned if wanted, that go on beyond it as needed.

    Parameters
    ----------
    n_positions, n_columns : int
        Size of the table.
    learned : bool
        Whether training changes it; what lies beyond its size stays as it is.
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
        """Give the table in the size wanted, shape ``(n_positions, n_columns)``."""
        rows, columns = self.table.shape
        if n_positions <= rows and n_columns <= columns:
            return self.table[:n_positions, :n_columns]
        further = sinusoids(n_positions, n_columns, n_dims=columns).to(self.table)
        inner = self.table[:n_positions, :n_columns]
        rows, columns = inner.shape
        return torch.cat([torch.cat([inner, further[:rows, columns:]], dim=1), further[rows:]])
