"""Save, load and describe."""

from __future__ import annotations

import errno
import io
import json
import os
import zipfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from textwrap import shorten
from typing import Any, BinaryIO

from skaudio._artifacts import fits_checksum
from skaudio.exceptions import DamagedFileError, FileVersionError, UntrustedFileError
from skaudio.persistence._archive import (
    CARD,
    STRUCTURE,
    WEIGHTS,
    check_arrays,
    check_members,
    read_json,
    write_archive,
)
from skaudio.persistence._card import FORMAT, make_card
from skaudio.persistence._names import name_of, refuse_unnamed, resolves
from skaudio.persistence._requests import owners_as_names, restore_owners
from skaudio.persistence._structure import check_tree, compact, expand, is_known, names_in
from skaudio.persistence.tensors import TensorStore, use_store

__all__ = ["describe", "load", "save"]

_SCHEMA = "schema.json"  # where skops keeps the structure


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Save a model to one file that holds data and names, and no code.

    Parameters
    ----------
    model : estimator
        A classifier, regressor or transformer of skaudio, or a Pipeline or search of scikit-learn
        with these inside. Fitted or not.
    path : str or pathlib.Path
        Conventionally with the ending ``.skaudio``. A file that is there is replaced once the new
        one is complete; its folder is made if needed.

    Raises
    ------
    ValueError
        If a part of the model has no import name (a lambda, a function inside a function, a torch
        module as network or loss), or is of a kind that the format does not have: a sparse matrix,
        a dictionary with tuples as keys, an object that refers to itself.
    OSError
        If the file cannot be written, or `path` is no file but a folder, pipe or device. What
        stood under `path` stays.

    See Also
    --------
    load : Load the model again.
    describe : Read what is known of the model, without loading it.
    joblib.dump : Saves any Python object; its files run code when they are loaded.

    Notes
    -----
    Networks are saved as their description and their weights. The state of the optimizer is not:
    further training begins with a fresh one, as after joblib. Networks, functions, losses,
    callbacks and transformers of your own are saved by import name, so that :func:`load` needs
    their code and your consent. Callbacks are saved with their parameters, without what they have
    gathered in a training.

    The file is a zip archive without compression: a card (JSON), the structure as skops [1]_
    describes it, its arrays, and the weights as safetensors [2]_. Clips are never in it, unless a
    step of scikit-learn keeps its training set, as nearest neighbours do.

    References
    ----------
    .. [1] https://skops.readthedocs.io/en/stable/persistence.html
    .. [2] https://huggingface.co/docs/safetensors

    Examples
    --------
    >>> import skaudio
    >>> from tempfile import TemporaryDirectory
    >>> features = skaudio.LogMelSpectrogram(sample_rate=8000, n_mels=40)
    >>> with TemporaryDirectory() as folder:
    ...     skaudio.save(features, f"{folder}/features.skaudio")
    ...     skaudio.load(f"{folder}/features.skaudio").n_mels
    40
    """
    path = _file_at(path)
    refuse_unnamed(model)
    tree, members, store = _take_apart(model)
    unnamed = sorted(name for name in names_in(tree) if not resolves(name))
    if unnamed:
        raise ValueError(
            f"{path}: {unnamed[0]} cannot be imported, so that it could not be found again when "
            "the file is loaded. Define it at the top level of a module."
        )
    members |= {
        CARD: json.dumps(make_card(model), allow_nan=False).encode(),
        STRUCTURE: json.dumps(tree, separators=(",", ":")).encode(),
    }
    if store.tensors:
        import safetensors.torch

        members[WEIGHTS] = safetensors.torch.save(store.tensors)
    # The card comes first, so that it is near the beginning of the file.
    write_archive(path, {name: members[name] for name in sorted(members, key=_rank)})


def load(path: str | os.PathLike[str], trusted: Collection[str | type] = ()) -> Any:
    """Load a model that :func:`save` wrote.

    Nothing in the file is run. Classes and functions of skaudio, and those of scikit-learn that
    are safe to be rebuilt from a file, are found by their names; all others have to be allowed.

    Parameters
    ----------
    path : str or pathlib.Path
    trusted : collection of str or type
        Further classes and functions that the file may name, as ``"package.module.Name"`` or as
        themselves. Their code runs when they are imported, and as the model uses it: allow what
        you know.

    Returns
    -------
    estimator
        Predicts with the same bits on the same machine, and can be trained further. If it was
        trained on a GPU and there is none, it is on the CPU.

    Raises
    ------
    UntrustedFileError
        If the file names something else; the message lists it.
    DamagedFileError
        If the file was cut off or changed, was not written by :func:`save`, or does not fit the
        code at hand.
    FileVersionError
        If the file has a format that this version of skaudio does not read.
    OSError
        If there is no such file, or no file but a folder, pipe or device.

    See Also
    --------
    save : Save a model.
    describe : Read what is known of the model, without loading it.

    Notes
    -----
    Trees of scikit-learn have to be allowed, with ``trusted=["sklearn.tree._tree.Tree"]``: they
    hold positions that scikit-learn follows without a check, so that a malicious file could crash
    the process.
    """
    names = _check_trusted(trusted)
    path = _file_at(path)
    with path.open("rb") as file, _clean_errors(path):
        if file.read(2) != b"PK":
            raise DamagedFileError(
                f"{path}: is no zip file, but expected one that skaudio.save wrote. Files of "
                "joblib and pickle are loaded by joblib.load, which runs code in them."
            )
        if not fits_checksum(file):
            raise DamagedFileError(
                f"{path}: damaged or not written by skaudio.save, its bytes do not fit the "
                "checksum at their end. Copy it again from where it came from, or save the model "
                "again."
            )
        return _rebuild(path, file, names)


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the card of a saved model, without loading the model, or torch.

    Parameters
    ----------
    path : str or pathlib.Path

    Returns
    -------
    dict
        ``format`` (number), ``model`` (class), ``versions``, ``labels``, ``sample_rate`` (Hz),
        ``features`` (settings of each transformer that has a sample rate), ``parameters`` (all,
        as text where JSON has no such value), ``training`` (number of epochs, scores of the last
        and the best one), ``n_clips`` (trained on). What is not known is None.

    Raises
    ------
    DamagedFileError
        If the file has no card that can be read. The rest of the file is not checked.
    FileVersionError
        If the file has a format that this version of skaudio does not read.
    OSError
        If there is no such file, or no file but a folder, pipe or device.

    See Also
    --------
    save : Save a model.
    load : Load a model.
    """
    path = _file_at(path)
    with path.open("rb") as file, _clean_errors(path), zipfile.ZipFile(file) as archive:
        return _read_card(path, archive)


