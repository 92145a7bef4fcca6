"""Checks of hyperparameters that are tuples of sizes."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

__all__ = ["check_counts", "check_pairs"]


def check_counts(name: str, counts: Sequence[Any]) -> None:
    """Raise a ValueError unless `counts` holds one or more integers, each at least 1."""
    if not counts or not all(_is_count(count) for count in counts):
        raise ValueError(f"{name}: got {counts!r}, but expected one or more integers >= 1.")


def check_pairs(name: str, pairs: Sequence[Any], n_blocks: int) -> list[tuple[int, int]]:
    """Return one pair of sizes per block, from one pair for all of them or one for each.

    Raises
    ------
    ValueError
        If `pairs` is neither.
    """
    found = [pairs] * n_blocks if all(isinstance(size, Integral) for size in pairs) else pairs
    if len(found) == n_blocks and all(_is_pair(pair) for pair in found):
        return [(int(bands), int(frames)) for bands, frames in found]
    raise ValueError(
        f"{name}: got {pairs!r}, but expected two integers >= 1 (bands, frames), or such a pair "
        f"for each of the {n_blocks} blocks."
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def _is_pair(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(map(_is_count, value))
