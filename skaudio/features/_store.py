"""Arrays on disk that several processes share, one file each."""

from __future__ import annotations

import io
import re
import secrets
import shutil
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

try:
    import fcntl
except ImportError:  # Windows: two processes may then compute the same clip, nothing worse
    fcntl = None  # type: ignore[assignment]

__all__ = ["DamagedEntryError", "Entry", "Store"]

# An entry is a whole .npy file, so that numpy.load reads it, and behind it: whether the array
# came in a list, and the CRC-32 of everything before.
_TAIL = struct.Struct("<?I")
_FOLDER = re.compile("features-[0-9a-f]{32}")
_STALE_SECONDS = 3600


class DamagedEntryError(Exception):
    """An entry is not what was written."""


@dataclass(frozen=True)
class Entry:
    """Features of one clip, and whether they came in a list or in an array."""

    array: NDArray[Any]
    in_list: bool


@dataclass(frozen=True)
class Store:
    """Folder of the entries of one setting.

    ``ab/cdef...`` are entries, in two levels because file systems slow down with 100 000 files
    in one folder. ``incoming/`` holds what is being written, ``locks/`` who is computing.

    Parameters
    ----------
    location : Path
        Where the folders of all settings lie.
    setting : str
        32 hexadecimal digits.
    """

    location: Path
    setting: str

    @property
    def folder(self) -> Path:
        """Folder of this setting."""
        return self.location / f"features-{self.setting}"

    def path(self, key: str) -> Path:
        """File of an entry, named by hexadecimal digits."""
        return self.folder / key[:2] / f"{key[2:]}.npy"

    def read(self, key: str) -> Entry | None:
        """Read an entry; None if there is none.

        Raises
        ------
        DamagedEntryError
            If the file is torn or was changed.
        """
        try:
            data = self.path(key).read_bytes()
        except FileNotFoundError:
            return None
        body, tail = data[: -_TAIL.size], data[-_TAIL.size :]
        if len(tail) < _TAIL.size:
            raise DamagedEntryError
        in_list, checksum = _TAIL.unpack(tail)
        if zlib.crc32(tail[:1], zlib.crc32(body)) != checksum:
            raise DamagedEntryError
        return Entry(np.load(io.BytesIO(body), allow_pickle=False), in_list)

    def write(self, key: str, entry: Entry) -> None:
        """Write an entry so that no reader ever sees a part of it."""
        buffer = io.BytesIO()
        np.save(buffer, entry.array, allow_pickle=False)
        body = buffer.getvalue()
        checksum = zlib.crc32(b"\1" if entry.in_list else b"\0", zlib.crc32(body))
        incoming = self.folder / "incoming" / f"{key}.{secrets.token_hex(4)}"
        data = body + _TAIL.pack(entry.in_list, checksum)
        try:
            _move_in(incoming, data, self.path(key))
        except FileNotFoundError:  # the first of its folder, or another process cleared all
            incoming.parent.mkdir(parents=True, exist_ok=True)
            self.path(key).parent.mkdir(exist_ok=True)
            _move_in(incoming, data, self.path(key))

    @staticmethod
    def lock_name(key: str) -> str:
        """Name the lock of an entry, one of 4096."""
        return key[:3]

    @contextmanager
    def lock(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Keep other processes and threads from computing the entries with this lock.

        The operating system drops the lock when the process dies, however it dies.

        Parameters
        ----------
        name : str
            As :meth:`lock_name` gives it.
        wait : bool
            Whether to wait for whoever holds it. Hold no other lock then.

        Yields
        ------
        bool
            Whether the lock was got; always so with `wait`.
        """
        if fcntl is None:
            yield True
            return
        file = self.folder / "locks" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as handle:
            held = _try_lock(handle, wait)
            try:
                yield held
            finally:
                # Closing is not enough if the process was forked meanwhile.
                with suppress(OSError):
                    fcntl.flock(handle, fcntl.LOCK_UN)

    def sweep(self) -> None:
        """Remove what processes that were killed left half written."""
        for file in (self.folder / "incoming").glob("*"):
            with suppress(FileNotFoundError):  # moved into place, or swept by another process
                if time.time() - file.stat().st_mtime > _STALE_SECONDS:
                    file.unlink()

    @staticmethod
    def clear(location: Path) -> None:
        """Remove the entries of all settings, and nothing else that lies there."""
        for folder in location.glob("features-*"):
            if _FOLDER.fullmatch(folder.name):
                shutil.rmtree(folder, ignore_errors=True)


def _move_in(incoming: Path, data: bytes, target: Path) -> None:
    try:
        incoming.write_bytes(data)
        incoming.replace(target)
    except BaseException:
        incoming.unlink(missing_ok=True)
        raise


def _try_lock(handle: IO[bytes], wait: bool) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks: the clip may be computed twice
    return True
