"""Data augmentation: random changes of clips during training, and only then."""

from skaudio.augmentation._base import Augmentation
from skaudio.augmentation.chain import Chain, make_chain
from skaudio.augmentation.feature_noise import FeatureNoise
from skaudio.augmentation.gain import Gain
from skaudio.augmentation.masks import FrequencyMask, TimeMask
from skaudio.augmentation.mixup import draw_mixup, mix
from skaudio.augmentation.noise import AdditiveNoise
from skaudio.augmentation.shift import TimeShift
from skaudio.augmentation.speed import SpeedChange

__all__ = [
    "AdditiveNoise",
    "Augmentation",
    "Chain",
    "FeatureNoise",
    "FrequencyMask",
    "Gain",
    "SpeedChange",
    "TimeMask",
    "TimeShift",
    "draw_mixup",
    "make_chain",
    "mix",
]
