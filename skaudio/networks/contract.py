"""The contract of the module that a network builds."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

__all__ = ["CorpusModule", "NetworkModule", "takes_corpus", "takes_lengths"]


@runtime_checkable
class NetworkModule(Protocol):
    """What estimators, and networks that contain others, use of a built module.

    Nothing has to be inherited from here: any :class:`torch.nn.Module` with these members will
    do. Only a `forward` is required of a module that users bring; what is missing of the rest is
    done without, as said below. All networks of skaudio offer everything.

    Attributes
    ----------
    head : torch.nn.Module
        The last layer, or the last few, of which the last :class:`torch.nn.Linear` gives the
        logits. Before training, its bias is set to the logarithm of the classes' frequencies, or
        to zero in regression. Without a head, or without a ``Linear`` in it, training starts from
        the module's own initial values, as it does for a module that is passed ready-made.
    n_frames : int or None
        The only number of frames that the module takes; None, or no such attribute, stands for
        any number. Clips of another length are refused, with a message that names the clip.

    See Also
    --------
    BaseNetwork : Builds such a module from hyperparameters.
    CorpusModule : What a module offers besides that can be divided among corpora.
    skaudio.networks.building.build_network : Builds one from whatever counts as a network.
    skaudio.networks.contract.takes_lengths : Tells whether `forward` has the argument `lengths`.

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


@runtime_checkable
class CorpusModule(Protocol):
    """What a built module offers that is partly shared by corpora, besides :class:`NetworkModule`.

    Each parameter and buffer is in `trunk` or in one of the `sets`, so that the names in the
    state dict are ``trunk.*`` and ``sets.<i>.*``. Those of a corpus stay the same when another
    one is added.

    Attributes
    ----------
    trunk : torch.nn.Module
        What all corpora share.
    sets : torch.nn.ModuleList
        For each corpus what is its own: adapters, norms, pooling unless it is shared, and
        ``sets[i].head``. A shared pooling is ``trunk.pooling``, one of a corpus is
        ``sets[i].pooling``, with the same names inside.
    head : torch.nn.Module
        That of the first corpus.

    See Also
    --------
    NetworkModule : What every built module offers.
    AdapterResNet : Builds such a module.
    """

    trunk: nn.Module
    sets: nn.ModuleList
    head: nn.Module

    def forward(
        self, x: Tensor, lengths: Tensor | None = None, corpus: int = 0
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Compute logits of clips of one corpus, as :meth:`NetworkModule.forward` does.

        Parameters
        ----------
        x : Tensor of shape (batch, n_channels, n_bands, n_frames)
            Features, padded at the end to the longest clip of the batch.
        lengths : Tensor of shape (batch,), optional
            Frames of each clip, integers; None where nothing is padding.
        corpus : int, default=0
            Number of the set to use, the same for the whole batch. Nothing of it is kept: calls
            for several corpora may run at the same time.

        Returns
        -------
        logits : Tensor of shape (batch, n_outputs)
            As many columns as that corpus has classes or targets.
        named : dict of str to Tensor, optional
            While training, if weights are penalised: ``l2_loss``, over the parameters that take
            part in this batch and require a gradient.

        Raises
        ------
        IndexError
            If there is no set of that number.
        """
        ...

    def set_clip_counts(self, n_clips: Sequence[int]) -> None:
        """Tell how many clips each corpus has for training; a penalty may depend on it.

        Parameters
        ----------
        n_clips : sequence of int
            One number for each set, >= 1. Not part of the state dict.

        Raises
        ------
        ValueError
            If there are not as many numbers as sets.
        """
        ...


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


def takes_corpus(module: nn.Module) -> bool:
    """Tell whether a module wants to know the number of the corpus that a batch is of.

    It does if its `forward` has an argument named ``corpus``, see :class:`CorpusModule`.

    Parameters
    ----------
    module : torch.nn.Module

    Returns
    -------
    bool
    """
    return "corpus" in inspect.signature(module.forward).parameters
