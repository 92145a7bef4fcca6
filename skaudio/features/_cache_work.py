"""Reading features from a store, and computing those that are not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skaudio.exceptions import AudioFormatError
from skaudio.features._cache_steps import run
from skaudio.features._store import DamagedEntryError, Entry, Store

__all__ = ["Files", "gather", "produce", "read_all", "tasks"]

Files = dict[str, str | None]
"""Paths, and the names of their features; None for a file that is not there."""


def tasks(files: Files, size: int) -> list[Files]:
    """Part files into groups of at most `size`."""
    items = list(files.items())
    return [dict(items[i : i + size]) for i in range(0, len(items), size)]


def produce(
    store: Store, steps: Any, files: Files, wait: bool, report: bool
) -> dict[str, Entry | AudioFormatError]:
    """Compute and keep the features of files, except of those another process is at."""
    with ExitStack() as stack:
        names = {Store.lock_name(key) for key in files.values() if key is not None}
        held = {name: stack.enter_context(store.lock(name, wait=wait)) for name in names}
        mine = {p: key for p, key in files.items() if key is None or held[Store.lock_name(key)]}
        done: dict[str, Entry | AudioFormatError] = {**read_all(store, mine)[0]}
        for path, outcome in _features(steps, [path for path in mine if path not in done]):
            key = files[path]
            if isinstance(outcome, AudioFormatError):
                if not report:
                    raise outcome
            elif key is not None:
                store.write(key, outcome)
            done[path] = outcome
    return done


def _features(steps: Any, paths: list[str]) -> Iterator[tuple[str, Entry | AudioFormatError]]:
    """Compute features together; if a file is bad, one by one, to keep those of the others."""
    if not paths:
        return
    try:
        result = run(steps, paths)
    except AudioFormatError as error:
        if len(paths) == 1:
            yield paths[0], error
        else:
            for path in paths:
                yield from _features(steps, [path])
        return
    for path, array in zip(paths, _check_result(result, paths), strict=True):
        yield path, Entry(array, isinstance(result, list))


def _check_result(result: Any, paths: list[str]) -> list[NDArray[Any]]:
    if hasattr(result, "to_numpy"):  # a table, as set_output can ask for it
        result = result.to_numpy()
    if isinstance(result, (list, np.ndarray)) and len(result) == len(paths):
        arrays = [np.asarray(clip) for clip in result]
        if all(array.dtype.kind in "biufc" for array in arrays):
            return arrays
    raise ValueError(
        f"{paths[0]}: the steps of FeatureCache gave {result!r}, but expected a list or an array "
        "with one numeric array per clip."
    )


def read_all(store: Store, files: Files) -> tuple[dict[str, Entry], list[str]]:
    """Read what there is, and list the files whose features are damaged."""
    found, damaged = {}, []
    for path, key in files.items():
        try:
            entry = None if key is None else store.read(key)
        except DamagedEntryError:
            damaged.append(path)
        else:
            if entry is not None:
                found[path] = entry
    return found, damaged


def gather(entries: list[Entry]) -> Any:
    """Give what the steps would give for all files at once."""
    arrays = [entry.array for entry in entries]
    alike = len({(array.shape, array.dtype) for array in arrays}) == 1
    if not alike or any(entry.in_list for entry in entries):
        return arrays
    return np.stack(arrays)
