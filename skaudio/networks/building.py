"""From whatever counts as a network to a torch module."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from skaudio.networks.base import BaseNetwork
from skaudio.networks.mts import MTSNet

__all__ = ["build_network", "default_network", "fill_in_default", "takes_lengths"]


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
        As for :meth:`BaseNetwork.build`.

    Returns
    -------
    torch.nn.Module
        With a `forward` as :class:`NetworkModule` describes it.

    Raises
    ------
    TypeError
        If what is built is not a module.

    See Also
    --------
    takes_lengths : Tells how to call the module.
    """
    if network is None:
        network = default_network()
    if isinstance(network, nn.Module):
        return copy.deepcopy(network)
    build = getattr(network, "build", network)
    module = build(n_bands, n_outputs, n_frames=n_frames, n_channels=n_channels)
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"build_network: {network!r} built {module!r}, but expected a torch.nn.Module. "
            "Return the module itself."
        )
    return module


def takes_lengths(module: nn.Module) -> bool:
    """Tell whether a module wants to know how many frames of each clip are not padding.

    It does if its `forward` has an argument named ``lengths``, see :class:`NetworkModule`.

    Parameters
    ----------
    module : torch.nn.Module

    Returns
    -------
    bool
    """
    return "lengths" in inspect.signature(module.forward).parameters
