"""VGG16, with ImageNet's weights from a local file or without."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from itertools import pairwise
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from skaudio._validation import Interval, StrOptions
from skaudio.layers import MaskedBatchNorm2d, frame_mask
from skaudio.layers.same_conv import init_he_normal_
from skaudio.networks._corpora import CORPUS_CONSTRAINTS, CorpusNet
from skaudio.networks._map_trunks import AttentionTrunk, MeanTrunk, RecurrentTrunk
from skaudio.networks.base import BaseNetwork
from skaudio.networks.building import wants_initial_weights

__all__ = ["VGG16Net"]

# Channels of the thirteen convolutions, in five blocks, each of which ends in a pooling.
_BLOCKS = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)

# What Keras numbers: the input as 0, each convolution and each pooling as one.
_N_COUNTED = 1 + sum(len(block) + 1 for block in _BLOCKS)

# Five halvings leave one position of 32.
_LEAST = 32


class VGG16Net(BaseNetwork):
    """The convolutions of VGG16, for pictures of sound, with ImageNet's weights or without.

    A 1 x 1 convolution with ReLU and batch norm makes the three channels of a coloured picture,
    and the thirteen convolutions of VGG16 [1]_ a map, which is pooled to one vector per clip. Two
    dense layers give the logits. After EmoNet [2]_, for decibels. Features of fewer than 32 bands
    or frames are lengthened by zeros.

    Parameters
    ----------
    width : float, default=1.0
        Factor of the channels of all thirteen convolutions, > 0.
    weights : str or path, optional
        File with the weights of the convolutions, as torchvision names them (``features.0.weight``
        to ``features.28.bias``; others are passed over), written by :func:`torch.save`. Only
        tensors are loaded from it, and only when training begins: a fitted model that is loaded
        needs it no more. None means random weights.
    freeze_up_to : int, optional
        With `weights`, how many layers keep them, from 0 to 19, where the input, each convolution
        and each pooling count as one: 0 and 1 freeze nothing, 2 the first convolution. None
        freezes all of them. Without `weights` it has to be None. An estimator with
        ``mode="finetune"`` trains them all.
    pooling : {"average", "attention", "rnn"}, default="average"
        How the map becomes a vector: by the mean of all positions, plain or with learned weights,
        or by two layers of LSTM over its frames, with self-attention between them.
    share_pooling : bool, default=False
        Whether one attention, or one self-attention and weighting of the frames of the LSTM,
        serves all corpora. The LSTM itself always does.
    input_norm : bool, default=True
        Whether to normalise the features first, by one mean and deviation for each channel. Of
        decibels, nearly all negative, the ReLU after the 1 x 1 convolution may leave nothing.
    rnn_dropout : float, default=0.2
        Share of values set to zero before each layer of LSTM while training, in [0, 1).
    l2 : float, default=1e-6
        What the sum of squares of the kernels that are not frozen is multiplied by when it is
        added to the training loss, >= 0.

    See Also
    --------
    AdapterResNet : A residual network, with adapters.
    CorpusModule : What is built.

    Notes
    -----
    This network has no adapters: ``build`` with a tuple for `n_outputs` gives each corpus a
    pooling, unless it is shared, and dense layers of its own. All norms before are shared.

    While training the module returns ``l2_loss`` with the logits, unless `l2` is 0.

    References
    ----------
    .. [1] Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
       Recognition", ICLR 2015, arXiv 1409.1556.
    .. [2] Gerczuk et al., "EmoNet: A Transfer Learning Framework for Multi-Corpus Speech
       Emotion Recognition", arXiv 2103.08310, 2021.

    Examples
    --------
    >>> import torch
    >>> from skaudio.networks import VGG16Net
    >>> module = VGG16Net(width=0.125).build(n_bands=64, n_outputs=7)
    >>> module.eval()(torch.randn(2, 1, 64, 61)).shape
    torch.Size([2, 7])
    """

    _parameter_constraints: dict = {
        "width": [Interval(Real, 0, None, closed="neither")],
        "weights": [str, os.PathLike, None],
        "freeze_up_to": [Interval(Integral, 0, _N_COUNTED, closed="both"), None],
        "pooling": [StrOptions({"average", "attention", "rnn"})],
        "rnn_dropout": [Interval(Real, 0, 1, closed="left")],
        **CORPUS_CONSTRAINTS,
    }

    def __init__(
        self,
        width: float = 1.0,
        weights: str | os.PathLike | None = None,
        freeze_up_to: int | None = None,
        *,
        pooling: Literal["average", "attention", "rnn"] = "average",
        share_pooling: bool = False,
        input_norm: bool = True,
        rnn_dropout: float = 0.2,
        l2: float = 1e-6,
    ) -> None:
        self.width = width
        self.weights = weights
        self.freeze_up_to = freeze_up_to
        self.pooling = pooling
        self.share_pooling = share_pooling
        self.input_norm = input_norm
        self.rnn_dropout = rnn_dropout
        self.l2 = l2

    def _build(
        self, n_bands: int, n_outputs: Any, n_frames: int | None, n_channels: int
    ) -> nn.Module:
        if self.weights is None and self.freeze_up_to is not None:
            raise ValueError(
                f"freeze_up_to: got {self.freeze_up_to}, but without weights there is nothing to "
                "keep: random layers would stay random. Set weights, or leave freeze_up_to=None."
            )
        vgg = _VGG16(self.width, n_channels, self.input_norm)
        if self.weights is not None:
            if wants_initial_weights():
                vgg.load(Path(self.weights))
            vgg.freeze(_N_COUNTED if self.freeze_up_to is None else self.freeze_up_to)
        if self.pooling == "rnn":
            n_left = max(n_bands, _LEAST) // 32
            trunk: Any = RecurrentTrunk(vgg, n_left, self.rnn_dropout)
        else:
            trunk = (AttentionTrunk if self.pooling == "attention" else MeanTrunk)(vgg)
        return CorpusNet(self, trunk, n_outputs)

    _build_for_corpora = _build  # each corpus has a set of its own


class _VGG16(nn.Module):
    """The thirteen convolutions, and what makes their input."""

    def __init__(self, width: float, n_channels: int, input_norm: bool) -> None:
        super().__init__()
        self.input_norm = MaskedBatchNorm2d(n_channels, eps=1e-3) if input_norm else None
        self.colours = nn.Conv2d(n_channels, 3, 1, bias=False)
        self.norm = MaskedBatchNorm2d(3, eps=1e-3)
        channels = [3, *(max(1, round(width * n)) for block in _BLOCKS for n in block)]
        self.convs = nn.ModuleList(nn.Conv2d(*pair, 3, padding=1) for pair in pairwise(channels))
        init_he_normal_(self.colours.weight)
        for conv in self.convs:
            init_he_normal_(cast(nn.Conv2d, conv).weight)
            nn.init.zeros_(cast(Tensor, conv.bias))
        self.n_out = channels[-1]

    def new_input_norm(self) -> None:
        """Make nothing: the norm of the features is shared."""

    def new_layers(self, adapters: bool) -> nn.Module:
        """Make a corpus' layers, of which there are none."""
        return nn.Identity()

    def load(self, path: Path) -> None:
        """Take the weights of the convolutions from a file; see :class:`VGG16Net`."""
        found = _read(path)
        wanted = {
            f"features.{place}.{name}": weight
            for place, conv in zip(_places(), self.convs, strict=True)
            for name, weight in conv.named_parameters()
        }
        for name, weight in wanted.items():
            shape = tuple(found[name].shape) if name in found else "nothing"
            if shape != tuple(weight.shape):
                raise ValueError(
                    f"weights: {path} has {shape} for {name}, but expected {tuple(weight.shape)}. "
                    "Take a file of torchvision's vgg16, and leave width=1.0."
                )
            with torch.no_grad():
                weight.copy_(found[name])

    def freeze(self, n_layers: int) -> None:
        """Let the first `n_layers`, as Keras counts them, require no gradient."""
        for number, conv in zip(_numbers(), self.convs, strict=True):
            if number < n_layers:
                conv.requires_grad_(False)

    def forward(
        self, x: Tensor, lengths: Tensor | None, layers: nn.Module
    ) -> tuple[Tensor, Tensor | None]:
        """Compute the map ``(batch, n_out, n_bands // 32, n_frames // 32)`` and its lengths.

        What comes out at padding is some number or other.
        """
        x = x if self.input_norm is None else self.input_norm(x, _mask(x, lengths))
        x = _without_padding(x, lengths)
        n_bands, n_frames = x.shape[2:]
        x = functional.pad(x, (0, max(_LEAST - n_frames, 0), 0, max(_LEAST - n_bands, 0)))
        lengths = None if lengths is None else lengths.clamp(min=_LEAST)
        x = self.norm(self.colours(x).relu(), _mask(x, lengths))
        convs = iter(self.convs)
        for block in _BLOCKS:
            for _ in block:
                x = next(convs)(_without_padding(x, lengths)).relu()
            # A window that a clip fills by half is padding, as it is left out at the border.
            x, lengths = functional.max_pool2d(x, 2), None if lengths is None else lengths // 2
        return x, lengths


