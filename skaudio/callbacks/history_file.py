"""Writes the history of a training to a file."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

from skorch.callbacks import Callback

from skaudio.callbacks.epochs import epoch_values

__all__ = ["HistoryFile"]


class HistoryFile(Callback):
    """Write the history to a CSV file, after each epoch.

    One row per epoch with the columns of ``history_``. A resumed training writes its first epochs,
    too, so that the file is the same as of one that was never interrupted (but for ``dur``).

    Parameters
    ----------
    path : str or pathlib.Path
        Replaced if it is there; its folder is made if needed.

    Raises
    ------
    OSError
        If the file cannot be written, as on a full disk.

    See Also
    --------
    EpochLog : Log a line per epoch.
    TensorBoardEvents : The same for TensorBoard.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from skaudio import AudioClassifier, callbacks
    >>> from skaudio.datasets import make_tones
    >>> X, y = make_tones(20, duration=0.05, random_state=0)
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "metrics.csv")
    ...     model = AudioClassifier(max_epochs=2, callbacks=[callbacks.HistoryFile(path)])
    ...     _ = model.fit(X, y)
    ...     path.read_text().splitlines()[0]
    'epoch,lr,dur,train_loss'
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path

    def on_epoch_end(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Write the file anew."""
        rows = [epoch_values(row) for row in net.history]
        names = list(dict.fromkeys(name for row in rows for name in row))
        path = Path(self.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Renamed once complete, so that a plot of the running training never sees half a file.
        part = path.with_name(f"{path.name}.part")
        with part.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, names, lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
        part.replace(path)
