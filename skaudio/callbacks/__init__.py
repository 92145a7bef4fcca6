"""skorch callbacks: what happens around training steps and epochs."""

from skaudio.callbacks.kernel_averaging import KernelAveraging
from skaudio.callbacks.learning_rate import (
    LearningRateCurve,
    PlateauLearningRate,
    StagedLearningRate,
    cosine,
    one_cycle,
)
from skaudio.callbacks.norm_scaling import NormScaling
from skaudio.callbacks.progress import EpochProgress
from skaudio.callbacks.scoring import NamedScores, ValidationScore
from skaudio.callbacks.stopping import BestWeights, EarlyStopping, StopTraining

__all__ = [
    "BestWeights",
    "EarlyStopping",
    "EpochProgress",
    "KernelAveraging",
    "LearningRateCurve",
    "NamedScores",
    "NormScaling",
    "PlateauLearningRate",
    "StagedLearningRate",
    "StopTraining",
    "ValidationScore",
    "cosine",
    "one_cycle",
]
