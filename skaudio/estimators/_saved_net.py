"""The record of a net in a file of :func:`skaudio.save`, and the net that is made of it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from torch import Tensor

from skaudio.estimators._module import Architecture
from skaudio.estimators._targets import Target
from skaudio.networks.building import skip_initial_weights
from skaudio.persistence.tensors import TensorStore

__all__ = ["as_constructed", "plain_rows", "rebuild", "record"]

# What has weights; a loss may have some to learn, too.
_MODULES = ("module", "criterion")


def record(net: Any, store: TensorStore) -> dict[str, Any]:
    """Describe a net by what its constructor takes, its history, and tensors in a store.

    Parameters
    ----------
    net : AudioNet
        Initialised.
    store : TensorStore
        Takes the weights.

    Returns
    -------
    dict
        The arguments of :func:`rebuild`.

    Raises
    ------
    ValueError
        If the front end is too large for a saved model.
    """
    net.architecture.check_frontend()
    tensors = {
        f"{name}.{key}": tensor
        for name in _MODULES
        for key, tensor in getattr(net, f"{name}_").state_dict().items()
    }
    return {
        "architecture": net.architecture,
        "targets": net.targets,
        "settings": net.settings,
        "device": str(net.device),
        "seed": net.seed,
        "history": plain_rows(net.history),
        "tensors": store.put(net, tensors),
    }


def rebuild(
    net: Any,
    store: TensorStore,
    *,
    architecture: Architecture,
    targets: tuple[Target, ...],
    settings: Any,
    device: str,
    seed: int,
    history: list[dict[str, Any]],
    tensors: int,
) -> None:
    """Make a net that has no attributes yet the one that :func:`record` described.

    Parameters
    ----------
    net : AudioNet
        As ``__new__`` returned it.
    store : TensorStore
        Has the weights.
    device : str
        Present on this machine.
    architecture, targets, settings, seed, history, tensors
        As recorded. A file may hold anything, and not all of it would be noticed here.

    Raises
    ------
    ValueError
        If the parts are not of the right kind, or do not fit together.
    """
    for value, kind in (
        (architecture, Architecture), (targets, tuple), (seed, int), (history, list),
        *((target, Target) for target in targets), *((row, dict) for row in history),
    ):  # fmt: skip
        if not isinstance(value, kind):
            raise ValueError(f"found {value!r}, but expected an object of {kind.__name__}")
    needed = tuple(target.n_outputs for target in targets)
    if architecture.outputs != needed:
        raise ValueError(
            f"the network has {architecture.outputs} outputs, but the targets need {needed}"
        )
    found = store.take(tensors)
    architecture.check_weights(_part(found, "module"))
    net.__init__(architecture, targets, settings, device=device, seed=seed)
    # All that skorch's `initialize` does, except what prepare_training will do.
    net._initialize_virtual_params()
    with skip_initial_weights():
        net._initialize_module()
    net._initialize_criterion()
    net._initialize_history()
    net.initialized_ = True
    net.history.extend(history)
    for name in _MODULES:
        getattr(net, f"{name}_").load_state_dict(_part(found, name))


def as_constructed(callback: Any) -> Any:
    """Copy a callback, or a pair of name and callback, without what it learned in a training."""
    if isinstance(callback, tuple):
        name, callback = callback
        return name, as_constructed(callback)
    if isinstance(callback, type):
        return callback
    constructed = copy.copy(callback)
    for name in [name for name in vars(constructed) if name.endswith("_")]:
        delattr(constructed, name)
    return constructed


def plain_rows(history: Any) -> list[dict[str, Any]]:
    """Return the rows of a history as plain Python values, without those of single batches."""
    return [
        {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in row.items()
            if name != "batches"
        }
        for row in history
    ]


def _part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the weights of one module."""
    prefix = f"{name}."
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
