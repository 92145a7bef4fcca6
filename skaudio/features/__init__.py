"""From waveforms to features, and transformers of features."""

from skaudio.features.band_scaler import BandScaler
from skaudio.features.cache import FeatureCache
from skaudio.features.log_mel_spectrogram import LogMelSpectrogram
from skaudio.features.mfcc import MFCC
from skaudio.features.pitch_salience import PitchSalience
from skaudio.features.scale_by_group import scale_by_group
from skaudio.features.spectrogram import Spectrogram
from skaudio.features.stacked_features import StackedFeatures
from skaudio.features.temporal_statistics import TemporalStatistics
from skaudio.features.voice_descriptors import VoiceDescriptors
from skaudio.features.voice_statistics import VoiceStatistics

__all__ = [
    "MFCC",
    "BandScaler",
    "FeatureCache",
    "LogMelSpectrogram",
    "PitchSalience",
    "Spectrogram",
    "StackedFeatures",
    "TemporalStatistics",
    "VoiceDescriptors",
    "VoiceStatistics",
    "scale_by_group",
]
