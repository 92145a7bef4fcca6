"""Results kept on disk: named by what they were made from, written whole, checked when read."""

from __future__ import annotations

import copyreg
import hashlib
import os
import secrets
import sys
import time
import types
import weakref
from contextlib import suppress
from pathlib import Path
from pickle import whichmodule  # type: ignore[attr-defined]
from textwrap import shorten
from typing import Any, BinaryIO, NoReturn

import numpy as np
from sklearn.frozen import FrozenEstimator

from skaudio.exceptions import DamagedFileError

__all__ = [
    "CHECKSUM_BYTES",
    "fits_checksum",
    "hash_value",
    "identify_file",
    "read_checked",
    "remove_stale",
    "write_checked",
]

# 128 bits: among n different values two share a hash with a probability of about n^2 / 2^129,
# which is 1e-21 for a billion of them. Against damage 2^-128 is as good as certainty.
_DIGEST_BYTES = 16

CHECKSUM_BYTES = _DIGEST_BYTES
"""How many bytes :func:`write_checked` appends."""

_BLOCK_BYTES = 2**20

# Parameters that change how, where or with how many messages a result is computed, never which;
# and callbacks, which may hold anything, such as open files.
_WITHOUT_EFFECT = frozenset(
    ["callbacks", "checkpoint_dir", "memory", "n_jobs", "on_error", "verbose"]
)

_TEMPORARY = ".tmp"
_STALE_SECONDS = 3600


def hash_value(value: Any, name: str = "value") -> str:
    """Compute a hash that is equal exactly for equal values, in every process.

    What counts:

    - arrays: dtype, shape and content, wherever they lie in memory;
    - lists, tuples, dicts (their order does not count), sets, paths, pandas objects: their
      content, and which of these they are;
    - objects with ``get_params``: class and parameters, as :func:`sklearn.base.clone` would
      rebuild them, without parameters such as ``n_jobs`` that cannot change a result;
    - a :class:`~sklearn.frozen.FrozenEstimator`, which ``clone`` keeps as it is: all that it
      holds, what it has learned too;
    - torch tensors: dtype, shape, content, ``requires_grad``, and which of them are one and the
      same (tied weights); torch modules: class and all attributes except the training mode;
    - functions and classes: the name under which they can be imported, not their code;
    - other objects: the state that pickle would save.

    Parameters
    ----------
    value : object
    name : str, default="value"
        What `value` is called in messages; attributes and parameters within it are appended
        with dots (``steps.window``).

    Returns
    -------
    str
        32 hexadecimal digits.

    Raises
    ------
    ValueError
        If a part of `value` cannot be known again in another process, such as a lambda.
    """
    return _Hasher().digest(value, name).hex()


