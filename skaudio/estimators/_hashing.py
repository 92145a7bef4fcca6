"""A hash that is the same in every process, of torch's modules too."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import torch
from joblib.hashing import NumpyHasher
from torch import Tensor, nn

__all__ = ["hash_by_value"]

# What torch keeps in every module beside its weights and its submodules.
_BOOKKEEPING = vars(nn.Module()).keys() - {"_parameters", "_buffers", "_modules"}


def hash_by_value(value: Any) -> str:
    """Hash as :func:`joblib.hash` does, but tensors and modules by what they hold.

    Modules count by class and by all their attributes, those that ``state_dict`` and ``repr``
    leave out too; arrays by type and values, wherever they lie in memory. What goes by its name,
    such as a function, does not count by its code.

    Raises
    ------
    Exception
        Of many kinds, if the value cannot be pickled.
    """
    return _Hasher(coerce_mmap=True).hash(value)


class _Hasher(NumpyHasher):
    def save(self, obj: Any) -> None:
        if isinstance(obj, np.ndarray):
            obj = np.asarray(obj, order="C")  # strides would count
        super().save(obj)

    def reducer_override(self, obj: Any) -> Any:
        """Say what to hash in place of an object; called once for each."""
        if isinstance(obj, Tensor):
            kind = f"{obj.dtype}, {tuple(obj.shape)}, {obj.requires_grad}"
            # As bytes, since numpy lacks some of torch's types.
            return str, (kind,), obj.detach().cpu().flatten().view(torch.uint8).numpy()
        if isinstance(obj, nn.Module):
            held = {name: part for name, part in vars(obj).items() if name not in _BOOKKEEPING}
            return str, (f"{type(obj).__module__}.{type(obj).__qualname__}",), held
        if isinstance(obj, weakref.ref):  # recurrent layers refer to their own weights
            return str, ("weakref",)
        return NotImplemented
