"""Random shifts in time."""

from __future__ import annotations

from numbers import Real
from typing import Literal

import torch
from torch import Tensor

from skaudio._validation import Interval, StrOptions
from skaudio.augmentation._base import BaseAugmentation, Draws

__all__ = ["TimeShift", "shift_in_time"]


class TimeShift(BaseAugmentation):
    """Shift waveforms in time by a random number of samples.

    Parameters
    ----------
    max_shift : float, default=0.1
        Largest shift in either direction in seconds, > 0; a clip is shifted by at most half
        its length. The shift is drawn uniformly.
    fill : {"zero", "roll"}, default="zero"
        What fills the gap: silence, or the samples shifted out at the other end.
    probability : float, default=1.0
        Probability that a clip is changed, in [0, 1].

    See Also
    --------
    SpeedChange : Changes the tempo.
    make_chain : Combines several augmentations.

    Examples
    --------
    >>> import torch
    >>> from skaudio.augmentation import TimeShift
    >>> x = torch.arange(1.0, 9)[None]
    >>> shift = TimeShift(max_shift=0.5, fill="roll")
    >>> generator = torch.Generator().manual_seed(0)
    >>> shift.apply(x, generator, domain="waveform", sample_rate=8)
    tensor([[7., 8., 1., 2., 3., 4., 5., 6.]])
    """

    domains = frozenset(["waveform"])
    _parameter_constraints: dict = {
        **BaseAugmentation._parameter_constraints,
        "max_shift": [Interval(Real, 0, None, closed="neither")],
        "fill": [StrOptions({"zero", "roll"})],
    }

    def __init__(
        self,
        max_shift: float = 0.1,
        *,
        fill: Literal["zero", "roll"] = "zero",
        probability: float = 1.0,
    ) -> None:
        self.max_shift = max_shift
        self.fill = fill
        self.probability = probability

    def _draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        return (2 * torch.rand(shape[0], generator=generator) - 1,)

    def _change(
        self, x: Tensor, draws: Draws, lengths: Tensor, sample_rate: float | None
    ) -> Tensor:
        (side,) = draws
        if sample_rate is None:
            raise ValueError(
                "TimeShift: max_shift is in seconds, but the sample rate of the waveforms is not "
                "known. Pass sample_rate to apply (an estimator takes it from its frontend)."
            )
        # At most half a clip: some sound is left of every clip that holds any in its middle.
        limit = (lengths // 2).clamp(max=round(self.max_shift * sample_rate))
        return shift_in_time(x, torch.round(side * limit).long(), lengths, self.fill == "roll")


def shift_in_time(x: Tensor, shift: Tensor, lengths: Tensor, roll: bool) -> Tensor:
    """Delay waveforms ``(batch, n_samples)`` by `shift` samples ``(batch,)``."""
    # Sample i of the result is sample i - shift of the clip, modulo its own length: rolling a
    # padded clip must not bring in padding. Rows differ in shift, so that torch.roll, which takes
    # one for all, cannot do it.
    source = torch.arange(x.shape[-1], device=x.device) - shift[:, None]  # clip, sample
    end = lengths[:, None].clamp(min=1)
    moved = x.gather(1, torch.remainder(source, end))
    return moved if roll else torch.where((source >= 0) & (source < end), moved, 0)
