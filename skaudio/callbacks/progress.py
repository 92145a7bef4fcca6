"""Seeing a training run."""

from __future__ import annotations

from typing import Any

from skorch.callbacks import Callback
from tqdm import tqdm

__all__ = ["EpochProgress"]

_SHOWN = ("train_loss", "valid_loss", "valid_score")


class EpochProgress(Callback):
    """Progress bar over the epochs, with the newest losses behind it.

    Parameters
    ----------
    n_epochs : int
        Epochs at the most.
    """

    def __init__(self, n_epochs: int) -> None:
        self.n_epochs = n_epochs

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Draw the empty bar."""
        self.first_epoch_ = len(net.history)
        self.bar_ = tqdm(total=self.n_epochs, unit="epoch", dynamic_ncols=True)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Move on, at the first epoch of a resumed run by what had been done before."""
        newest = net.history[-1]
        shown = {name: f"{newest[name]:.3f}" for name in _SHOWN if name in newest}
        self.bar_.set_postfix(shown, refresh=False)
        self.bar_.update(len(net.history) - self.first_epoch_ - self.bar_.n)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Leave the bar as it is."""
        self.bar_.close()
        del self.bar_
