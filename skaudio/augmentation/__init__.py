"""Data augmentation: random changes of clips during training, and only then."""

from skaudio.augmentation._base import Augmentation
from skaudio.augmentation.chain import Chain, OneOf, make_chain, make_one_of
from skaudio.augmentation.feature_noise import FeatureNoise
from skaudio.augmentation.filter import RandomFilter
from skaudio.augmentation.gain import Gain
from skaudio.augmentation.masks import FrequencyMask, TimeMask
from skaudio.augmentation.mixup import draw_mixup, mix
from skaudio.augmentation.noise import AdditiveNoise
from skaudio.augmentation.pitch import PitchShift
from skaudio.augmentation.presets import PresetName, preset
from skaudio.augmentation.recordings import RecordedNoise, Reverberation
from skaudio.augmentation.shift import TimeShift
from skaudio.augmentation.speed import SpeedChange
from skaudio.augmentation.warp import VocalTractWarp

__all__ = [
    "AdditiveNoise",
    "Augmentation",
    "Chain",
    "FeatureNoise",
    "FrequencyMask",
    "Gain",
    "OneOf",
    "PitchShift",
    "PresetName",
    "RandomFilter",
    "RecordedNoise",
    "Reverberation",
    "SpeedChange",
    "TimeMask",
    "TimeShift",
    "VocalTractWarp",
    "draw_mixup",
    "make_chain",
    "make_one_of",
    "mix",
    "preset",
]
