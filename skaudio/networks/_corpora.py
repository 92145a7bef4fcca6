"""Modules that several corpora share in part: a trunk for all, and a set of layers for each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from typing import Any, Literal

from torch import Tensor, nn

from skaudio._validation import Interval, StrOptions
from skaudio.layers import BottleneckAdapter, DenseHead, frame_mask
from skaudio.losses import size_rule

__all__ = ["ADAPTER_CONSTRAINTS", "CORPUS_CONSTRAINTS", "CorpusNet", "Trunk"]

CORPUS_CONSTRAINTS: dict[str, list[Any]] = {
    "share_pooling": ["boolean"],
    "input_norm": ["boolean"],
    "l2": [Interval(Real, 0, None, closed="left")],
}

ADAPTER_CONSTRAINTS: dict[str, list[Any]] = {
    "adapter_l2": [Interval(Real, 0, None, closed="left"), StrOptions({"size"})],
}


class Trunk(nn.Module, ABC):
    """What all corpora share, and the maker of what each has for itself.

    Attributes
    ----------
    pooling : torch.nn.Module or None
        The pooling of all corpora; None where each has its own.
    n_features : int
        Size of the vector that is computed for each clip.
    """

    n_features: int
    pooling: nn.Module | None

    @abstractmethod
    def new_input_norm(self) -> nn.Module | None:
        """Make a corpus' norm of features, called with features and mask, if it has one."""

    @abstractmethod
    def new_layers(self, adapters: bool) -> nn.Module:
        """Make a corpus' layers between those of the trunk."""

    @abstractmethod
    def new_pooling(self) -> nn.Module:
        """Make a pooling, for one corpus or for all."""

    @abstractmethod
    def forward(self, x: Tensor, lengths: Tensor | None, layers: Any, pooling: Any) -> Tensor:
        """Map features to vectors of shape ``(batch, n_features)``, with layers of a corpus."""


class CorpusSet(nn.Module):
    """What one corpus has for itself."""

    def __init__(
        self,
        input_norm: nn.Module | None,
        layers: nn.Module,
        pooling: nn.Module | None,
        head: nn.Module,
    ) -> None:
        super().__init__()
        self.input_norm = input_norm
        self.layers = layers
        self.pooling = pooling
        self.head = head


class CorpusNet(nn.Module):
    """A trunk and a set of layers for each corpus, as :class:`CorpusModule` describes it.

    Parameters
    ----------
    net : BaseNetwork
        With ``share_pooling``, ``input_norm``, ``l2`` and, if it has adapters, ``adapter_l2``.
    trunk : Trunk
    n_outputs : int, or sequence of int
        A number makes one set without adapters, a sequence one for each entry, with adapters if
        the network has any.
    n_frames : int, optional
        The only number of frames that the module takes.
    """

    def __init__(
        self,
        net: Any,
        trunk: Trunk,
        n_outputs: int | Sequence[int],
        n_frames: int | None = None,
    ) -> None:
        super().__init__()
        counts = n_outputs if isinstance(n_outputs, Sequence) else [n_outputs]
        adapters = net.has_adapters and isinstance(n_outputs, Sequence)
        self.n_frames = n_frames
        self.l2 = net.l2
        self.adapter_l2: float | Literal["size"] = getattr(net, "adapter_l2", 0.0)
        self.n_clips: tuple[int, ...] | None = None
        self.trunk = trunk
        trunk.pooling = trunk.new_pooling() if net.share_pooling else None
        self.sets = nn.ModuleList(
            CorpusSet(
                trunk.new_input_norm() if net.input_norm else None,
                trunk.new_layers(adapters),
                None if net.share_pooling else trunk.new_pooling(),
                DenseHead(trunk.n_features, count),
            )
            for count in counts
        )

    @property
    def head(self) -> nn.Module:
        """Dense layers of the first corpus."""
        return self._set(0).head

    def set_clip_counts(self, n_clips: Sequence[int]) -> None:
        """Tell how many clips each corpus has for training, for ``adapter_l2="size"``."""
        if len(n_clips) != len(self.sets):
            raise ValueError(
                f"set_clip_counts: got {len(n_clips)} numbers of clips, but expected one for each "
                f"of the {len(self.sets)} corpora."
            )
        self.n_clips = tuple(int(n) for n in n_clips)

    def forward(self, x: Tensor, lengths: Tensor | None = None, corpus: int = 0) -> Any:
        """Map ``(batch, n_channels, n_bands, n_frames)`` to logits of one corpus."""
        own = self._set(corpus)
        mask = None if lengths is None else frame_mask(lengths, x.shape[-1])
        x = x if own.input_norm is None else own.input_norm(x, mask)
        x = x if mask is None else x * mask
        pooling = own.pooling if self.trunk.pooling is None else self.trunk.pooling
        logits = own.head(self.trunk(x, lengths, own.layers, pooling))
        if not self.training or (self.l2 == 0 and self.adapter_l2 == 0):
            return logits
        return logits, {"l2_loss": self._penalty(own, corpus)}

    def _set(self, corpus: int) -> Any:
        if not 0 <= corpus < len(self.sets):
            raise IndexError(
                f"corpus: got {corpus}, but the network has sets for {len(self.sets)} corpora, "
                "counted from 0."
            )
        return self.sets[corpus]

    def _penalty(self, own: nn.Module, corpus: int) -> Tensor:
        adapters = list(_trained_kernels(own))
        strength = self._adapter_strength(corpus) if adapters else 0.0
        shared = _sum_of_squares(_trained_kernels(self.trunk), own)
        return self.l2 * shared + strength * _sum_of_squares(adapters, own)

    def _adapter_strength(self, corpus: int) -> float:
        if self.adapter_l2 != "size":
            return self.adapter_l2
        if self.n_clips is None:
            raise ValueError(
                "adapter_l2: got 'size', but the number of training clips is not known. Call "
                "set_clip_counts(n_clips) on the built module before training, or set a number."
            )
        return size_rule(self.n_clips[corpus])


def _trained_kernels(part: nn.Module) -> Iterator[Tensor]:
    """Find the weights that are penalised: not those of norms, attention and dense layers."""
    for layer in part.modules():
        yield from (weight for weight in _kernels_of(layer) if weight.requires_grad)


def _kernels_of(layer: nn.Module) -> Iterable[Tensor]:
    if isinstance(layer, nn.Conv2d):
        return [layer.weight]
    if isinstance(layer, nn.RNNBase):
        return [weight for name, weight in layer.named_parameters() if name.startswith("weight")]
    if isinstance(layer, BottleneckAdapter):
        return [layer.down.weight, layer.up.weight]
    return []


def _sum_of_squares(weights: Iterable[Tensor], like: nn.Module) -> Tensor:
    zero = next(like.parameters()).new_zeros(())
    return sum((weight.square().sum() for weight in weights), start=zero)
