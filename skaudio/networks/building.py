"""From whatever counts as a network to a torch module."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import nn

from skaudio.networks.base import BaseNetwork
from skaudio.networks.mts import MTSNet
from skaudio.networks.shared_trunk import SharedTrunk

__all__ = [
    "build_network",
    "default_network",
    "fill_in_default",
    "skip_initial_weights",
    "wants_initial_weights",
]

_wants_initial_weights: ContextVar[bool] = ContextVar("wants_initial_weights", default=True)


def default_network() -> BaseNetwork:
    """Return the network that None stands for.

    Returns
    -------
    BaseNetwork
        A new ``MTSNet()``.
    """
    return MTSNet()


def fill_in_default(owner: Any, parameter: str, names: Iterable[str]) -> None:
    """Replace None by the default network where nested parameters are about to be set.

    To be called first in a `set_params`, so that ``network__n_filters`` can be set, and searched
    over, while `network` is None.

    Parameters
    ----------
    owner : estimator or network
        Changed in place.
    parameter : str
        Its parameter that holds a network, such as ``"network"``.
    names : iterable of str
        Names of the parameters that will be set.
    """
    if getattr(owner, parameter) is None and any(n.startswith(f"{parameter}__") for n in names):
        setattr(owner, parameter, default_network())


def build_network(
    network: Any,
    n_bands: int,
    n_outputs: int | Sequence[int],
    n_frames: int | None,
    n_channels: int = 1,
) -> nn.Module:
    """Build a module from whatever counts as a network.

    Parameters
    ----------
    network : BaseNetwork, torch.nn.Module, callable or None
        A module is copied; a callable is called as :meth:`BaseNetwork.build` is; None stands for
        :func:`default_network`.
    n_bands, n_outputs, n_frames, n_channels
        As for :meth:`BaseNetwork.build`. For several corpora, a callable is called once for each.

    Returns
    -------
    torch.nn.Module
        With a `forward` as :class:`NetworkModule` describes it.

    Raises
    ------
    TypeError
        If what is built is not a module, or a ready-made one is to serve several corpora.

    See Also
    --------
    skaudio.networks.contract.takes_lengths : Tells how to call the module.
    """
    if network is None:
        network = default_network()
    if isinstance(network, nn.Module):
        if isinstance(n_outputs, Sequence):
            raise TypeError(
                f"network is a {type(network).__name__}, whose only head cannot serve several "
                "corpora. Pass a function that builds it with n_outputs."
            )
        return copy.deepcopy(network)
    if isinstance(n_outputs, Sequence) and not hasattr(network, "build"):
        return SharedTrunk(
            [build_network(network, n_bands, n, n_frames, n_channels) for n in n_outputs]
        )
    build = getattr(network, "build", network)
    module = build(n_bands, n_outputs, n_frames=n_frames, n_channels=n_channels)
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"build_network: {network!r} built {module!r}, but expected a torch.nn.Module. "
            "Return the module itself."
        )
    return module


@contextmanager
def skip_initial_weights() -> Iterator[None]:
    """Build networks inside this context without reading the files of their initial weights.

    For modules whose weights are replaced at once by those of a saved model: that model is used
    where such a file need not be. Only the current thread is affected.

    See Also
    --------
    wants_initial_weights : What a network asks that has such a file.
    """
    token = _wants_initial_weights.set(False)
    try:
        yield
    finally:
        _wants_initial_weights.reset(token)


def wants_initial_weights() -> bool:
    """Tell a network that is being built whether to read a file of initial weights.

    Returns
    -------
    bool
        False inside :func:`skip_initial_weights`.
    """
    return _wants_initial_weights.get()
