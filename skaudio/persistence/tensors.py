"""Tensors of the objects that are being saved or loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["TensorStore", "active_store", "use_store"]

# `__getstate__` and `__setstate__` take no argument by which they could be told that the state is
# for a file of ours and not for pickle, hence a variable. A context variable rather than a global
# one: another thread may be pickling a model at the same time.
_ACTIVE: ContextVar[TensorStore | None] = ContextVar("_ACTIVE", default=None)


class TensorStore:
    """Tensors by name, each belonging to one object (the owner).

    Parameters
    ----------
    tensors : dict of str to Tensor, optional
        As read from a file; left out, the store is empty and collects.

    See Also
    --------
    active_store : What ``__getstate__`` and ``__setstate__`` look up.
    """

    def __init__(self, tensors: dict[str, Any] | None = None) -> None:
        self.tensors: dict[str, Any] = {} if tensors is None else tensors
        # With the owners themselves, since the id of an object that is gone may be used again.
        self._numbers: dict[int, tuple[int, Any]] = {}

    def put(self, owner: Any, tensors: Mapping[str, Any]) -> int:
        """Add an owner's tensors.

        ``__getstate__`` is called more than once for one object; its tensors are added once.

        Parameters
        ----------
        owner : object
        tensors : mapping of str to Tensor
            Copied to the CPU. Copies are needed there as well, since the file format has no tied
            weights: it refuses tensors that share memory.

        Returns
        -------
        int
            What :meth:`take` has to be called with.
        """
        number, _ = self._numbers.setdefault(id(owner), (len(self._numbers), owner))
        for name, tensor in tensors.items():
            key = f"{number}.{name}"
            if key not in self.tensors:
                self.tensors[key] = tensor.detach().cpu().clone().contiguous()
        return number

    def take(self, number: int) -> dict[str, Any]:
        """Return the tensors of an owner, by the names they were put in with.

        Parameters
        ----------
        number : int
            As :meth:`put` returned it.

        Returns
        -------
        dict of str to Tensor
        """
        prefix = f"{number}."
        return {
            key.removeprefix(prefix): tensor
            for key, tensor in self.tensors.items()
            if key.startswith(prefix)
        }


def active_store() -> TensorStore | None:
    """Return the store of the save or load under way in this thread; None if there is none."""
    return _ACTIVE.get()


@contextmanager
def use_store(store: TensorStore) -> Iterator[None]:
    """Make a store the active one for a while."""
    token = _ACTIVE.set(store)
    try:
        yield
    finally:
        _ACTIVE.reset(token)
