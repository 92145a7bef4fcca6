"""Torch modules that networks are made of, and what a network of one's own needs."""

from skaudio.layers.blocks import ConvBlock, MaskedBlocks
from skaudio.layers.bottleneck_adapter import BottleneckAdapter
from skaudio.layers.constrained import (
    ConstrainedConv1d,
    ConstrainedConv2d,
    ConstrainedDense,
    ConstrainedHead,
    ConstrainedLinear,
)
from skaudio.layers.corpus_conv import CorpusConv
from skaudio.layers.dense_head import DenseHead, VectorNorm
from skaudio.layers.masking import frame_mask, shrink_lengths
from skaudio.layers.multiscale import MultiscaleConv2d
from skaudio.layers.norm_constraint import NormConstrained, NormConstraint, project_norms
from skaudio.layers.normalization import BandNorm, LevelNorm, MaskedBatchNorm2d
from skaudio.layers.pitch_salience import PitchSalience
from skaudio.layers.pooling import AttentionPooling, FramePooling, StatisticsPooling
from skaudio.layers.precision import LinearHead
from skaudio.layers.recurrent import RecurrentLayer
from skaudio.layers.residual import ResidualBlock, SqueezeExcitation
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
from skaudio.layers.same_conv import SameConv2d
from skaudio.layers.self_attention import SelfAttention
from skaudio.layers.separable import DepthwiseConv2d, SeparableConv2d
from skaudio.layers.spectrogram import MFCC, LogMel, Spectrogram
from skaudio.layers.stacked_features import StackedFeatures

__all__ = [
    "MFCC",
    "AttentionPooling",
    "AvgMaxPool",
    "AvgPool",
    "BandNorm",
    "BottleneckAdapter",
    "ChangeHopSize",
    "ConstrainedConv1d",
    "ConstrainedConv2d",
    "ConstrainedDense",
    "ConstrainedHead",
    "ConstrainedLinear",
    "ConvAvgPool",
    "ConvBlock",
    "CorpusConv",
    "DenseHead",
    "DepthwiseConv2d",
    "DiffRes",
    "DiffResF",
    "DiffResTF",
    "FramePooling",
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
    "RecurrentLayer",
    "ResidualBlock",
    "SameConv2d",
    "SelfAttention",
    "SeparableConv2d",
    "Spectrogram",
    "SqueezeExcitation",
    "StackedFeatures",
    "StatisticsPooling",
    "VectorNorm",
    "frame_mask",
    "project_norms",
    "shrink_lengths",
]
