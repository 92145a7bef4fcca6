"""Loading of sound files that are sorted into one folder per label."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from skaudio.audio import SUFFIXES

__all__ = ["load_folder"]


def load_folder(folder: str | os.PathLike[str], *, return_X_y: bool = False) -> Any:
    """List the sound files of a folder that has one sub-folder per label.

    Nothing is decoded: the result holds paths, for :class:`skaudio.AudioLoader` or an estimator
    to read. Sound files are recognised by their suffix (:data:`skaudio.audio.SUFFIXES`), at any
    depth; hidden ones are left out.

    Parameters
    ----------
    folder : str or pathlib.Path
        Its sub-folders' names are the labels, always as text: folder ``03`` is label ``"03"``.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    clips : Bunch
        data : ndarray of shape (n_clips,), str
            Paths, sorted by label and then by name.
        target : ndarray of shape (n_clips,), str
            Label of each clip.
        frame : DataFrame with the columns file, label
            The same as a table.
    (data, target) : tuple
        With ``return_X_y=True``.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If there is no such folder.
    ValueError
        If it has no sub-folder, or one without sound files.

    See Also
    --------
    load_manifest : For files listed in a table, with more than a label for each.
    skaudio.audio.AudioLoader : Reads the files.

    Examples
    --------
    >>> from skaudio.datasets import load_folder
    >>> clips = load_folder("sounds")  # doctest: +SKIP
    >>> clips.data[0], clips.target[0]  # doctest: +SKIP
    ('sounds/dog/001.wav', 'dog')
    """
    rows = [
        (str(file), label.name) for label in _labels(Path(folder)) for file in _sound_files(label)
    ]
    frame = pd.DataFrame(rows, columns=["file", "label"])
    data, target = np.asarray(rows, dtype=str).T
    return (data, target) if return_X_y else Bunch(data=data, target=target, frame=frame)


def _labels(folder: Path) -> list[Path]:
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder. Check the path.")
    if not folder.is_dir():
        raise NotADirectoryError(
            f"{folder}: is a file, expected a folder with one sub-folder per label. Pass the "
            "folder that holds them; for a table use load_manifest."
        )
    labels = sorted(
        path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path, folder)
    )
    if not labels:
        raise ValueError(
            f"{folder}: has no sub-folders, expected one per label. Move the files of each label "
            "into a folder of its name, or list them in a table and use load_manifest."
        )
    return labels


def _sound_files(label: Path) -> list[Path]:
    found = sorted(
        path
        for path in label.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file() and not _is_hidden(path, label)
    )
    if not found:
        raise ValueError(
            f"{label}: holds no sound files, expected at least one ({', '.join(sorted(SUFFIXES))})."
            " Remove the folder or convert its files."
        )
    return found


def _is_hidden(path: Path, folder: Path) -> bool:
    """Tell whether a path in a folder, or a folder on the way to it, begins with a dot."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
