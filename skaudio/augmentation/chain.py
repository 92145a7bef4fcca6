"""Combinations of augmentations: all of them one after the other, or one of them for each clip."""

from __future__ import annotations

from numbers import Real
from typing import Any, Self

import torch
from sklearn.pipeline import make_pipeline
from torch import Tensor
from torch.nn import functional

from skaudio._validation import BaseComposition, Interval, check_params
from skaudio.augmentation._base import (
    Augmentation,
    Augmented,
    clear_padding,
    each_length,
)

__all__ = ["Chain", "OneOf", "make_chain", "make_one_of"]


class _Combination(BaseComposition):
    """Named augmentations, whose parameters are reached by their names."""

    def __init__(self, steps: list[tuple[str, Augmentation | str]]) -> None:
        self.steps = steps

    @property
    def domains(self) -> frozenset[str]:
        """What the steps can change: "waveform", "feature" or both."""
        return frozenset().union(*(step.domains for step in self._active()))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters, those of the steps included."""
        return self._get_params("steps", deep=deep)

    def set_params(self, **params: Any) -> Self:
        """Set parameters, those of the steps by ``<name>__<parameter>``."""
        self._set_params("steps", **params)
        return self

    def _active(self) -> list[Any]:
        steps = self.steps
        if not isinstance(steps, list) or not all(map(_is_step, steps)):
            raise ValueError(
                f"{type(self).__name__}: steps is {steps!r}, but expected a list of "
                "(name, augmentation)."
            )
        self._validate_names([name for name, _ in steps])
        return [step for _, step in steps if step != "passthrough"]


class Chain(_Combination):
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
    OneOf : Applies one of several to each clip.
    preset : A chain that does for many corpora.

    Examples
    --------
    >>> from skaudio.augmentation import AdditiveNoise, Chain, TimeMask
    >>> chain = Chain([("noise", AdditiveNoise()), ("mask", TimeMask())])
    >>> chain.set_params(noise__snr_db=(5, 15)).get_params()["noise__snr_db"]
    (5, 15)
    """

    def apply(
        self,
        x: Tensor,
        generator: torch.Generator,
        *,
        domain: str,
        sample_rate: float | None = None,
        lengths: Tensor | None = None,
    ) -> Augmented:
        """Apply every step to a batch.

        Parameters
        ----------
        x, generator, domain, sample_rate, lengths
            As in :meth:`Gain.apply`. The steps draw from `generator` in turn.

        Returns
        -------
        x : Tensor of the same dtype and device
        lengths : Tensor of shape (batch,)
            Only if a step has changed them: a pair is then returned, as by :class:`SpeedChange`.

        Raises
        ------
        ValueError
            If the steps are not pairs of a unique name and an augmentation, or a step raises
            it.
        """
        new = lengths
        for step in self._active():
            changed = step.apply(x, generator, domain=domain, sample_rate=sample_rate, lengths=new)
            x, new = changed if isinstance(changed, tuple) else (changed, new)
        return x if new is lengths or new is None else (x, new)


