"""From waveforms to features, and transformers of features."""

from skaudio.features.band_scaler import BandScaler
from skaudio.features.cache import FeatureCache
from skaudio.features.log_mel_spectrogram import LogMelSpectrogram
from skaudio.features.mfcc import MFCC
from skaudio.features.spectrogram import Spectrogram
from skaudio.features.temporal_statistics import TemporalStatistics

__all__ = [
    "MFCC",
    "BandScaler",
    "FeatureCache",
    "LogMelSpectrogram",
    "Spectrogram",
    "TemporalStatistics",
]
