"""What estimators know that hold a trained net."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from skaudio.callbacks.epochs import epoch_values
from skaudio.estimators._module import Architecture

__all__ = ["TrainedNetMixin", "mean_per_clip"]


class TrainedNetMixin:
    """What is known of an estimator that holds a trained net."""

    net_: Any
    architecture_: Architecture

    @property
    def history_(self) -> pd.DataFrame:
        """One row per epoch: losses, scores, learning rate, seconds."""
        check_is_fitted(self)
        rows = [epoch_values(row) for row in self.net_.history]
        return pd.DataFrame(rows, columns=None if rows else ["epoch"]).set_index("epoch")

    @property
    def n_parameters_(self) -> int:
        """Number of the network's parameters."""
        return sum(weight.numel() for weight in self._weights)

    @property
    def n_trained_parameters_(self) -> int:
        """Number of the parameters that the training changes; the others are frozen."""
        return sum(weight.numel() for weight in self._weights if weight.requires_grad)

    @property
    def _weights(self) -> list[Any]:
        check_is_fitted(self)
        return list(self.net_.module_.parameters())

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "net_")


def mean_per_clip(values: NDArray[np.float64], clip: NDArray[np.int64]) -> NDArray[np.float64]:
    """Average the rows of each clip's segments; a clip with one segment keeps its bits."""
    counts = np.bincount(clip)
    if counts.max() == 1:
        return values
    means = np.zeros((len(counts), values.shape[1]))
    np.add.at(means, clip, values)
    return means / counts[:, np.newaxis]