class _Hasher:
    """Computes the digest of a value from the digests of its parts."""

    def __init__(self) -> None:
        self._in_frozen = False
        self._depth_of: dict[int, int] = {}  # what is being hashed right now, by id
        # Tensors met so far, by id. They are kept alive here, since the id of an object that is
        # gone may be given to another one.
        self._tensors: dict[int, tuple[int, Any]] = {}

    def digest(self, value: Any, name: str) -> bytes:
        if isinstance(value, np.generic) and not isinstance(value.item(), np.generic):
            value = value.item()
        if value is None or type(value) in (bool, int, float, complex, str, bytes):
            return _digest(type(value).__name__, repr(value))
        if isinstance(value, os.PathLike):
            return _digest("path", repr(os.fspath(value)))
        if isinstance(value, weakref.ref):  # recurrent layers of torch refer to their own weights
            return _digest("weakref")
        if id(value) in self._depth_of:  # a cycle, told by how deep the object lies it leads to
            return _digest("cycle", str(self._depth_of[id(value)]))
        self._depth_of[id(value)] = len(self._depth_of)
        try:
            return self._composed(value, name)
        finally:
            del self._depth_of[id(value)]

    def _composed(self, value: Any, name: str) -> bytes:
        if type(value) in (np.ndarray, np.memmap):
            return self._array(value, name)
        if type(value) in (list, tuple):
            return _digest(type(value).__name__, *(self.digest(part, name) for part in value))
        if type(value) in (set, frozenset):
            return _digest("set", *sorted(self.digest(part, name) for part in value))
        if type(value) is dict:
            return _digest("dict", *self._items(value, name))
        return self._object(value, name)

    def _object(self, value: Any, name: str) -> bytes:
        if isinstance(value, (type, types.FunctionType)) or _is_builtin_function(value):
            return self._named(value, name)
        torch = sys.modules.get("torch")  # who holds a tensor has imported it
        if torch is not None and isinstance(value, torch.Tensor):
            return self._tensor(value, torch)
        if torch is not None and isinstance(value, torch.nn.Module):
            return self._module(value, name, torch)
        if hasattr(value, "iloc"):
            return self._table(value, name)
        if isinstance(value, FrozenEstimator):
            return self._frozen(value, name)
        if hasattr(value, "get_params") and not self._in_frozen:
            params = value.get_params(deep=False)
            kept = {key: params[key] for key in params.keys() - _WITHOUT_EFFECT}
            return _digest("params", _qualified(type(value)), *self._items(kept, name))
        return self._pickled(value, name)

    def _items(self, value: dict[Any, Any], name: str) -> list[bytes]:
        """Compute the digests of keys and values, in an order that the keys alone decide."""
        keys = {self.digest(key, name): key for key in value}
        parts = []
        for key_digest, key in sorted(keys.items()):
            inner = f"{name}.{key}" if isinstance(key, str) else name
            parts += [key_digest, self.digest(value[key], inner)]
        return parts

    def _array(self, array: np.ndarray, name: str) -> bytes:
        if array.dtype.hasobject:
            parts = (self.digest(part, name) for part in array.ravel().tolist())
            return _digest("object array", repr(array.shape), *parts)
        dtype = np.lib.format.dtype_to_descr(array.dtype)
        content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        return _digest("array", repr(dtype), repr(array.shape), content.data)

    def _table(self, table: Any, name: str) -> bytes:
        """Hash a Series or DataFrame by its columns, since its blocks in memory may differ."""
        columns = [table] if table.ndim == 1 else [table.iloc[:, i] for i in range(table.shape[1])]
        parts = [(column.name, str(column.dtype), column.to_numpy()) for column in columns]
        held = [table.ndim, parts, table.index.to_numpy()]
        return _digest("table", self.digest(held, name))

    def _tensor(self, tensor: Any, torch: Any) -> bytes:
        if id(tensor) in self._tensors:  # tied weights are not two equal ones: they learn as one
            return _digest("same tensor", str(self._tensors[id(tensor)][0]))
        self._tensors[id(tensor)] = len(self._tensors), tensor
        kind = f"{tensor.dtype}, {tuple(tensor.shape)}, {tensor.requires_grad}"
        # As bytes, since numpy lacks some of torch's types.
        content = tensor.detach().cpu().flatten().view(torch.uint8).numpy()
        return _digest("tensor", kind, content.data)

    def _module(self, module: Any, name: str, torch: Any) -> bytes:
        # What every module has besides weights and submodules: hooks and the training mode.
        parts_of_model = {"_parameters", "_buffers", "_modules"}
        bookkeeping = vars(torch.nn.Module()).keys() - parts_of_model
        held = {key: part for key, part in vars(module).items() if key not in bookkeeping}
        # Submodules run in the order in which they were added.
        held |= {key: list(held[key].items()) for key in parts_of_model & held.keys()}
        return _digest("module", _qualified(type(module)), *self._items(held, name))

    def _named(self, value: Any, name: str) -> bytes:
        """Hash a function or class by name; refuse those that share theirs with others."""
        qualified = _qualified(value)
        # Functions made by one decorator share its code and can share their name, too.
        is_closure = getattr(value, "__closure__", None) is not None
        if "<" in qualified or (is_closure and not _is_importable(value)):
            _refuse(value, name)
        return _digest("name", qualified)

    def _frozen(self, value: FrozenEstimator, name: str) -> bytes:
        outside, self._in_frozen = self._in_frozen, True
        try:
            return _digest("frozen", self.digest(value.estimator, f"{name}.estimator"))
        finally:
            self._in_frozen = outside

    def _pickled(self, value: Any, name: str) -> bytes:
        """Hash an object by what pickle would save: how to make it, state, items."""
        if type(value) is object:  # a sentinel, whose only meaning is its identity
            _refuse(value, name)
        try:
            reduce = copyreg.dispatch_table.get(type(value))
            reduced = reduce(value) if reduce else value.__reduce_ex__(4)
        except Exception as error:  # objects refuse to be pickled in many ways
            _refuse(value, name, error)
        if isinstance(reduced, str):  # the name of a global object
            if _look_up(whichmodule(value, reduced), reduced) is not value:
                _refuse(value, name)
            # One that knows no module, as scipy.special.expit, is found in any that imports it.
            module = getattr(value, "__module__", None) or ""
            return _digest("global", _qualified(type(value)), module, reduced)
        make, args, *rest = reduced
        state, items, pairs = (*rest, None, None, None)[:3]
        parts = (make, args, state, list(items or ()), list(pairs or ()))
        return _digest("object", *(self.digest(part, name) for part in parts))


