"""Torch modules, one idea a file."""

from skaudio.layers.constrained import (
    ConstrainedConv1d,
    ConstrainedConv2d,
    ConstrainedDense,
    ConstrainedHead,
    ConstrainedLinear,
)
from skaudio.layers.diffres import DiffRes
from skaudio.layers.diffres_frequency import DiffResF, DiffResTF
from skaudio.layers.level_norm import LevelNorm
from skaudio.layers.multiscale import MultiscaleConv2d
from skaudio.layers.norm_constraint import NormConstrained, NormConstraint, project_norms
from skaudio.layers.pooling import AttentionPooling
from skaudio.layers.pooling_baselines import (
    AvgMaxPool,
    AvgPool,
    ChangeHopSize,
    ConvAvgPool,
    MaxPool,
)
from skaudio.layers.separable import DepthwiseConv2d, SeparableConv2d
from skaudio.layers.spectrogram import MFCC, LogMel, Spectrogram

__all__ = [
    "MFCC",
    "AttentionPooling",
    "AvgMaxPool",
    "AvgPool",
    "ChangeHopSize",
    "ConstrainedConv1d",
    "ConstrainedConv2d",
    "ConstrainedDense",
    "ConstrainedHead",
    "ConstrainedLinear",
    "ConvAvgPool",
    "DepthwiseConv2d",
    "DiffRes",
    "DiffResF",
    "DiffResTF",
    "LevelNorm",
    "LogMel",
    "MaxPool",
    "MultiscaleConv2d",
    "NormConstrained",
    "NormConstraint",
    "SeparableConv2d",
    "Spectrogram",
    "project_norms",
]
