"""The description of a network, and the contract of the module that it builds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol, runtime_checkable

from sklearn.base import BaseEstimator
from torch import Tensor, nn

from skaudio._validation import check_params

__all__ = ["BaseNetwork", "NetworkModule"]


@runtime_checkable
class NetworkModule(Protocol):
    """What estimators, and networks that contain others, use of a built module.

    Nothing has to be inherited from here: any :class:`torch.nn.Module` with these members will
    do. Only a `forward` is required of a module that users bring; what is missing of the rest is
    done without, as said below. All networks of skaudio offer everything.

    Attributes
    ----------
    head : torch.nn.Linear
        The last layer. Before training, its bias is set to the logarithm of the classes'
        frequencies, or to zero in regression. Without it, or if it is no ``Linear``, training
        starts from the module's own initial values, as it does for a module that is passed
        ready-made.
    n_frames : int or None
        The only number of frames that the module takes; None, or no such attribute, stands for
        any number. Clips of another length are refused, with a message that names the clip.

    See Also
    --------
    BaseNetwork : Builds such a module from hyperparameters.
    skaudio.networks.building.build_network : Builds one from whatever counts as a network.
    skaudio.networks.building.takes_lengths : Tells whether `forward` has the argument `lengths`.

    Notes
    -----
    Layers may offer more. After each training step ``update_kernels()`` and ``scale_norm()`` are
    called on every submodule that has them (:class:`~skaudio.callbacks.KernelAveraging`,
    :class:`~skaudio.callbacks.NormScaling`).
    """

    head: nn.Module
    n_frames: int | None

    def forward(
        self, x: Tensor, lengths: Tensor | None = None
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Compute logits, and in training whatever else the module wants to be known.

        Parameters
        ----------
        x : Tensor of shape (batch, n_channels, n_bands, n_frames)
            Features, padded at the end to the longest clip of the batch.
        lengths : Tensor of shape (batch,), optional
            Frames of each clip, integers; None where nothing is padding. The logits of a clip
            must not depend on its padding. A `forward` without an argument of this name is
            called with `x` alone, and takes padding for sound.

        Returns
        -------
        logits : Tensor of shape (batch, n_outputs)
            One column for each class or target.
        named : dict of str to Tensor, optional
            Scalars. Those with names that end in ``_loss`` are added to the training loss, with
            a weight of 1. All are averaged over each epoch and recorded in the history.
        """
        ...


class BaseNetwork(BaseEstimator, ABC):
    """Description of a torch module, with scikit-learn's parameter handling.

    Subclasses store hyperparameters in their constructor, declare them in
    ``_parameter_constraints`` and implement :meth:`_build`.

    See Also
    --------
    NetworkModule : What :meth:`build` has to return.
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
            Logits per clip: number of classes, or of regression targets.
        n_frames : int, optional
            Frames of every clip; None where lengths vary.
        n_channels : int, default=1
            Channels of the features.

        Returns
        -------
        torch.nn.Module
            A :class:`NetworkModule`.

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
    ) -> nn.Module:
        """Build the module, from hyperparameters of the declared types and ranges."""
