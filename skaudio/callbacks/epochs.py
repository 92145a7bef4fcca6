"""What is told of an epoch: losses, scores, learning rate, seconds."""

from __future__ import annotations

from typing import Any

__all__ = ["epoch_values"]


def epoch_values(row: dict[str, Any]) -> dict[str, Any]:
    """Return what users want to see of a row of skorch's history, its number first.

    Not the batches, nor skorch's marks of best values and counts of batches.
    """
    ends = ("_best", "_batch_count")
    values = {
        name: value
        for name, value in row.items()
        if name.startswith("valid_score_")  # of a corpus, whatever its name ends with
        or (name not in ("epoch", "batches") and not name.endswith(ends))
    }
    return {"epoch": row["epoch"], **values}
