"""Chains of augmentations that suit many corpora."""

from __future__ import annotations

from typing import Literal, get_args

from skaudio.augmentation.chain import Chain
from skaudio.augmentation.filter import RandomFilter
from skaudio.augmentation.gain import Gain
from skaudio.augmentation.masks import FrequencyMask, TimeMask
from skaudio.augmentation.noise import AdditiveNoise
from skaudio.augmentation.shift import TimeShift
from skaudio.augmentation.speed import SpeedChange

__all__ = ["PresetName", "preset"]

PresetName = Literal["voice", "sound"]


def preset(name: PresetName) -> Chain:
    """Make the chain of augmentations that a word stands for.

    An estimator takes the word itself: ``AudioClassifier(augmentation="voice", ...)``. Of ready
    features, without a front end, only the masks change anything.

    Parameters
    ----------
    name : {"voice", "sound"}
        ``voice``: other speakers and microphones, by speeds from 0.85 to 1.15, smooth filters and
        gains, and masks in time. ``sound``, for whatever is not told by who makes it: shifts,
        speeds from 0.9 to 1.1, filters, gains, noise in half of the clips, and masks in time and
        frequency.

    Returns
    -------
    Chain
        With steps named ``speed``, ``filter``, ``gain``, ``time_mask``, and in ``sound`` also
        ``shift``, ``noise`` and ``frequency_mask``.

    Raises
    ------
    ValueError
        If there is no chain of this name.

    See Also
    --------
    Chain : A chain of your own.

    Examples
    --------
    >>> from skaudio.augmentation import preset
    >>> chain = preset("voice").set_params(gain__gain_db=(-12, 12), time_mask="passthrough")
    >>> [name for name, _ in chain.steps]
    ['speed', 'filter', 'gain', 'time_mask']
    """
    if name not in get_args(PresetName):
        raise ValueError(f"preset: got {name!r}, but expected 'voice' or 'sound'.")
    colour = [("filter", RandomFilter()), ("gain", Gain())]
    if name == "voice":
        # Masks in frequency would hide a formant or two, by which one word differs from another.
        speed = SpeedChange((0.85, 1.15))
        return Chain([("speed", speed), *colour, ("time_mask", TimeMask())])
    noise = AdditiveNoise((15.0, 35.0), color="pink", probability=0.5)
    masks = [("time_mask", TimeMask()), ("frequency_mask", FrequencyMask())]
    return Chain(
        [("shift", TimeShift(0.2)), ("speed", SpeedChange()), *colour, ("noise", noise), *masks]
    )
