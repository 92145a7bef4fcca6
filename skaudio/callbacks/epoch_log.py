"""Logs the epochs of a training."""

from __future__ import annotations

import logging
from typing import Any

from skorch.callbacks import Callback

from skaudio.callbacks.epochs import epoch_values

__all__ = ["EpochLog"]


class EpochLog(Callback):
    """Log a line per epoch, at level INFO of Python's :mod:`logging`.

    Parameters
    ----------
    logger : str, default="skaudio.epochs"
        Name of the logger.

    See Also
    --------
    HistoryFile : Write the history to a file.

    Examples
    --------
    >>> from skaudio import AudioClassifier, callbacks
    >>> model = AudioClassifier(callbacks=[callbacks.EpochLog()])
    """

    def __init__(self, logger: str = "skaudio.epochs") -> None:
        self.logger = logger

    def on_epoch_end(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Log the newest epoch."""
        values = epoch_values(net.history[-1])
        number = values.pop("epoch")
        told = ", ".join(
            f"{name} {value}" if isinstance(value, str) else f"{name} {value:.4g}"
            for name, value in values.items()
        )
        logging.getLogger(self.logger).info("epoch %d: %s", number, told)
