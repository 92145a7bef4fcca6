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

import skaudio.features as features
import skaudio.layers as layers
from skaudio.augmentation import Augmentation
from skaudio.exceptions import SkaudioWarning
from skaudio.networks.building import build_network, takes_lengths

__all__ = ["Architecture", "ClipModule", "check_frontend"]

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
    n_outputs : int
        Classes, or numbers to estimate.
    n_frames : int or None
        Frames of every clip; None where lengths vary.
    """

    network: Any
    frontend: Any
    n_bands: int
    n_outputs: int
    n_frames: int | None

    @classmethod
    def plan(
        cls, network: Any, frontend: Any, *, n_bands: int, n_outputs: int, length: int | None
    ) -> Architecture:
        """Describe the module for clips like these.

        Parameters
        ----------
        network, frontend
            As above. Descriptions are cloned, so that later changes do not reach the record.
        n_bands : int
            Bands of the clips; those of waveforms do not matter.
        n_outputs : int
        length : int or None
            Samples (with a front end) or frames of every clip; None where they differ.
        """
        if frontend is not None:
            layer = _build_frontend(frontend)
            n_bands = layer.n_bands
            length = None if length is None else layer.n_frames(length)
        return cls(_frozen(network), _frozen(frontend), n_bands, n_outputs, length)

    def build(self) -> ClipModule:
        """Build the module, its weights drawn from torch's global generator."""
        network = build_network(self.network, self.n_bands, self.n_outputs, self.n_frames)
        if self.frontend is None:
            return ClipModule(network, self.n_outputs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SkaudioWarning)  # `plan` has warned of empty bands
            frontend = _build_frontend(self.frontend)
        return ClipModule(network, self.n_outputs, frontend, self.frontend.sample_rate)

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
                f"{_MOST_FILTER_VALUES} in a saved model. Lower n_fft, n_mels or n_lags."
            )

    def check_weights(self, weights: dict[str, Tensor]) -> None:
        """Check that weights fit the module, before memory is taken for it.

        Raises
        ------
        ValueError
            If a tensor is missing, or has another shape or type than the module's.
        """
        sizes = (self.n_bands, self.n_outputs, self.n_frames or 1)
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise ValueError(f"Found the sizes {sizes} of a network, but expected integers >= 1.")
        self.check_frontend()
        # Tensors on the device "meta" have shapes and no memory: a file that asks for a network
        # of many gigabytes is refused before one is built.
        with torch.device("meta"):
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
    n_outputs : int
        Numbers that the network has to return for each clip.
    frontend : torch.nn.Module, optional
        Makes features of waveforms; left out, the clips are features.
    sample_rate : int, optional
        Of the waveforms, in Hz.

    Attributes
    ----------
    augmentation : Augmentation or None
        Applied in training; draws from torch's global generator.

    Shape: input ``(batch, n_samples)`` with a front end, else ``(batch, n_bands, n_frames)``,
    with `lengths` ``(batch,)`` if clips were padded; output ``(batch, n_outputs)``.
    """

    def __init__(
        self,
        network: nn.Module,
        n_outputs: int,
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

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Any:
        """Compute logits, or logits and named scalars, as the network does."""
        if self.frontend is not None:
            x = self._augment(x, "waveform", lengths)
            x = self.frontend(x, lengths)
            lengths = None if lengths is None else self.frontend.n_frames(lengths)
        x = self._augment(x.unsqueeze(1), "feature", lengths)
        known = () if lengths is None or not self.takes_lengths else (lengths,)
        output = self.network(x, *known)
        self._check_shape(output[0] if isinstance(output, tuple) else output, len(x))
        return output

    def padded_length(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the lengths to which clips can be padded without a change of their features.

        Clips of as many frames then have one length, and can share a batch.
        """
        return lengths if self.frontend is None else self.frontend.padded_length(lengths)

    def n_frames(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the frames that reach the network, of clips of these lengths."""
        return lengths if self.frontend is None else np.asarray(self.frontend.n_frames(lengths))

    def _check_shape(self, logits: Tensor, n_clips: int) -> None:
        if logits.shape != (n_clips, self.n_outputs):
            raise ValueError(
                f"The network returned an output of shape {tuple(logits.shape)} for {n_clips} "
                f"clips, but expected ({n_clips}, {self.n_outputs}): a column for each class or "
                "target. Make its last layer as wide, or pass a function that builds it with "
                "n_outputs, as networks of skaudio are built."
            )

    def _augment(self, x: Tensor, domain: str, lengths: Tensor | None) -> Tensor:
        if self.augmentation is None or not self.training:
            return x
        return self.augmentation.apply(
            x, torch.default_generator, domain=domain, sample_rate=self.sample_rate, lengths=lengths
        )


def _frozen(description: Any) -> Any:
    """Copy a description; a module or a function, which no one describes, stands for itself."""
    return clone(description) if hasattr(description, "get_params") else description
