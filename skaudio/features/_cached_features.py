"""Features of single files: on disk, and computed by the steps of a cache."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from skaudio._artifacts import hash_value, identify_file, read_checked, write_checked
from skaudio._validation import Clips, holds_paths
from skaudio.audio import AudioLoader, Waveform
from skaudio.exceptions import AudioFormatError, DamagedFileError

__all__ = [
    "Entry",
    "Outcome",
    "compute_task",
    "entry_of_file",
    "entry_of_waveform",
    "flatten",
    "gather",
    "loaders",
    "name_waveforms",
    "read_all",
    "run",
]


class Entry(NamedTuple):
    """Features of one clip, and whether the steps returned them in a list or in an array."""

    array: NDArray[Any]
    in_list: bool


class Outcome(NamedTuple):
    """Features or error of one file, and the sample rate it was recorded at, if it was decoded."""

    result: Entry | AudioFormatError
    recorded_rate: int | None = None


# Entries on disk: ab/cdef....npy, in two levels, since file systems slow down with 100 000 files
# in one folder. Each is a .npy file, so that numpy.load reads it, followed by whether the array was
# in a list, by the sample rate that it remembers (0 for none), and by the checksum.
_TRAILER = struct.Struct("<?I")


def entry_of_file(folder: Path, path: str) -> Path | None:
    """Name the file that holds the features of a sound file; None if there is no such file."""
    identity = identify_file(path)
    return None if identity is None else entry_of_waveform(folder, hash_value(identity))


def entry_of_waveform(folder: Path, name: str) -> Path:
    """Name the file that holds the features of a waveform known by its hash."""
    return folder / name[:2] / f"{name[2:]}.npy"


def name_waveforms(waveforms: Clips, rates: list[int | None]) -> list[str]:
    """Hash the samples of each waveform, and the sample rate that it remembers."""
    return [
        hash_value([np.asarray(waveform), rate])
        for waveform, rate in zip(waveforms, rates, strict=True)
    ]


def read_all(files: dict[str, Path | None]) -> tuple[dict[str, Entry], list[str]]:
    """Read the features that are on disk, and list the sound files whose features are damaged."""
    found, damaged = {}, []
    for path, file in files.items():
        try:
            data = b"" if file is None else read_checked(file)
        except FileNotFoundError:
            continue
        except DamagedFileError:
            damaged.append(path)
            continue
        if data:
            found[path] = _decode(data)
    return found, damaged


def _decode(data: bytes) -> Entry:
    array = np.load(io.BytesIO(data), allow_pickle=False)
    in_list, sample_rate = _TRAILER.unpack(data[-_TRAILER.size :])
    return Entry(Waveform(array, sample_rate) if sample_rate else array, in_list)


def _encode(entry: Entry) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(entry.array), allow_pickle=False)
    buffer.write(_TRAILER.pack(entry.in_list, getattr(entry.array, "sample_rate", None) or 0))
    return buffer.getvalue()


def gather(entries: list[Entry], *, stack: bool = False) -> Any:
    """Return what the steps would return for all clips at once.

    With `stack`, for clips of one length that came as one array rather than in a list.
    """
    arrays = [entry.array for entry in entries]
    alike = len({(array.shape, array.dtype) for array in arrays}) == 1
    if not alike or (any(entry.in_list for entry in entries) and not stack):
        return arrays
    rates = {getattr(array, "sample_rate", None) for array in arrays}
    stacked = np.stack(arrays)
    return stacked if len(rates) > 1 or None in rates else Waveform(stacked, rates.pop())


def compute_task(
    steps: Any, clips: dict[str, Any], files: dict[str, Path | None], report: bool
) -> dict[str, Outcome]:
    """Compute and keep the features of a few clips, except those that are on disk by now.

    `clips` holds what the steps take: paths under their own names, or waveforms.
    """
    found, _ = read_all(files)
    done = {name: Outcome(entry) for name, entry in found.items()}
    missing = {name: clip for name, clip in clips.items() if name not in done}
    for name, outcome in _features(steps, missing):
        file = files[name]
        if isinstance(outcome.result, AudioFormatError):
            if not report:
                raise outcome.result
        elif file is not None:
            write_checked(file, _encode(outcome.result))
        done[name] = outcome
    return done


def _features(steps: Any, clips: dict[str, Any]) -> Iterator[tuple[str, Outcome]]:
    """Compute features together; if a file is bad, one by one, to keep those of the others."""
    if not clips:
        return
    names = list(clips)
    try:
        result, rates = run(steps, list(clips.values()))
    except AudioFormatError as error:
        if len(clips) == 1:
            yield names[0], Outcome(error)
        else:
            for name, clip in clips.items():
                yield from _features(steps, {name: clip})
        return
    for i, (name, array) in enumerate(zip(names, _check_result(result, names), strict=True)):
        yield name, Outcome(Entry(array, isinstance(result, list)), rates[i] if rates else None)


def _check_result(result: Any, names: list[str]) -> list[NDArray[Any]]:
    if hasattr(result, "to_numpy"):  # a table, as set_output can ask for it
        result = result.to_numpy()
    if isinstance(result, (list, np.ndarray)) and len(result) == len(names):
        arrays = [np.asanyarray(clip) for clip in result]
        if all(array.dtype.kind in "biufc" for array in arrays):
            return arrays
    raise ValueError(
        f"{names[0]}: the steps of FeatureCache returned {result!r}, but expected a list or an "
        "array with one numeric array per clip."
    )


def flatten(steps: Any) -> list[Any]:
    """List the transformers of a pipeline, and of pipelines in it."""
    if not isinstance(steps, Pipeline):
        return [steps]
    inner = [step for _, step in steps.steps if step is not None and step != "passthrough"]
    return [transformer for step in inner for transformer in flatten(step)]


def loaders(steps: Any) -> list[AudioLoader]:
    """List the steps that read files."""
    return [step for step in flatten(steps) if isinstance(step, AudioLoader)]


def run(steps: Any, X: Any) -> tuple[Any, list[int]]:
    """Transform clips by all steps; also return the rates at which files were recorded.

    Steps that learn nothing need no fit.
    """
    rates: list[int] = []
    for step in flatten(steps):
        if isinstance(step, AudioLoader) and holds_paths(X):
            X, rates = step.load(X)
        else:
            X = step.transform(X)
    return X, rates
