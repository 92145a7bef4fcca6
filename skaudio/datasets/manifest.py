"""Loading of sound files that are listed in a table."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from skaudio.exceptions import AudioFormatError

__all__ = ["load_manifest"]

_N_NAMED = 5
# 31, -0.5, 12.50, 1e-05; but not 03, +1, 1e5, 0x1f or nan, which may well be names. More digits
# than 15 do not fit a float64 exactly, and are an identifier in any case.
_NUMBER = r"-?(?:0|[1-9]\d{0,14})(?:\.\d+)?(?:[eE][+-]\d+)?"


def load_manifest(
    manifest: str | os.PathLike[str] | pd.DataFrame,
    *,
    base_dir: str | os.PathLike[str] | None = None,
    return_X_y: bool = False,
) -> Any:
    """Load a table of sound files and their labels.

    Nothing is decoded: the result holds paths, for :class:`skaudio.AudioLoader` or an estimator
    to read.

    Parameters
    ----------
    manifest : str, pathlib.Path or DataFrame
        A CSV file or a table with the columns ``file`` and ``label`` and any others, such as the
        speaker. The cells of a CSV file are text: speaker ``03`` stays ``"03"``. Only a column
        whose cells are all written as numbers, such as ``31`` or ``-0.5``, is read as numbers;
        a zero in front marks a name. Only an empty cell is a missing value: ``none`` and ``NA``
        are labels like any other. To choose the types yourself, pass
        ``pandas.read_csv(..., dtype=...)``: a DataFrame keeps its own.
    base_dir : str or pathlib.Path, optional
        Folder that relative paths start from: by default the folder of the CSV file, or the
        current one for a DataFrame.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    clips : Bunch
        data : ndarray of shape (n_clips,), str
            Path of each clip, `base_dir` included.
        target : ndarray of shape (n_clips,)
            The labels, of the type they have in the table.
        frame : DataFrame
            The table, with the paths of `data` as ``file``.
        one ndarray of shape (n_clips,) for each further column, under the column's name
            A column called data, target or frame is in ``frame`` only.
    (data, target) : tuple
        With ``return_X_y=True``.

    Raises
    ------
    AudioFormatError
        If files are missing; they are counted and the first few named.
    ValueError
        If a column is missing, the table is empty, or a cell of the two columns is.

    See Also
    --------
    load_folder : For files sorted into one folder per label.
    skaudio.audio.AudioLoader : Reads the files.

    Examples
    --------
    >>> from skaudio.datasets import load_manifest
    >>> clips = load_manifest("emodb.csv")  # doctest: +SKIP
    >>> clips.data[0], clips.target[0], clips.speaker[0]  # doctest: +SKIP
    ('emodb/wav/03a01Fa.wav', 'happiness', '03')
    """
    if isinstance(manifest, pd.DataFrame):
        name, frame, folder = "The manifest", manifest.copy(), Path()
        _check_names(name, frame.columns)
    else:
        name, folder = os.fspath(manifest), Path(manifest).parent
        frame = _read_csv(manifest)
    _check_table(name, frame)
    folder = folder if base_dir is None else Path(base_dir)
    frame["file"] = [str(folder / file) for file in frame["file"]]
    _check_files(name, frame["file"].tolist(), folder)
    clips = Bunch()
    clips.update({str(column): frame[column].to_numpy() for column in frame})
    clips.update(
        data=np.asarray(frame["file"].tolist(), dtype=str),
        target=frame["label"].to_numpy(),
        frame=frame,
    )
    del clips["file"], clips["label"]
    return (clips.data, clips.target) if return_X_y else clips


def _read_csv(path: str | os.PathLike[str]) -> pd.DataFrame:
    try:
        # The header as a first row, since pandas renames columns of one name.
        frame = pd.read_csv(
            path, header=None, dtype=str, keep_default_na=False, skipinitialspace=True,
            encoding="utf-8-sig",
        )  # fmt: skip
    except ValueError as error:  # empty, ragged, or no text in UTF-8
        raise ValueError(
            f"{os.fspath(path)}: is no CSV file in UTF-8 with a header ({error}). Save it as such."
        ) from error
    # Blanks beside a comma belong to no label; what is then empty is missing.
    frame = frame.apply(lambda column: column.str.strip())
    names = [name or f"column {i}" for i, name in enumerate(frame.iloc[0])]
    frame = frame[1:].set_axis(names, axis=1).reset_index(drop=True)
    _check_names(os.fspath(path), frame.columns)
    frame = frame.mask(frame == "")
    for column in frame.columns.difference(["file"]):
        if frame[column].dropna().str.fullmatch(_NUMBER).all():
            frame[column] = pd.to_numeric(frame[column])
    return frame


def _check_names(name: str, columns: pd.Index) -> None:
    twins = columns[columns.duplicated()].tolist()
    if twins:
        raise ValueError(f"{name}: has several columns {twins[0]!r}. Leave one.")


def _check_table(name: str, frame: pd.DataFrame) -> None:
    missing = [column for column in ("file", "label") if column not in frame]
    if missing:
        raise ValueError(
            f"{name}: has the columns {list(frame.columns)}, expected also {missing}. "
            "Rename the columns that hold the paths and the labels to file and label."
        )
    if len(frame) == 0:
        raise ValueError(f"{name}: has no rows, expected one per clip. List at least one file.")
    for column in ("file", "label"):
        rows = np.flatnonzero(frame[column].isna())
        if len(rows) > 0:
            raise ValueError(
                f"{name}: {len(rows)} of {len(frame)} rows have no {column}, first row {rows[0]} "
                "(counted from 0), expected one in each. Fill the cells or drop the rows."
            )


def _check_files(name: str, files: list[str], folder: Path) -> None:
    missing = [file for file in files if not Path(file).is_file()]
    if missing:
        named = ", ".join(missing[:_N_NAMED]) + (" ..." if len(missing) > _N_NAMED else "")
        raise AudioFormatError(
            f"{name}: {len(missing)} of {len(files)} files are missing: {named}. "
            f"Check base_dir, which relative paths start from: now {folder.absolute()}."
        )