def _file_at(path: str | os.PathLike[str]) -> Path:
    """Refuse what is no file: a pipe would be waited for, and a device be replaced by a file."""
    path = Path(path).expanduser()
    if path.exists() and not path.is_file():
        found = "is a folder, pipe or device, but expected a file. Choose another path"
        raise OSError(errno.EINVAL, found, str(path))
    return path


def _take_apart(model: Any) -> tuple[dict[str, Any], dict[str, bytes], TensorStore]:
    """Turn a model into a structure, arrays as files, and tensors."""
    import skops.io

    store = TensorStore()
    try:
        with use_store(store), owners_as_names(model):
            written = skops.io.dumps(model)
        with zipfile.ZipFile(io.BytesIO(written)) as archive:
            tree = json.loads(archive.read(_SCHEMA))
            arrays = [name for name in archive.namelist() if name != _SCHEMA]
            rename = {name: f"{i}{PurePath(name).suffix}" for i, name in enumerate(arrays)}
            members = {rename[name]: archive.read(name) for name in arrays}
        tree = compact(tree, rename)
        check_tree(expand(tree))
    except RecursionError:
        raise ValueError(
            f"{type(model).__name__} cannot be saved: a part of it refers to itself. Leave it "
            "out, or use joblib.dump, whose files run code when they are loaded."
        ) from None
    except Exception as error:  # objects refuse to be saved in many ways
        raise ValueError(
            f"{type(model).__name__} cannot be saved: {_in_short(error)}. Leave out the part that "
            "is of this kind, or use joblib.dump, whose files run code when they are loaded."
        ) from error
    return tree, members, store


def _rebuild(path: Path, file: BinaryIO, trusted: Collection[str]) -> Any:
    """Check everything in an open file, and rebuild the model."""
    import skops.io

    with zipfile.ZipFile(file) as archive:
        check_members(archive, file)
        _read_card(path, archive)
        tree = expand(read_json(archive, STRUCTURE))
        check_tree(tree)
        check_arrays(archive)
        data = _as_skops(archive, tree)
        store = TensorStore(_read_weights(archive))
    untrusted: Any = skops.io.get_untrusted_types(data=data)
    unknown = [name for name in untrusted if name not in trusted and not is_known(name)]
    if unknown:
        raise UntrustedFileError(
            f"{path}: names {', '.join(unknown)}, but expected classes and functions of skaudio "
            f"and scikit-learn. If you know these and who wrote the file, pass trusted={unknown}."
        )
    with use_store(store):
        model = skops.io.loads(data, trusted=untrusted)
    restore_owners(model)
    return model


def _as_skops(archive: zipfile.ZipFile, tree: dict[str, Any]) -> bytes:
    """Return structure and arrays as a file of skops."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        written.writestr(_SCHEMA, json.dumps(tree))
        for name in archive.namelist():
            if name not in {CARD, STRUCTURE, WEIGHTS}:
                written.writestr(name, archive.read(name))
    return buffer.getvalue()


def _read_card(path: Path, archive: zipfile.ZipFile) -> dict[str, Any]:
    card = read_json(archive, CARD)
    if card.get("format") != FORMAT:
        raise FileVersionError(
            f"{path}: has the format {card.get('format')!r}, but this version of skaudio reads "
            f"format {FORMAT}. Load it with the version that wrote it, "
            f"{shorten(str(card.get('versions')), 200)}."
        )
    return card


def _read_weights(archive: zipfile.ZipFile) -> dict[str, Any] | None:
    if WEIGHTS not in archive.namelist():
        return None
    import safetensors.torch

    return safetensors.torch.load(archive.read(WEIGHTS))


def _check_trusted(trusted: Collection[str | type]) -> set[str]:
    if isinstance(trusted, (str, bool)) or not isinstance(trusted, Iterable):
        raise TypeError(
            f"trusted is {trusted!r}, but expected a list of names or types. Pass "
            "trusted=['package.module.Name']."
        )
    return {name if isinstance(name, str) else name_of(name) for name in trusted}


@contextmanager
def _clean_errors(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with the content of a file into one kind of error."""
    try:
        yield
    except (DamagedFileError, FileVersionError, UntrustedFileError):
        raise
    except Exception as error:  # what does not fit fails in many ways
        raise DamagedFileError(
            f"{path}: cannot be read as a model that skaudio.save wrote ({_in_short(error)}). "
            "Copy it again from where it came from; if it is whole, load it with the versions of "
            "the packages, and of your own code, that it was saved with."
        ) from error


def _in_short(error: Exception) -> str:
    return shorten(f"{type(error).__name__}: {error}", 300)


def _rank(name: str) -> tuple[bool, int, str]:
    return name != CARD, len(name), name
