"""Everything between a batch of clips and logits: one torch module, and how to build it again."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from torch import Tensor, nn
from torch.nn import functional

import skaudio.features as features
import skaudio.layers as layers
from skaudio._artifacts import hash_value
from skaudio.augmentation import Augmentation
from skaudio.exceptions import SkaudioWarning
from skaudio.networks.building import build_network, skip_initial_weights
from skaudio.networks.contract import takes_corpus, takes_lengths

__all__ = ["Architecture", "ClipModule", "check_frontend", "differences"]

_FRONTENDS = (
    features.LogMelSpectrogram,
    features.MFCC,
    features.PitchSalience,
    features.Spectrogram,
    features.StackedFeatures,
)

_MOST_FILTER_VALUES = 2**24


@dataclass(frozen=True)
class Architecture:
    """What it takes to build the module of a fitted estimator again, apart from its weights.

    Parameters
    ----------
    network : BaseNetwork, torch.nn.Module or callable
        As the estimator had it when it was fitted.
    frontend : transformer or None
        Computes features of waveforms; None where clips are features.
    n_bands : int
        Bands of the features that reach the network.
    n_outputs : int or tuple of int
        Classes, or numbers to estimate; a tuple, one entry for each corpus, asks for adapters.
    n_frames : int or None
        Frames of every clip; None where lengths vary.
    """

    network: Any
    frontend: Any
    n_bands: int
    n_outputs: int | tuple[int, ...]
    n_frames: int | None

    @classmethod
    def plan(
        cls,
        network: Any,
        frontend: Any,
        *,
        n_bands: int,
        n_outputs: int | tuple[int, ...],
        length: int | None,
    ) -> Architecture:
        """Describe the module for clips like these.

        Parameters
        ----------
        network, frontend
            As above. Descriptions are cloned, so that later changes do not reach the record.
        n_bands : int
            Bands of the clips; those of waveforms do not matter.
        n_outputs : int or tuple of int
        length : int or None
            Samples (with a front end) or frames of every clip; None where they differ.
        """
        if frontend is not None:
            layer = _build_frontend(frontend)
            n_bands = layer.n_bands
            length = None if length is None else layer.n_frames(length)
        return cls(_frozen(network), _frozen(frontend), n_bands, n_outputs, length)

    @property
    def outputs(self) -> tuple[int, ...]:
        """Outputs for each corpus."""
        return self.n_outputs if isinstance(self.n_outputs, tuple) else (self.n_outputs,)

    def build(self) -> ClipModule:
        """Build the module, its weights drawn from torch's global generator."""
        network = build_network(self.network, self.n_bands, self.n_outputs, self.n_frames)
        if self.frontend is None:
            return ClipModule(network, self.outputs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SkaudioWarning)  # `plan` has warned of empty bands
            frontend = _build_frontend(self.frontend)
        return ClipModule(network, self.outputs, frontend, self.frontend.sample_rate)

    def check_frontend(self) -> None:
        """Check that the front end's tables have a reasonable size.

        A saved model has the numbers that they are computed from, and not the tables, so that a
        file of some kB could ask for any amount of memory.

        Raises
        ------
        ValueError
            If the filter bank would have more than 2^24 values, 64 MB in float32: a hundred times
            as many as with 2048 samples and 128 bands.
        """
        if self.frontend is None:
            return
        n_values = self.frontend.n_filter_values()
        if n_values > _MOST_FILTER_VALUES:
            raise ValueError(
                f"The front end has {n_values} filter values, but expected at most "
                f"{_MOST_FILTER_VALUES} in a saved model. Lower n_fft, n_mels, n_lags or "
                "sample_rate."
            )

    def check_weights(self, weights: dict[str, Tensor]) -> None:
        """Check that weights fit the module, before memory is taken for it.

        Raises
        ------
        ValueError
            If a tensor is missing, or has another shape or type than the module's.
        """
        sizes = (self.n_bands, *self.outputs, self.n_frames or 1)
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise ValueError(f"Found the sizes {sizes} of a network, but expected integers >= 1.")
        self.check_frontend()
        # Tensors on the device "meta" have shapes and no memory: a file that asks for a network
        # of many gigabytes is refused before one is built.
        with torch.device("meta"), skip_initial_weights():
            expected = self.build().state_dict()
        wanted = {name: (tuple(part.shape), part.dtype) for name, part in expected.items()}
        found = {name: (tuple(part.shape), part.dtype) for name, part in weights.items()}
        wrong = sorted(
            name for name in wanted.keys() | found if wanted.get(name) != found.get(name)
        )
        if wrong:
            raise ValueError(
                f"The weights {wrong[0]} are {found.get(wrong[0])}, but the network has "
                f"{wanted.get(wrong[0])}."
            )


def _build_frontend(transformer: Any) -> Any:
    """Build the layer that computes what a transformer computes."""
    return _layer_of(transformer)(**transformer.layer_arguments())


def check_frontend(transformer: Any) -> None:
    """Raise a TypeError unless there is a layer that computes what a transformer computes."""
    _layer_of(transformer)


