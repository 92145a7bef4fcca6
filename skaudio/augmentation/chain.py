"""Chains of augmentations, applied one after the other."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.pipeline import make_pipeline
from torch import Tensor

from skaudio._validation import BaseComposition
from skaudio.augmentation._base import Augmentation

__all__ = ["Chain", "make_chain"]


class Chain(BaseComposition):
    """Apply augmentations one after the other.

    Parameters are reached by the names of the steps, as in scikit-learn's
    :class:`~sklearn.pipeline.Pipeline`: ``augmentation__noise__snr_db`` in an estimator's grid.
    Augmentations of waveforms and of features may be in one chain; each acts on its own domain
    and passes the other one through.

    Parameters
    ----------
    steps : list of tuple (name, augmentation)
        In the order of their application. ``"passthrough"`` in place of an augmentation
        leaves the step out.

    See Also
    --------
    make_chain : Chains augmentations without naming them.

    Examples
    --------
    >>> from skaudio.augmentation import AdditiveNoise, Chain, TimeMask
    >>> chain = Chain([("noise", AdditiveNoise()), ("mask", TimeMask())])
    >>> chain.set_params(noise__snr_db=(5, 15)).get_params()["noise__snr_db"]
    (5, 15)
    """

    def __init__(self, steps: list[tuple[str, Augmentation | str]]) -> None:
        self.steps = steps

    @property
    def domains(self) -> frozenset[str]:
        """What the chain can change: "waveform", "feature" or both."""
        return frozenset().union(*(step.domains for step in self._active()))

    def apply(
        self,
        x: Tensor,
        generator: torch.Generator,
        *,
        domain: str,
        sample_rate: float | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Apply every step to a batch.

        Parameters
        ----------
        x, generator, domain, sample_rate, lengths
            As in :meth:`Gain.apply`. The steps draw from `generator` in turn.

        Returns
        -------
        Tensor of the same shape, dtype and device

        Raises
        ------
        ValueError
            If the steps are not pairs of a unique name and an augmentation, or a step raises
            it.
        """
        for step in self._active():
            x = step.apply(x, generator, domain=domain, sample_rate=sample_rate, lengths=lengths)
        return x

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters, those of the steps included."""
        return self._get_params("steps", deep=deep)

    def set_params(self, **params: Any) -> Chain:
        """Set parameters, those of the steps by ``<name>__<parameter>``."""
        self._set_params("steps", **params)
        return self

    def _active(self) -> list[Any]:
        steps = self.steps
        if not isinstance(steps, list) or not all(map(_is_step, steps)):
            raise ValueError(
                f"Chain: steps is {steps!r}, but expected a list of (name, augmentation)."
            )
        self._validate_names([name for name, _ in steps])
        return [step for _, step in steps if step != "passthrough"]


def _is_step(step: Any) -> bool:
    if not isinstance(step, tuple) or len(step) != 2:
        return False
    return step[1] == "passthrough" or _is_augmentation(step[1])


def _is_augmentation(step: Any) -> bool:
    # A class has the methods of its objects, so that isinstance alone would take it for one.
    return isinstance(step, Augmentation) and not isinstance(step, type)


def make_chain(*augmentations: Augmentation) -> Chain:
    """Make a chain of augmentations without naming them.

    Names are those of the classes in lower case, numbered where a class occurs more than once,
    as with :func:`sklearn.pipeline.make_pipeline`.

    Parameters
    ----------
    *augmentations : Augmentation
        In the order of their application. For a list, write ``make_chain(*augmentations)``.

    Returns
    -------
    Chain

    Raises
    ------
    TypeError
        If one of them is not an augmentation.

    See Also
    --------
    Chain : The same with names of your own.

    Examples
    --------
    >>> from skaudio.augmentation import FrequencyMask, TimeMask, make_chain
    >>> [name for name, _ in make_chain(TimeMask(), FrequencyMask(), TimeMask()).steps]
    ['timemask-1', 'frequencymask', 'timemask-2']
    """
    for position, augmentation in enumerate(augmentations, start=1):
        if not _is_augmentation(augmentation):
            raise TypeError(
                f"Augmentation {position} of {len(augmentations)} is {augmentation!r}, but "
                "expected an object with `domains` and `apply`, such as TimeMask(). Call a class; "
                "unpack a list with a star."
            )
    return Chain(make_pipeline(*augmentations).steps)
