"""When to stop, and which weights to keep."""

from __future__ import annotations

from typing import Any

import numpy as np
from skorch.callbacks import Callback

__all__ = ["BestWeights", "EarlyStopping", "StopTraining"]


class StopTraining(Exception):  # noqa: N818 - nothing is wrong when a training ends
    """Raised by a callback at an epoch's end to end the training there."""


class _Monitor(Callback):
    """A callback that watches one column of the history since the training began."""

    def __init__(self, monitor: str, *, greater_is_better: bool = False) -> None:
        self.monitor = monitor
        self.greater_is_better = greater_is_better

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Remember where in the history this training begins."""
        self.first_epoch_ = len(net.history)

    def best_epoch(self, net: Any) -> int:
        """Epoch with the best value since the training began, counted within it."""
        sign = -1 if self.greater_is_better else 1
        values = sign * np.array(net.history[self.first_epoch_ :, self.monitor], dtype=float)
        return int(np.argmin(np.where(np.isnan(values), np.inf, values)))

    def n_epochs(self, net: Any) -> int:
        """Epochs since the training began."""
        return len(net.history) - self.first_epoch_


class BestWeights(_Monitor):
    """Keep the weights of the best epoch, and put them back when asked.

    Parameters
    ----------
    monitor : str
        Column of the history that tells which epoch is best.
    greater_is_better : bool, default=False

    Attributes
    ----------
    weights_ : dict of str to Tensor
        State of the module at the end of its best epoch, or at the beginning.
    """

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Keep the weights to begin with."""
        super().on_train_begin(net, **kwargs)
        self._keep(net)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Keep the weights if this epoch is the best so far."""
        if self.best_epoch(net) == self.n_epochs(net) - 1:
            self._keep(net)

    def restore(self, net: Any) -> None:
        """Give the module the kept weights."""
        net.module_.load_state_dict(self.weights_)

    def _keep(self, net: Any) -> None:
        state = net.module_.state_dict()
        self.weights_ = {name: value.detach().clone() for name, value in state.items()}


class EarlyStopping(_Monitor):
    """End the training when a column of the history has stopped improving.

    Parameters
    ----------
    monitor : str
    patience : int, default=10
        Epochs without a new best value before the training ends.
    greater_is_better : bool, default=False
    """

    def __init__(
        self, monitor: str, patience: int = 10, *, greater_is_better: bool = False
    ) -> None:
        super().__init__(monitor, greater_is_better=greater_is_better)
        self.patience = patience

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Count the epochs since the best one."""
        if self.n_epochs(net) - 1 - self.best_epoch(net) >= self.patience:
            raise StopTraining
