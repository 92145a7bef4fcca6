"""Torch modules that networks are made of, and what a network of one's own needs."""

from skaudio.layers.blocks import ConvBlock, MaskedBlocks
from skaudio.layers.constrained import (
    ConstrainedConv1d,
    ConstrainedConv2d,
    ConstrainedDense,
    ConstrainedHead,
    ConstrainedLinear,
)
from skaudio.layers.masking import frame_mask, shrink_lengths
from skaudio.layers.multiscale import MultiscaleConv2d
from skaudio.layers.norm_constraint import NormConstrained, NormConstraint, project_norms
from skaudio.layers.normalization import BandNorm, LevelNorm, MaskedBatchNorm2d
from skaudio.layers.pitch_salience import PitchSalience
from skaudio.layers.pooling import AttentionPooling
from skaudio.layers.precision import LinearHead
from skaudio.layers.resolution import (
    AvgMaxPool,
    AvgPool,
    ChangeHopSize,
    ConvAvgPool,
    DiffRes,
    DiffResF,
    DiffResTF,
    MaxPool,
)
from skaudio.layers.separable import DepthwiseConv2d, SeparableConv2d
from skaudio.layers.spectrogram import MFCC, LogMel, Spectrogram
from skaudio.layers.stacked_features import StackedFeatures

__all__ = [
    "MFCC",
    "AttentionPooling",
    "AvgMaxPool",
    "AvgPool",
    "BandNorm",
    "ChangeHopSize",
    "ConstrainedConv1d",
    "ConstrainedConv2d",
    "ConstrainedDense",
    "ConstrainedHead",
    "ConstrainedLinear",
    "ConvAvgPool",
    "ConvBlock",
    "DepthwiseConv2d",
    "DiffRes",
    "DiffResF",
    "DiffResTF",
    "LevelNorm",
    "LinearHead",
    "LogMel",
    "MaskedBatchNorm2d",
    "MaskedBlocks",
    "MaxPool",
    "MultiscaleConv2d",
    "NormConstrained",
    "NormConstraint",
    "PitchSalience",
    "SeparableConv2d",
    "Spectrogram",
    "StackedFeatures",
    "frame_mask",
    "project_norms",
    "shrink_lengths",
]
