"""The zip file around a saved model, and what is checked of it before it is read."""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from skaudio._artifacts import CHECKSUM_BYTES, write_checked

__all__ = [
    "CARD",
    "STRUCTURE",
    "WEIGHTS",
    "check_arrays",
    "check_members",
    "read_json",
    "write_archive",
]

CARD = "card.json"
STRUCTURE = "structure.json"
WEIGHTS = "weights.safetensors"
_ARRAY = re.compile(r"\d+\.(npy|bin)")

# A structure is some ten kB, that of a search over 1000 settings a few MB. As Python objects JSON
# needs up to thirty times its size.
_MOST_JSON_BYTES = 2**23


def write_archive(path: Path, members: dict[str, bytes]) -> None:
    """Write a zip file, whole or not at all, with a checksum as its comment.

    Raises
    ------
    OSError
        If the file cannot be written. What stood under `path` stays.
    ValueError
        If the card or the structure is too large.
    """
    for name in (CARD, STRUCTURE):
        _check_json_size(name, len(members[name]))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        # A zip file ends with its comment. Room for one of the checksum's length is announced and
        # left out, so that what write_checked appends is the comment.
        archive.comment = bytes(CHECKSUM_BYTES)
        for name, data in members.items():
            # ZipInfo has a constant date: the same model gives the same file.
            archive.writestr(zipfile.ZipInfo(name), data)
    write_checked(path, buffer.getbuffer()[:-CHECKSUM_BYTES], durable=True)


def check_members(archive: zipfile.ZipFile, file: BinaryIO) -> None:
    """Check all that a zip file declares before any of it is read.

    Stored members are as large as they say, so that none can unpack to more than the file has;
    their sum shows whether several share the same bytes.

    Raises
    ------
    ValueError
        If there are other members than :func:`write_archive` writes, or larger ones.
    """
    names = archive.namelist()
    unexpected = [
        n for n in names if n not in {CARD, STRUCTURE, WEIGHTS} and not _ARRAY.fullmatch(n)
    ]
    if unexpected:
        raise ValueError(f"it has a member {unexpected[0]!r} that skaudio.save does not write")
    if len(set(names)) < len(names) or not {CARD, STRUCTURE} <= set(names):
        raise ValueError(f"it has the members {names[:5]}, but expected {CARD}, {STRUCTURE}, ...")
    for member in archive.infolist():
        check_member(member)
    n_bytes = file.seek(0, io.SEEK_END)
    if sum(member.file_size for member in archive.infolist()) > n_bytes:
        raise ValueError("its members claim more bytes than it has")


def check_member(member: zipfile.ZipInfo) -> None:
    """Refuse a member that is compressed or encrypted, or too large to be read as JSON."""
    is_plain = member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1
    if not is_plain or member.compress_size != member.file_size:
        raise ValueError(f"its member {member.filename} is compressed or encrypted")
    if member.filename in {CARD, STRUCTURE}:
        _check_json_size(member.filename, member.file_size)


def read_json(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    """Read a member that holds an object of JSON."""
    check_member(archive.getinfo(name))
    value = json.loads(archive.read(name))
    if not isinstance(value, dict):
        raise ValueError(f"{name} holds a {type(value).__name__}, but expected an object")
    return value


def check_arrays(archive: zipfile.ZipFile) -> None:
    """Check that arrays have as many bytes as their headers promise.

    numpy asks for the memory first, and reads then.
    """
    for name in archive.namelist():
        if name.endswith(".npy"):
            with archive.open(name) as stream:
                _check_array(name, stream, archive.getinfo(name).file_size)


def _check_array(name: str, stream: Any, n_bytes: int) -> None:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"{name} has a header of version {version}")
    wanted = math.prod(shape) * dtype.itemsize
    found = n_bytes - stream.tell()
    if dtype.hasobject or min(shape, default=0) < 0 or wanted != found:
        raise ValueError(f"{name} has {found} bytes, which is no array of shape {shape}, {dtype}")


def _check_json_size(name: str, n_bytes: int) -> None:
    if n_bytes > _MOST_JSON_BYTES:
        raise ValueError(f"{name} has {n_bytes} bytes, but expected at most {_MOST_JSON_BYTES}")