class OneOf(_Combination):
    """Apply one of several augmentations to each clip, drawn at random.

    Parameters
    ----------
    steps : list of tuple (name, augmentation)
        Names are those of parameters, as in :class:`Chain`. ``"passthrough"`` in place of an
        augmentation leaves it out.
    probability : float, default=1.0
        Probability that a clip is changed, in [0, 1]. All augmentations are equally likely.

    See Also
    --------
    make_one_of : The same without naming them.
    Chain : Applies all of them.

    Notes
    -----
    Of waveforms, those are drawn from that act on waveforms, and of features those that act on
    features: with both kinds, a clip may be changed twice.

    Examples
    --------
    >>> import torch
    >>> from skaudio.augmentation import Gain, OneOf
    >>> louder_or_softer = OneOf([("louder", Gain((20, 20))), ("softer", Gain((-20, -20)))])
    >>> x = torch.ones(6, 1)
    >>> generator = torch.Generator().manual_seed(0)
    >>> louder_or_softer.apply(x, generator, domain="waveform").flatten()
    tensor([10.0000,  0.1000, 10.0000,  0.1000, 10.0000, 10.0000])
    """

    _parameter_constraints: dict = {
        "steps": [list],
        "probability": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self, steps: list[tuple[str, Augmentation | str]], *, probability: float = 1.0
    ) -> None:
        super().__init__(steps)
        self.probability = probability

    def apply(
        self,
        x: Tensor,
        generator: torch.Generator,
        *,
        domain: str,
        sample_rate: float | None = None,
        lengths: Tensor | None = None,
    ) -> Augmented:
        """Apply one step to each clip of a batch.

        Parameters
        ----------
        x, generator, domain, sample_rate, lengths
            As in :meth:`Gain.apply`.

        Returns
        -------
        x : Tensor of the same dtype and device
        lengths : Tensor of shape (batch,)
            Only if a step has changed them: a pair is then returned, as by :class:`SpeedChange`.

        Raises
        ------
        ValueError
            If `probability` or the steps are not as described, or a step raises it.
        """
        check_params(self)
        steps = [step for step in self._active() if domain in step.domains]
        if not steps:
            return x
        chance, drawn = torch.rand(2, len(x), generator=generator)
        # The number of a step, or that of none of them.
        number = torch.floor(drawn * len(steps)).long()
        number = torch.where(chance < self.probability, number, len(steps))
        now, ends, new = x, each_length(x, lengths), False
        for place, step in enumerate(steps):
            rows = (number == place).nonzero()[:, 0].to(x.device)
            if len(rows) == 0:
                continue
            given = None if lengths is None else ends[rows]
            changed = step.apply(
                x[rows], generator, domain=domain, sample_rate=sample_rate, lengths=given
            )
            new |= isinstance(changed, tuple)
            part, part_ends = changed if isinstance(changed, tuple) else (changed, ends[rows])
            now, ends = _put_rows(now, rows, part), ends.index_copy(0, rows, part_ends.to(ends))
        if not new:
            return now
        return clear_padding(now[..., : max(1, int(ends.max()))], ends), ends


def _put_rows(x: Tensor, rows: Tensor, part: Tensor) -> Tensor:
    """Put changed clips in their rows of a batch; the shorter of the two gets zeros at its end."""
    longest = max(x.shape[-1], part.shape[-1])
    x, part = (functional.pad(clips, (0, longest - clips.shape[-1])) for clips in (x, part))
    return x.index_copy(0, rows, part)


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
    make_one_of : Takes one of them for each clip.

    Examples
    --------
    >>> from skaudio.augmentation import FrequencyMask, TimeMask, make_chain
    >>> [name for name, _ in make_chain(TimeMask(), FrequencyMask(), TimeMask()).steps]
    ['timemask-1', 'frequencymask', 'timemask-2']
    """
    return Chain(_named(augmentations))


def make_one_of(*augmentations: Augmentation, probability: float = 1.0) -> OneOf:
    """Apply one of several augmentations to each clip, without naming them.

    Names are those of :func:`make_chain`.

    Parameters
    ----------
    *augmentations : Augmentation
        Equally likely. For a list, write ``make_one_of(*augmentations)``.
    probability : float, default=1.0
        Probability that a clip is changed, in [0, 1].

    Returns
    -------
    OneOf

    Raises
    ------
    TypeError
        If one of them is not an augmentation.

    See Also
    --------
    OneOf : The same with names of your own.
    make_chain : Applies all of them, one after the other.
    """
    return OneOf(_named(augmentations), probability=probability)


def _named(augmentations: tuple[Any, ...]) -> list[tuple[str, Any]]:
    """Name augmentations by their classes."""
    for position, augmentation in enumerate(augmentations, start=1):
        if not _is_augmentation(augmentation):
            raise TypeError(
                f"Augmentation {position} of {len(augmentations)} is {augmentation!r}, but "
                "expected an object with `domains` and `apply`, such as TimeMask(). Call a class; "
                "unpack a list with a star."
            )
    return make_pipeline(*augmentations).steps