def _digest(kind: str, *parts: str | bytes | memoryview) -> bytes:
    """Hash parts so that neither their borders nor their kind can be mistaken."""
    total = hashlib.blake2b(kind.encode(), digest_size=_DIGEST_BYTES)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little"))
        total.update(data)
    return total.digest()


def _qualified(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _is_builtin_function(value: Any) -> bool:
    """Tell functions written in C from methods of objects (``"abc".upper``), of the same type."""
    if not isinstance(value, types.BuiltinFunctionType):
        return False
    return isinstance(value.__self__, (types.ModuleType, type, types.NoneType))


def _is_importable(value: Any) -> bool:
    return _look_up(value.__module__, value.__qualname__) is value


def _look_up(module: str, path: str) -> Any:
    """Find what a module holds under a name with dots; None if there is none."""
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found


def _refuse(value: Any, name: str, cause: Exception | None = None) -> NoReturn:
    raise ValueError(
        f"{name} is {shorten(repr(value), 120)}, which cannot be told from others by its name or "
        "its value in another process. Use numbers, strings, arrays, estimators, or a function "
        "or class at the top level of a module, not a lambda or one inside a function."
    ) from cause


def identify_file(path: str | os.PathLike[str]) -> tuple[str, int, int] | None:
    """Look up what tells a file from others, and from itself after a change, unopened.

    Parameters
    ----------
    path : str or pathlib.Path

    Returns
    -------
    tuple of (str, int, int), or None
        Absolute path with symbolic links resolved, size in bytes, time of change in nanoseconds;
        None if there is no such file.
    """
    try:
        stat = Path(path).stat()
    except (OSError, ValueError):  # ValueError: a null character
        return None
    return os.path.realpath(path), stat.st_size, stat.st_mtime_ns


def write_checked(path: Path, data: bytes | memoryview, *, durable: bool = False) -> None:
    """Write a file with a checksum so that no reader ever sees a part of it.

    The data go to a temporary name in the same folder, which is then renamed. A rename is atomic
    within a file system: whatever crashes, and however many processes write at once, under `path`
    stands the old file or a new one, whole.

    Parameters
    ----------
    path : Path
        Final name; its folder is made if needed.
    data : bytes or memoryview
    durable : bool, default=False
        Whether to wait until the data are on the disk, so that the file also survives a loss of
        power.

    Raises
    ------
    OSError
        If the file cannot be written, as on a full disk. What stood under `path` stays.

    See Also
    --------
    read_checked : Read the file and check it.
    fits_checksum : Check a file of any size without reading it into memory.
    remove_stale : Remove what killed processes left behind.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{_TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(data)
            file.write(_checksum(data))
            if durable:
                file.flush()
                # Without it, a file system may carry out the rename before the write.
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        remedy = "Make space there or choose another folder"
        raise OSError(error.errno, f"{error.strerror}. {remedy}", str(path)) from error


def read_checked(path: Path) -> bytes:
    """Read a file that :func:`write_checked` wrote.

    Parameters
    ----------
    path : Path

    Returns
    -------
    bytes
        What was written, without the checksum.

    Raises
    ------
    DamagedFileError
        If the file is torn, was changed, or was written by something else.
    FileNotFoundError
        If there is no such file.
    """
    content = path.read_bytes()
    data, checksum = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    if checksum != _checksum(data):
        raise DamagedFileError(
            f"{path}: damaged, its {len(content)} bytes do not fit the checksum at their end. "
            "Delete the file to have it made again."
        )
    return data


def fits_checksum(file: BinaryIO) -> bool:
    """Tell whether an open file ends with the checksum of all that precedes it.

    Parameters
    ----------
    file : binary file
        As :func:`write_checked` wrote it, at any position. Read block by block, so that no file
        is too large for memory.

    Returns
    -------
    bool
    """
    remaining = file.seek(0, os.SEEK_END) - _DIGEST_BYTES
    file.seek(0)
    total = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    while remaining > 0:
        block = file.read(min(remaining, _BLOCK_BYTES))
        if not block:  # cut off meanwhile
            return False
        total.update(block)
        remaining -= len(block)
    return file.read() == total.digest()


def remove_stale(folder: Path) -> None:
    """Remove temporary files that killed processes left in a folder.

    Those younger than an hour stay: another process may be writing them.

    Parameters
    ----------
    folder : Path
        Where :func:`write_checked` wrote to; folders in it are left alone. It may be missing.
    """
    for file in folder.glob(f"*{_TEMPORARY}"):
        with suppress(FileNotFoundError):  # renamed, or removed by another process
            if time.time() - file.stat().st_mtime > _STALE_SECONDS:
                file.unlink()


def _checksum(data: bytes | memoryview) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()
