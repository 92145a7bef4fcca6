"""Metadata requests of scikit-learn, which refer to the object that they belong to."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

__all__ = ["owners_as_names", "restore_owners"]

_REQUESTS = "_metadata_request"  # the attribute that `set_fit_request` and its like set


@contextmanager
def owners_as_names(model: Any) -> Iterator[None]:
    """Replace the owners of all metadata requests in a model by their names for a while.

    A request refers back to the estimator or scorer that has it, and a tree has no circles.

    Parameters
    ----------
    model : estimator or transformer
    """
    before = [(part, part.owner) for holder in _holders_in(model) for part in _requests_of(holder)]
    try:
        for part, owner in before:
            part.owner = owner if isinstance(owner, str) else type(owner).__name__
        yield
    finally:
        for part, owner in before:
            part.owner = owner


def restore_owners(model: Any) -> None:
    """Let the metadata requests of a loaded model refer to their owners again.

    Parameters
    ----------
    model : estimator or transformer
    """
    for holder in _holders_in(model):
        for part in _requests_of(holder):
            part.owner = holder


def _requests_of(holder: Any) -> list[Any]:
    """Return the requests of an object as a whole, and those of each of its methods."""
    requests = vars(holder)[_REQUESTS]
    return [part for part in (requests, *vars(requests).values()) if hasattr(part, "owner")]


def _holders_in(model: Any) -> Iterator[Any]:
    """Find the objects with metadata requests among all that a model holds."""
    seen: dict[int, Any] = {}  # with the parts, since the id of one that is gone may be used again
    waiting = [model]
    while waiting:
        part = waiting.pop()
        if id(part) in seen or isinstance(part, type) or inspect.isroutine(part):
            continue
        seen[id(part)] = part
        if isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, (list, tuple)):
            waiting.extend(part)
        # Looking for the attributes of a partial makes them, and changes how it is pickled.
        elif not isinstance(part, partial) and hasattr(part, "__dict__"):
            waiting.extend(vars(part).values())
            if _REQUESTS in vars(part):
                yield part
