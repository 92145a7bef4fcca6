"""Writes the history of a training for TensorBoard."""

from __future__ import annotations

import os
from typing import Any

from skorch.callbacks import Callback

from skaudio.callbacks.epochs import epoch_values

__all__ = ["TensorBoardEvents"]


class TensorBoardEvents(Callback):
    """Write losses, scores and learning rate of each epoch for TensorBoard.

    Needs the extra ``skaudio[tensorboard]``. Unlike skorch's own callback it holds the name of a
    folder and no open file, so that estimators with it can be cloned and saved.

    Parameters
    ----------
    folder : str or pathlib.Path
        Made if needed; a resumed training adds a file to it.

    Raises
    ------
    ImportError
        When the training begins, if TensorBoard is not installed.

    See Also
    --------
    HistoryFile : Write the history to a CSV file.

    Examples
    --------
    >>> from skaudio import AudioClassifier, callbacks
    >>> model = AudioClassifier(callbacks=[callbacks.TensorBoardEvents("runs/first")])
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = folder

    def on_train_begin(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Open a file."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "TensorBoardEvents needs TensorBoard, which is not installed. Install "
                "skaudio[tensorboard], or leave the callback out."
            ) from error
        self._writer = SummaryWriter(str(self.folder))

    def on_epoch_end(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Add the newest epoch."""
        values = epoch_values(net.history[-1])
        number = values.pop("epoch")
        for name, value in values.items():
            if not isinstance(value, str):  # callbacks may record texts, too
                self._writer.add_scalar(name, value, number)
        self._writer.flush()

    def on_train_end(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Close the file."""
        writer = self.__dict__.pop("_writer", None)
        if writer is not None:  # it is None where there is no TensorBoard
            writer.close()
