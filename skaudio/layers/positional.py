"""The sinusoidal table that tells a network where in time something stands."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["PositionalTable", "sinusoids"]


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
