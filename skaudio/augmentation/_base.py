"""The base of all augmentations: parameters, one random draw per clip, padding left out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from numbers import Real
from typing import Any, Protocol, runtime_checkable

import torch
from sklearn.base import BaseEstimator
from torch import Tensor
from torch.nn import functional

from skaudio._validation import Interval, check_params
from skaudio.layers.masking import frame_mask

__all__ = [
    "Augmentation",
    "Augmented",
    "BaseAugmentation",
    "Draws",
    "choose_clips",
    "clear_padding",
    "each_length",
    "log_uniform",
    "stack_clips",
    "uniform",
]

Draws = tuple[Tensor, ...]
Augmented = Tensor | tuple[Tensor, Tensor]
"""A changed batch, or a pair of it and the new length of each clip."""

_DOMAINS = frozenset(["waveform", "feature"])


@runtime_checkable
class Augmentation(Protocol):
    """What an estimator needs of its ``augmentation``: :meth:`apply` and the domains it acts on.

    Everything in :mod:`skaudio.augmentation` offers this; an augmentation of your own needs no
    more. Let it inherit from :class:`sklearn.base.BaseEstimator` if a grid search is to reach
    its parameters.

    See Also
    --------
    make_chain : Combines several augmentations.
    """

    @property
    def domains(self) -> frozenset[str]:
        """What the augmentation can change: "waveform", "feature" or both."""

    def apply(
        self,
        x: Tensor,
        generator: torch.Generator,
        *,
        domain: str,
        sample_rate: float | None = None,
        lengths: Tensor | None = None,
    ) -> Augmented:
        """Change each clip of a batch at random, independently of the others.

        What changes the lengths of clips returns them as well: ``(x, lengths)``.
        """


class BaseAugmentation(BaseEstimator, ABC):
    """A random change of training clips, with scikit-learn's parameter handling.

    Subclasses store hyperparameters in their constructor, ``probability`` among them, declare
    them in ``_parameter_constraints`` (pairs of low and high in ``_ranges``), name their
    ``domains``, and implement :meth:`_draw` and :meth:`_change`.

    Attributes
    ----------
    domains : frozenset of {"waveform", "feature"}
        What the augmentation can change.
    """

    domains: frozenset[str]
    probability: float
    _parameter_constraints: dict = {"probability": [Interval(Real, 0, 1, closed="both")]}
    _ranges: dict[str, Any] = {}

    def apply(
        self,
        x: Tensor,
        generator: torch.Generator,
        *,
        domain: str,
        sample_rate: float | None = None,
        lengths: Tensor | None = None,
    ) -> Augmented:
        """Change each clip of a batch at random, independently of the others.

        Parameters
        ----------
        x : Tensor of shape (batch, n_samples) or (batch, n_channels, n_bands, n_frames)
            Waveforms or features, on any device. Never modified.
        generator : torch.Generator
            On the CPU. The only source of randomness, so that draws are the same on every device.
        domain : {"waveform", "feature"}
            What `x` holds.
        sample_rate : float, optional
            In Hz, needed by augmentations with a parameter in seconds.
        lengths : Tensor of shape (batch,), optional
            Samples or frames of each clip, where `x` is padded. Padding is left as it is.

        Returns
        -------
        x : Tensor of the same shape, dtype and device
            `x` itself where there is nothing to change, for example in another domain.
        lengths : Tensor of shape (batch,)
            Only from an augmentation that changes lengths, such as :class:`SpeedChange`: a pair
            is then returned. `x` ends with the longest clip, and has zeros behind the others.

        Raises
        ------
        ValueError
            If a parameter is out of range, or the sample rate is needed and missing.
        """
        if domain not in _DOMAINS:
            raise ValueError(f"domain is {domain!r}, but expected 'waveform' or 'feature'.")
        if domain not in self.domains:
            return x
        self._check()
        # torch.rand is in [0, 1): probability 1 takes every clip, and 0 none.
        touched = torch.rand(len(x), generator=generator) < self.probability
        if not touched.any():
            return x
        # Every clip gets a draw and is changed, also those that keep their samples in the end:
        # what one clip draws then does not depend on how many others are touched, and the whole
        # batch is one tensor operation.
        draws = tuple(draw.to(x.device) for draw in self._draw(x.shape, generator))
        touched = touched.to(x.device)
        real = each_length(x, lengths)
        changed = self._change(x, draws, real, sample_rate)
        if isinstance(changed, tuple):
            return choose_clips(touched, changed, (x, real))
        chosen = touched[:, None, None, None]
        if lengths is not None:
            chosen = chosen & frame_mask(real, x.shape[-1])
        if domain == "waveform":
            chosen = chosen[:, 0, 0]
        return torch.where(chosen, changed.to(x.dtype), x)

    def _check(self) -> None:
        check_params(self)
        for name, interval in self._ranges.items():
            pair = getattr(self, name)
            if (
                not isinstance(pair, (tuple, list))
                or len(pair) != 2
                or not all(interval.is_satisfied_by(value) for value in pair)
                or pair[0] > pair[1]
            ):
                raise ValueError(
                    f"The {name!r} parameter of {type(self).__name__} must be a pair "
                    f"(low, high) with low <= high, each {interval}. Got {pair!r} instead."
                )

    @abstractmethod
    def _draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        """Draw all random numbers that the change of a batch of this shape needs."""

    @abstractmethod
    def _change(
        self, x: Tensor, draws: Draws, lengths: Tensor, sample_rate: float | None
    ) -> Augmented:
        """Change every clip. The caller puts padding back as it was.

        Where clips change their lengths a pair is returned, of changed clips with zeros behind
        them and of their lengths.
        """


def each_length(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the length of each clip, also where none is padded."""
    if lengths is None:
        return torch.full((len(x),), x.shape[-1], device=x.device)
    return lengths.to(x.device)


