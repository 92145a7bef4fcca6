"""Tables of sound files and labels, as CSV files."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skaudio.cli.reporting import LOG
from skaudio.exceptions import AudioFormatError

__all__ = ["check_labels", "find_paths", "read_numbers", "read_table"]

_COLUMNS = ["file", "label"]
_N_NAMED = 5


def read_table(path: Path, folder: Path) -> pd.DataFrame:
    """Read a table with the columns ``file`` and ``label``; all its cells are text.

    Parameters
    ----------
    path : Path
        A CSV file in UTF-8. Without columns of either name, the first column holds the files and
        the last one the labels, which a message tells. A first line that names a file, or ends
        its first cell as other files do, is no header.
    folder : Path
        Where relative paths of files start from.

    Returns
    -------
    DataFrame
        The columns ``file``, as it stands in the table, and ``label`` first.

    Raises
    ------
    ValueError
        If the table is empty or ragged, has a single column, only one of the two or empty cells in
        them, or is no text in UTF-8.
    AudioFormatError
        If files are missing; they are counted and the first few named.
    """
    lines = _read_lines(path)
    if not lines:
        raise ValueError(f"{path}: is empty, but expected the header file,label and a line a clip.")
    number, header = lines[0]
    if len(header) < 2:
        raise ValueError(
            f"{path}, line {number}: has the single column {header[0]!r}, but expected at least a "
            "file and a label, with a comma between them."
        )
    if _is_clip(header, lines[1:], folder):
        LOG.info("%s: has no header; the first column is taken as file, the last as label.", path)
        header = [f"column {i}" for i in range(len(header))]
    else:
        lines = lines[1:]
    if not lines:
        raise ValueError(f"{path}: has a header only, but expected a line for each clip.")
    _check_lines(path, lines, len(header))
    table = pd.DataFrame([cells for _, cells in lines], columns=header, dtype=object)
    named = [name for name in _COLUMNS if name in header]
    if len(named) == 1:
        (lacking,) = set(_COLUMNS) - set(named)
        raise ValueError(
            f"{path}: has a column {named[0]}, but none that is called {lacking}: its columns are "
            f"{', '.join(header)}. Rename the one that holds the {lacking}s."
        )
    if not named:
        LOG.info(
            "%s: has no columns file and label; %r is taken as file, %r as label.",
            path, header[0], header[-1],
        )  # fmt: skip
        table.columns = pd.Index(["file", *header[1:-1], "label"])
    _check_cells(path, [number for number, _ in lines], table)
    _check_files(path, table["file"].tolist(), folder)
    others = table.loc[:, ~table.columns.isin(_COLUMNS)]  # some may have one name
    return pd.concat([table[_COLUMNS], others], axis=1)


def _is_clip(cells: list[str], others: list[tuple[int, list[str]]], folder: Path) -> bool:
    """Tell whether a first line is of a clip, even a misspelt one, and no header."""
    endings = {Path(line[0]).suffix.lower() for _, line in others} - {""}
    return (folder / cells[0]).is_file() or Path(cells[0]).suffix.lower() in endings


def find_paths(table: pd.DataFrame, folder: Path) -> list[str]:
    """Return the path of each file of a table."""
    return [str(folder / file) for file in table["file"]]


def check_labels(path: Path, table: pd.DataFrame, known: Sequence[str], source: object) -> None:
    """Refuse labels that the training lacks.

    Raises
    ------
    ValueError
        Names the first such clip, and the labels of `source`.
    """
    remedy = "Leave such clips out, or train with clips of this label."
    _refuse_labels(
        path, table, ~table["label"].isin(list(known)), f"that {source} lacks",
        f"Known are {sorted(set(known))}. {remedy}",
    )  # fmt: skip


def read_numbers(path: Path, table: pd.DataFrame) -> NDArray[np.float64]:
    """Return the labels of a table as numbers.

    Raises
    ------
    ValueError
        Names the first clip whose label is no finite number.
    """
    numbers = pd.to_numeric(table["label"], errors="coerce").to_numpy(dtype=float)
    _refuse_labels(
        path, table, ~np.isfinite(numbers), "that is no finite number",
        "The model estimates numbers: correct these labels, or leave the lines out.",
    )  # fmt: skip
    return numbers


def _refuse_labels(
    path: Path, table: pd.DataFrame, is_wrong: Sequence[bool], fault: str, remedy: str
) -> None:
    rows = np.flatnonzero(is_wrong)
    if len(rows):
        first = table.iloc[rows[0]]
        raise ValueError(
            f"{path}: {len(rows)} of {len(table)} clips have a label {fault}, the first is "
            f"{first['file']} with {first['label']!r}. {remedy}"
        )


def _read_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Read the cells of each line that is not blank, with the line's number from 1."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, skipinitialspace=True, strict=True)
            lines = [(reader.line_num, list(map(str.strip, cells))) for cells in reader]
            return [(number, cells) for number, cells in lines if any(cells)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"{path}: is no CSV file in UTF-8 ({error}). Save it as CSV with commas, in UTF-8."
        ) from error


def _check_lines(path: Path, lines: list[tuple[int, list[str]]], n_columns: int) -> None:
    for number, cells in lines:
        if len(cells) != n_columns:
            raise ValueError(
                f"{path}, line {number}: has {len(cells)} cells, but the table has {n_columns} "
                "columns. Put cells that hold a comma between quotation marks."
            )


def _check_cells(path: Path, numbers: list[int], table: pd.DataFrame) -> None:
    for column in _COLUMNS:
        if not isinstance(table[column], pd.Series):
            raise ValueError(f"{path}: has several columns {column!r}. Leave one.")
        rows = np.flatnonzero(table[column] == "")
        if len(rows):
            raise ValueError(
                f"{path}, line {numbers[rows[0]]}: has no {column}, and {len(rows) - 1} more lines "
                "have none. Fill the cells, or leave the lines out."
            )


def _check_files(path: Path, files: Sequence[str], folder: Path) -> None:
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        named = ", ".join(missing[:_N_NAMED]) + (" ..." if len(missing) > _N_NAMED else "")
        raise AudioFormatError(
            f"{path}: {len(missing)} of {len(files)} files are missing: {named}. Relative paths "
            f"start from {folder.absolute()}, which --data-path sets."
        )
