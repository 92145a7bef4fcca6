"""The folder of a training run: a new one, or that of the same run if it was interrupted."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from skaudio.cli.reporting import LOG
from skaudio.cli.results import write_json

__all__ = ["CHECKPOINTS", "CONFIGURATION", "FINISHED", "configuration", "open_run"]

CONFIGURATION = "configuration.json"
FINISHED = "test_metrics.json"
"""Written last: a run is finished once it is there."""

CHECKPOINTS = "checkpoints"

_LOG, _LOCK = "log.txt", "lock"


def configuration(command: str, options: Mapping[str, Any], files: Mapping[str, Path]) -> dict:
    """Describe a run by all that its result depends on.

    Parameters
    ----------
    command : str
    options : mapping
        Paths are made absolute.
    files : mapping of str to Path
        Files that count by their content.

    Returns
    -------
    dict
        Of values that JSON has.
    """
    contents = {}
    for name, path in files.items():
        with path.open("rb") as file:
            contents[name] = hashlib.file_digest(file, "sha256").hexdigest()
    plain = {
        name: str(value.absolute()) if isinstance(value, Path) else value
        for name, value in options.items()
    }
    return {"command": command, "options": json.loads(json.dumps(plain)), "sha256": contents}


@contextmanager
def open_run(parent: Path, described: dict) -> Iterator[Path]:
    """Open the folder of a run, and keep others from continuing it meanwhile.

    An unfinished run with the same configuration, which no process is at work on, is continued.
    Otherwise the run gets a new folder, with the next number for a name. While it is open, all
    messages go to its log as well.

    Parameters
    ----------
    parent : Path
        Folder of the runs; made if needed.
    described : dict
        As :func:`configuration` returns it.

    Yields
    ------
    Path
    """
    parent.mkdir(parents=True, exist_ok=True)
    folder, lock = _find_unfinished(parent, described) or _make_new(parent, described)
    log = logging.FileHandler(folder / _LOG, encoding="utf-8")
    log.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger("skaudio")
    logger.addHandler(log)
    try:
        LOG.info("Run: %s", folder)
        yield folder
    except BaseException:
        with (folder / _LOG).open("a", encoding="utf-8") as file:
            traceback.print_exc(file=file)
        if (folder / CHECKPOINTS).exists():
            LOG.info("The same command goes on with this run.")
        raise
    finally:
        logger.removeHandler(log)
        log.close()
        lock.close()


def _find_unfinished(parent: Path, described: dict) -> tuple[Path, IO] | None:
    """Lock the newest unfinished run of this configuration."""
    for file in sorted(parent.glob(f"*/{CONFIGURATION}"), reverse=True):
        folder = file.parent
        if not _is_unfinished(folder) or not _is_same(file, described):
            continue
        lock = _try_lock(folder)
        if lock is None:
            continue
        if _is_unfinished(folder):  # still, as the process before may just have finished it
            LOG.info("Goes on with the unfinished run of this command.")
            return folder, lock
        lock.close()
    return None


def _make_new(parent: Path, described: dict) -> tuple[Path, IO]:
    """Make the folder with the next free number."""
    numbers = (int(path.name) for path in parent.iterdir() if path.name.isdecimal())
    number = 1 + max(numbers, default=0)
    while True:
        folder = parent / f"{number:03d}"
        with suppress(FileExistsError):  # another process was faster
            folder.mkdir()
            break
        number += 1
    lock = _try_lock(folder)
    assert lock is not None, "nobody else knows of this folder yet"
    # Last, since without it no other process takes the run for one to be continued.
    write_json(folder / CONFIGURATION, described)
    return folder, lock


def _is_unfinished(folder: Path) -> bool:
    return not (folder / FINISHED).exists()


def _is_same(file: Path, described: dict) -> bool:
    try:
        return json.loads(file.read_text(encoding="utf-8")) == described
    except (OSError, ValueError):
        return False


def _try_lock(folder: Path) -> IO | None:
    """Lock a run until the file is closed or the process ends, however; None if it is locked."""
    file = (folder / _LOCK).open("w")
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
