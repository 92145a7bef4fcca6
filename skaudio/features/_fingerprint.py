"""Short names for files and for what is done to them, equal exactly if these are equal."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["file_key", "steps_key"]

# Parameters that do not change a result.
_IDLE = frozenset(["n_jobs", "on_error", "verbose"])


def file_key(path: str) -> str | None:
    """Name a file by its resolved path, size and time of change; None if there is none."""
    try:
        stat = Path(path).stat()
    except OSError:
        return None
    return _digest(f"{os.path.realpath(path)}\n{stat.st_size}\n{stat.st_mtime_ns}".encode())


def steps_key(steps: Sequence[Any], learned: Any) -> str:
    """Name transformers by their classes, parameters and code, and by what they learned.

    Raises
    ------
    ValueError
        If a parameter cannot be told from others of its kind by its value.
    """
    return _digest(f"{_code_key()}\n{describe(list(steps))}\n{describe(learned)}".encode())


def describe(value: Any, name: str = "steps") -> str:
    """Write a value as text that is the same in every process."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        return repr(value)
    if isinstance(value, os.PathLike):
        return f"path({os.fspath(value)!r})"
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return f"array({value.dtype.str}, {value.shape}, {_digest(value.tobytes())})"
    return _describe_composed(value, name)


def _describe_composed(value: Any, name: str) -> str:
    if isinstance(value, (tuple, list)):
        parts = [describe(part, name) for part in value]
    elif isinstance(value, (set, frozenset)):
        parts = sorted(describe(part, name) for part in value)
    elif isinstance(value, dict):
        parts = sorted(f"{describe(k, name)}: {describe(v, name)}" for k, v in value.items())
    elif hasattr(value, "get_params") and not isinstance(value, type):
        params = {k: v for k, v in value.get_params(deep=False).items() if k not in _IDLE}
        parts = [f"{k}={describe(v, f'{name}.{k}')}" for k, v in sorted(params.items())]
    else:
        return _describe_named(value, name)
    return f"{_qualified(type(value))}({', '.join(parts)})"


def _describe_named(value: Any, name: str) -> str:
    qualified = _qualified(value)
    if "<" in qualified:
        raise ValueError(
            f"{name} is {value!r}, but a cache can tell apart only numbers, strings, arrays, "
            "collections of these, transformers, and functions that a module defines by name."
        )
    return qualified


def _qualified(value: Any) -> str:
    return f"{getattr(value, '__module__', None)}.{getattr(value, '__qualname__', '<unnamed>')}"


@functools.cache
def _code_key() -> str:
    """Name the code that reads files and makes features: a new version computes anew."""
    home = Path(__file__).parent
    files = [file for folder in (home, home.parent / "audio") for file in folder.glob("*.py")]
    return _digest(b"".join(file.read_bytes() for file in sorted(files)))


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
