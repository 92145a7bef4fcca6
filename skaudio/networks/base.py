"""What all networks share: hyperparameters in, a fresh torch module out."""

from __future__ import annotations

import copy
import inspect
from abc import ABC, abstractmethod
from typing import Any

from sklearn.base import BaseEstimator
from torch import nn

from skaudio._validation import check_params

__all__ = ["BaseNetwork", "build_network", "takes_lengths"]


class BaseNetwork(BaseEstimator, ABC):
    """Description of a torch module, with scikit-learn's parameter handling.

    Subclasses store hyperparameters in their constructor, declare them in
    ``_parameter_constraints`` and implement :meth:`_build`.
    """

    _parameter_constraints: dict = {}

    def build(
        self, n_bands: int, n_outputs: int, n_frames: int | None = None, n_channels: int = 1
    ) -> nn.Module:
        """Build a fresh module with randomly initialised weights.

        Parameters
        ----------
        n_bands : int
            Bands of the features.
        n_outputs : int
            Numbers to give per clip: classes, or regression targets.
        n_frames : int, optional
            Frames of every clip; None where lengths vary.
        n_channels : int, default=1
            Channels of the features.

        Returns
        -------
        torch.nn.Module
            ``forward(x, lengths=None)`` takes features of shape
            ``(batch, n_channels, n_bands, n_frames)`` and, for a padded batch, the frames of
            each clip. It returns logits of shape ``(batch, n_outputs)``, or those and a dict of
            named scalars, of which those named ``*_loss`` join the training loss and all are
            recorded in the history.

        Raises
        ------
        ValueError
            If a hyperparameter is out of range, or the network needs clips of one length and
            `n_frames` is None.
        """
        check_params(self)
        return self._build(n_bands, n_outputs, n_frames, n_channels)

    @abstractmethod
    def _build(
        self, n_bands: int, n_outputs: int, n_frames: int | None, n_channels: int
    ) -> nn.Module: ...


def build_network(
    network: Any, n_bands: int, n_outputs: int, n_frames: int | None, n_channels: int = 1
) -> nn.Module:
    """Build whatever counts as a network.

    Parameters
    ----------
    network : BaseNetwork, torch.nn.Module or callable
        A module is copied; a callable is called as :meth:`BaseNetwork.build` is.
    n_bands, n_outputs, n_frames, n_channels
        As for :meth:`BaseNetwork.build`.

    Raises
    ------
    TypeError
        If what is built is no module.
    """
    if isinstance(network, nn.Module):
        return copy.deepcopy(network)
    build = getattr(network, "build", network)
    module = build(n_bands, n_outputs, n_frames=n_frames, n_channels=n_channels)
    if not isinstance(module, nn.Module):
        raise TypeError(f"network built {module!r}, but expected a torch.nn.Module.")
    return module


def takes_lengths(module: nn.Module) -> bool:
    """Tell whether a module wants to know the frames of each clip in a padded batch."""
    return "lengths" in inspect.signature(module.forward).parameters