def _mask(x: Tensor, lengths: Tensor | None) -> Tensor | None:
    return None if lengths is None else frame_mask(lengths, x.shape[-1])


def _without_padding(x: Tensor, lengths: Tensor | None) -> Tensor:
    return x if lengths is None else x * frame_mask(lengths, x.shape[-1])


def _places() -> Iterator[int]:
    """Count as torchvision does: each convolution, ReLU and pooling is one."""
    place = 0
    for block in _BLOCKS:
        for _ in block:
            yield place
            place += 2
        place += 1


def _numbers() -> Iterator[int]:
    """Count as Keras does: the input, each convolution and pooling is one."""
    number = 1
    for block in _BLOCKS:
        for _ in block:
            yield number
            number += 1
        number += 1


def _read(path: Path) -> dict[str, Tensor]:
    """Read a dictionary of tensors, and nothing that is code."""
    if not path.is_file():
        raise FileNotFoundError(
            f"weights: there is no file {path}. Save torchvision's vgg16 weights there with "
            "torch.save(model.state_dict(), path), or leave weights=None."
        )
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ValueError(
            f"weights: {path} is no file of tensors ({type(error).__name__}). Save the weights "
            "with torch.save(model.state_dict(), path)."
        ) from error
    if isinstance(found, dict) and all(isinstance(part, Tensor) for part in found.values()):
        return found
    raise ValueError(
        f"weights: {path} holds a {type(found).__name__}, but expected a dictionary of tensors. "
        "Save model.state_dict() rather than the model or a whole checkpoint."
    )
