"""DiffRes, which learns where a spectrogram needs its resolution, and poolings to compare with."""

from skaudio.layers.resolution.baselines import (
    AvgMaxPool,
    AvgPool,
    ChangeHopSize,
    ConvAvgPool,
    MaxPool,
)
from skaudio.layers.resolution.diffres import DiffRes
from skaudio.layers.resolution.frequency import DiffResF, DiffResTF

__all__ = [
    "AvgMaxPool",
    "AvgPool",
    "ChangeHopSize",
    "ConvAvgPool",
    "DiffRes",
    "DiffResF",
    "DiffResTF",
    "MaxPool",
]
