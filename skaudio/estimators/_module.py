"""Everything between a batch of clips and logits, as one torch module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import skaudio.features as features
import skaudio.layers as layers
from skaudio.augmentation import Augmentation
from skaudio.networks import MTSNet
from skaudio.networks.building import build_network, takes_lengths

__all__ = ["ClipModule", "build_module"]

_LAYERS: dict[Any, Callable[..., nn.Module]] = {
    features.LogMelSpectrogram: layers.LogMel,
    features.MFCC: layers.MFCC,
}


def build_module(
    network: Any,
    frontend: Any,
    augmentation: Augmentation | None,
    *,
    n_bands: int,
    n_outputs: int,
    length: int | None,
) -> ClipModule:
    """Build the module that an estimator trains.

    Parameters
    ----------
    network : BaseNetwork, torch.nn.Module, callable or None
        None means ``MTSNet()``; a module is copied; a callable is called as
        :meth:`~skaudio.networks.BaseNetwork.build` is.
    frontend : LogMelSpectrogram, MFCC or None
    augmentation : Augmentation or None
    n_bands : int
        Bands of ready-made features; a front end has its own.
    n_outputs : int
    length : int or None
        Samples (with a front end) or frames of every clip; None where they differ.
    """
    network = MTSNet() if network is None else network
    if frontend is None:
        net = build_network(network, n_bands, n_outputs, length)
        return ClipModule(net, n_outputs, augmentation=augmentation)
    layer = _build_frontend(frontend)
    n_frames = None if length is None else layer.n_frames(length)
    n_bands = layer(torch.zeros(1, 1)).shape[1]
    net = build_network(network, n_bands, n_outputs, n_frames)
    return ClipModule(net, n_outputs, layer, augmentation, frontend.sample_rate)


def _build_frontend(transformer: Any) -> Any:
    """Build the layer that computes what a transformer computes."""
    for kind, layer in _LAYERS.items():
        if isinstance(transformer, kind):
            return layer(**transformer.layer_arguments())
    names = " or ".join(kind.__name__ for kind in _LAYERS)
    raise TypeError(
        f"frontend is {transformer!r}, but expected {names}. Other transformers go in front of "
        "the estimator, in a Pipeline."
    )


class ClipModule(nn.Module):
    """Augment, compute features, augment those, recognise.

    Parameters
    ----------
    network : torch.nn.Module
    n_outputs : int
        Numbers that the network has to give for each clip.
    frontend : torch.nn.Module, optional
        Makes features of waveforms; left out, the clips are features.
    augmentation : Augmentation, optional
        Applied in training; draws from torch's global generator.
    sample_rate : int, optional
        Of the waveforms, in Hz.

    Shape: input ``(batch, n_samples)`` with a front end, else ``(batch, n_bands, n_frames)``,
    with `lengths` ``(batch,)`` if clips were padded; output ``(batch, n_outputs)``.
    """

    def __init__(
        self,
        network: nn.Module,
        n_outputs: int,
        frontend: nn.Module | None = None,
        augmentation: Augmentation | None = None,
        sample_rate: int | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.n_outputs = n_outputs
        self.frontend: Any = frontend
        self.augmentation = augmentation
        self.sample_rate = sample_rate
        self.takes_lengths = takes_lengths(network)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Any:
        """Give logits, or logits and named scalars, as the network does."""
        if self.frontend is not None:
            x = self._augment(x, "waveform", lengths)
            x = self.frontend(x, lengths)
            lengths = None if lengths is None else self.frontend.n_frames(lengths)
        x = self._augment(x.unsqueeze(1), "feature", lengths)
        known = () if lengths is None or not self.takes_lengths else (lengths,)
        output = self.network(x, *known)
        self._check_shape(output[0] if isinstance(output, tuple) else output, len(x))
        return output

    def _check_shape(self, logits: Tensor, n_clips: int) -> None:
        if logits.shape != (n_clips, self.n_outputs):
            raise ValueError(
                f"The network gave an output of shape {tuple(logits.shape)} for {n_clips} clips, "
                f"but expected ({n_clips}, {self.n_outputs}): a column for each class or target. "
                "Give its last layer as many outputs, or pass a function that builds it with "
                "n_outputs, as networks of skaudio are built."
            )

    def _augment(self, x: Tensor, domain: str, lengths: Tensor | None) -> Tensor:
        if self.augmentation is None or not self.training:
            return x
        return self.augmentation.apply(
            x, torch.default_generator, domain=domain, sample_rate=self.sample_rate, lengths=lengths
        )
