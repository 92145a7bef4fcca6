"""The description of a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from sklearn.base import BaseEstimator
from torch import nn

from skaudio._validation import check_params
from skaudio.networks.shared_trunk import SharedTrunk

__all__ = ["BaseNetwork"]


class BaseNetwork(BaseEstimator, ABC):
    """Description of a torch module, with scikit-learn's parameter handling.

    Subclasses store hyperparameters in their constructor, declare them in
    ``_parameter_constraints`` and implement :meth:`_build`.

    Attributes
    ----------
    has_adapters : bool
        Class attribute: whether a corpus can have adapters in this network.

    See Also
    --------
    NetworkModule : What :meth:`build` has to return.
    CorpusModule : What networks build whose `n_outputs` may be a tuple.
    """

    has_adapters: ClassVar[bool] = False

    _parameter_constraints: dict = {}

    def build(
        self,
        n_bands: int,
        n_outputs: int | Sequence[int],
        n_frames: int | None = None,
        n_channels: int = 1,
    ) -> nn.Module:
        """Build a fresh module with randomly initialised weights.

        Parameters
        ----------
        n_bands : int
            Bands of the features.
        n_outputs : int, or tuple of int
            Logits per clip: number of classes, or of regression targets. With a tuple, one number
            for each corpus, each corpus has a set of layers of its own: adapters, norms, pooling
            and head in networks with adapters, the head alone in others.
        n_frames : int, optional
            Frames of every clip; None where lengths vary.
        n_channels : int, default=1
            Channels of the features.

        Returns
        -------
        torch.nn.Module
            A :class:`NetworkModule`; with a tuple as `n_outputs` a :class:`CorpusModule`.

        Raises
        ------
        ValueError
            If a hyperparameter is out of range, or the network needs clips of one length and
            `n_frames` is None.
        """
        check_params(self)
        if isinstance(n_outputs, Sequence):
            return self._build_for_corpora(n_bands, tuple(n_outputs), n_frames, n_channels)
        return self._build(n_bands, n_outputs, n_frames, n_channels)

    @abstractmethod
    def _build(
        self, n_bands: int, n_outputs: Any, n_frames: int | None, n_channels: int
    ) -> nn.Module:
        """Build the module, from hyperparameters of the declared types and ranges."""

    def _build_for_corpora(
        self, n_bands: int, n_outputs: tuple[int, ...], n_frames: int | None, n_channels: int
    ) -> nn.Module:
        """Build a module for several corpora; here they share all but the head."""
        return SharedTrunk([self._build(n_bands, n, n_frames, n_channels) for n in n_outputs])
