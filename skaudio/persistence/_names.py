"""What can be stored by its import name, and what a person should use instead of the rest."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from textwrap import shorten
from typing import Any, NoReturn

__all__ = ["name_of", "refuse_unnamed", "resolves"]


def name_of(value: Any) -> str:
    """Return the import name of a class or function."""
    return f"{value.__module__}.{value.__qualname__}"


def resolves(name: str) -> bool:
    """Tell whether a name leads to something in this process, which has imported all it uses."""
    module, _, attribute = name.rpartition(".")
    return hasattr(sys.modules.get(module), attribute)


def refuse_unnamed(model: Any) -> None:
    """Refuse parameters that no file can name: torch modules, lambdas, closures.

    Parameters
    ----------
    model : estimator or transformer
        With all that its ``get_params`` leads to.

    Raises
    ------
    ValueError
        If there is such a parameter; the message says what to use instead.
    """
    _check(model, type(model).__name__)
    if hasattr(model, "get_params"):
        for name, value in sorted(model.get_params(deep=True).items()):
            _check(value, name)


def _check(value: Any, name: str) -> None:
    if isinstance(value, dict):
        _check_all(value.values(), name)
    elif isinstance(value, (list, tuple)):
        _check_all(value, name)
    elif inspect.isfunction(value) or inspect.isclass(value):
        module = sys.modules.get(value.__module__)
        if getattr(module, value.__qualname__, None) is not value:
            _refuse(value, name, "a function or class at the top level of a module (no lambda)")
    elif inspect.ismethod(value):
        _refuse(value, name, "a function at the top level of a module")
    # Who holds a torch module has imported torch.
    elif (torch := sys.modules.get("torch")) and isinstance(value, torch.nn.Module):
        if name.rpartition("__")[2] == "loss":
            _refuse(value, name, "the name of a loss, or a function loss(output, target)")
        _refuse(
            value, name, "a description that builds it: an object of a class derived from "
            "skaudio.networks.BaseNetwork, or a function network(n_bands, n_outputs, "
            "n_frames=None, n_channels=1)",
        )  # fmt: skip


def _check_all(values: Iterable[Any], name: str) -> None:
    for value in values:
        _check(value, name)


def _refuse(value: Any, name: str, wanted: str) -> NoReturn:
    raise ValueError(
        f"{name} is {shorten(repr(value), 120)}, which has no import name under which it could be "
        f"found again when the file is loaded. Use {wanted}; or joblib.dump, whose files run code "
        "when they are loaded."
    )
