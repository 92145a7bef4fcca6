"""The base of all augmentations: parameters, one random draw per clip, untouched padding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from numbers import Real
from typing import Any, Protocol, runtime_checkable

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from skaudio._validation import Interval, check_params
from skaudio.layers.masking import frame_mask

__all__ = ["Augmentation", "BaseAugmentation", "Draws", "uniform"]

Draws = tuple[Tensor, ...]
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
    ) -> Tensor:
        """Change each clip of a batch at random, independently of the others."""


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
    ) -> Tensor:
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
        Tensor of the same shape, dtype and device
            `x` itself where there is nothing to change, for example in another domain.

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
        touched = touched.to(x.device)[:, None, None, None]
        if lengths is None:
            lengths = torch.full((len(x),), x.shape[-1], device=x.device)
        else:
            lengths = lengths.to(x.device)
            touched = touched & frame_mask(lengths, x.shape[-1])
        if domain == "waveform":
            touched = touched[:, 0, 0]
        changed = self._change(x, draws, lengths, sample_rate)
        return torch.where(touched, changed.to(x.dtype), x)

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
    ) -> Tensor:
        """Change every clip. The caller puts padding back as it was."""


def uniform(bounds: tuple[float, float], n_clips: int, generator: torch.Generator) -> Tensor:
    """Draw one number in [low, high) for each clip."""
    low, high = bounds
    return low + (high - low) * torch.rand(n_clips, generator=generator)