def choose_clips(
    chosen: Tensor, ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Take the chosen clips of one batch and the other ones of another, where lengths differ.

    Parameters
    ----------
    chosen : Tensor of shape (batch,), bool
    ours, theirs : tuple of Tensor
        Clips ``(batch, ..., n)`` and lengths ``(batch,)``, each batch of an n of its own.

    Returns
    -------
    x : Tensor
        In the dtype of the other batch, as long as its longest clip, zeros behind all others.
    lengths : Tensor of shape (batch,)
    """
    lengths = torch.where(chosen, ours[1].to(theirs[1]), theirs[1])
    longest = int(lengths.max().clamp(min=1))
    first, second = (
        functional.pad(x, (0, longest - x.shape[-1])).to(theirs[0].dtype) for x, _ in (ours, theirs)
    )
    shape = (-1, *[1] * (first.ndim - 1))
    return clear_padding(torch.where(chosen.view(shape), first, second), lengths), lengths


def clear_padding(x: Tensor, lengths: Tensor) -> Tensor:
    """Return waveforms or features with zeros behind each clip."""
    mask = frame_mask(lengths, x.shape[-1])
    return x.masked_fill(~(mask[:, 0, 0] if x.ndim == 2 else mask), 0)


def stack_clips(clips: list[Tensor], n_samples: int) -> Tensor:
    """Stack waveforms, each with as many zeros behind it as it is short of `n_samples`."""
    return torch.stack([functional.pad(clip, (0, n_samples - len(clip))) for clip in clips])


def uniform(bounds: tuple[float, float], n_clips: int, generator: torch.Generator) -> Tensor:
    """Draw one number in [low, high) for each clip."""
    low, high = bounds
    return low + (high - low) * torch.rand(n_clips, generator=generator)


def log_uniform(bounds: tuple[float, float], n_clips: int, generator: torch.Generator) -> Tensor:
    """Draw one factor for each clip, so that its logarithm is uniform."""
    low, high = torch.tensor(bounds, dtype=torch.float64).log().tolist()
    return uniform((low, high), n_clips, generator).exp()