def _layer_of(transformer: Any) -> Callable[..., nn.Module]:
    if isinstance(transformer, _FRONTENDS):
        return getattr(layers, transformer.layer_name)
    names = ", ".join(kind.__name__ for kind in _FRONTENDS)
    raise TypeError(
        f"frontend is {transformer!r}, but expected one of {names}. Put other transformers before "
        "the estimator, in a Pipeline."
    )


class ClipModule(nn.Module):
    """Augment, compute features, augment those, recognise.

    Parameters
    ----------
    network : torch.nn.Module
    n_outputs : tuple of int
        Numbers that the network has to return for a clip of each corpus.
    frontend : torch.nn.Module, optional
        Makes features of waveforms; left out, the clips are features.
    sample_rate : int, optional
        Of the waveforms, in Hz.

    Attributes
    ----------
    augmentation : Augmentation or None
        Applied in training; draws from torch's global generator.

    Shape: input ``(batch, n_samples)`` with a front end, else ``(batch, n_bands, n_frames)``,
    with `lengths` ``(batch,)`` if clips were padded; output ``(batch, n_outputs[corpus])``.
    """

    def __init__(
        self,
        network: nn.Module,
        n_outputs: tuple[int, ...],
        frontend: nn.Module | None = None,
        sample_rate: int | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.n_outputs = n_outputs
        self.frontend: Any = frontend
        self.sample_rate = sample_rate
        self.augmentation: Augmentation | None = None
        self.takes_lengths = takes_lengths(network)
        self.takes_corpus = takes_corpus(network)

    def forward(self, x: Tensor, lengths: Tensor | None = None, corpus: int = 0) -> Any:
        """Compute logits, or logits and named scalars, as the network does."""
        if self.frontend is not None:
            x, lengths = self._augment(x, "waveform", lengths)
            x = self.frontend(x, lengths)
            lengths = None if lengths is None else self.frontend.n_frames(lengths)
        x, lengths = self._augment(x.unsqueeze(1), "feature", lengths)
        known: dict[str, Any] = {}
        if lengths is not None and self.takes_lengths:
            known["lengths"] = lengths
        if self.takes_corpus:
            known["corpus"] = corpus
        output = self.network(x, **known)
        wanted = len(x), self.n_outputs[corpus]
        self._check_shape(output[0] if isinstance(output, tuple) else output, wanted)
        return output

    def padded_length(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the lengths to which clips can be padded without a change of their features.

        Clips of as many frames, before any are averaged, then have one length, and can share a
        batch.
        """
        return lengths if self.frontend is None else self.frontend.padded_length(lengths)

    def n_frames(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the frames that reach the network, of clips of these lengths."""
        return lengths if self.frontend is None else np.asarray(self.frontend.n_frames(lengths))

    def _check_shape(self, logits: Tensor, wanted: tuple[int, int]) -> None:
        if logits.shape != wanted:
            raise ValueError(
                f"The network returned an output of shape {tuple(logits.shape)} for {wanted[0]} "
                f"clips, but expected {wanted}: a column for each class or "
                "target. Make its last layer as wide, or pass a function that builds it with "
                "n_outputs, as networks of skaudio are built."
            )

    def _augment(
        self, x: Tensor, domain: str, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Augment clips; return the changed ones, and the length of each if they differ."""
        if self.augmentation is None or not self.training:
            return x, lengths
        changed = self.augmentation.apply(
            x, torch.default_generator, domain=domain, sample_rate=self.sample_rate, lengths=lengths
        )
        if not isinstance(changed, tuple):
            return changed, lengths
        if self._keeps_length:
            missing = x.shape[-1] - changed[0].shape[-1]
            return functional.pad(changed[0], (0, missing)), lengths
        return changed

    @property
    def _keeps_length(self) -> bool:
        """Whether the network takes clips of one length only, or takes padding for sound."""
        return not self.takes_lengths or getattr(self.network, "n_frames", None) is not None


def differences(now: Any, then: Any, name: str) -> dict[str, tuple[Any, Any]]:
    """List in which parameters two networks or front ends differ.

    Parameters
    ----------
    now, then : object
    name : str
        What the two are called.

    Returns
    -------
    dict of str to tuple
        Both values, by the name under which ``set_params`` reaches the parameter.
    """
    if now is then:
        return {}
    if type(now) is type(then) and hasattr(now, "get_params"):
        ours, theirs = now.get_params(deep=False), then.get_params(deep=False)
        found: dict[str, tuple[Any, Any]] = {}
        for key in ours:
            found |= differences(ours[key], theirs[key], f"{name}__{key}")
        return found
    return {} if _equal(now, then) else {name: (now, then)}


def _equal(now: Any, then: Any) -> bool:
    try:
        return type(now) is type(then) and hash_value(now) == hash_value(then)
    except ValueError:  # such as a lambda, which is like no other
        return False


def _frozen(description: Any) -> Any:
    """Copy a description; a module or a function, which no one describes, stands for itself."""
    return clone(description) if hasattr(description, "get_params") else description
