"""Audio recognition with small neural networks, in the style of scikit-learn.

The classes used most are here (``skaudio.AudioClassifier``); everything else is in the
subpackages, which are attributes as well (``skaudio.datasets.load_spoken_digits``).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

# Names are resolved on first use (PEP 562), so that `import skaudio` takes microseconds, and
# worker processes that only load waveforms or compute features never import torch.
_HOMES = {
    "AudioClassifier": "skaudio.estimators",
    "AudioRegressor": "skaudio.estimators",
    "AudioLoader": "skaudio.audio",
    "MultiCorpusClassifier": "skaudio.estimators",
    "BandScaler": "skaudio.features",
    "FeatureCache": "skaudio.features",
    "LogMelSpectrogram": "skaudio.features",
    "MFCC": "skaudio.features",
    "PitchSalience": "skaudio.features",
    "Spectrogram": "skaudio.features",
    "StackedFeatures": "skaudio.features",
    "TemporalStatistics": "skaudio.features",
    "VoiceDescriptors": "skaudio.features",
    "VoiceStatistics": "skaudio.features",
    "BlockScaler": "skaudio.pipelines",
    "NetworkFeatures": "skaudio.pipelines",
    "RandomConvolutions": "skaudio.pipelines",
    "SpeedCopies": "skaudio.pipelines",
    "audio_pipeline": "skaudio.pipelines",
    "describe": "skaudio.persistence",
    "load": "skaudio.persistence",
    "save": "skaudio.persistence",
}
_ROOMS = (
    "audio", "augmentation", "callbacks", "cli", "datasets", "estimators", "exceptions",
    "features", "layers", "losses", "metrics", "networks", "persistence", "pipelines", "plots",
)  # fmt: skip

__all__ = [*_HOMES, *_ROOMS, "__version__"]

if TYPE_CHECKING:
    from skaudio.audio import AudioLoader as AudioLoader
    from skaudio.estimators import AudioClassifier as AudioClassifier
    from skaudio.estimators import AudioRegressor as AudioRegressor
    from skaudio.estimators import MultiCorpusClassifier as MultiCorpusClassifier
    from skaudio.features import MFCC as MFCC
    from skaudio.features import BandScaler as BandScaler
    from skaudio.features import FeatureCache as FeatureCache
    from skaudio.features import LogMelSpectrogram as LogMelSpectrogram
    from skaudio.features import PitchSalience as PitchSalience
    from skaudio.features import Spectrogram as Spectrogram
    from skaudio.features import StackedFeatures as StackedFeatures
    from skaudio.features import TemporalStatistics as TemporalStatistics
    from skaudio.features import VoiceDescriptors as VoiceDescriptors
    from skaudio.features import VoiceStatistics as VoiceStatistics
    from skaudio.persistence import describe as describe
    from skaudio.persistence import load as load
    from skaudio.persistence import save as save
    from skaudio.pipelines import BlockScaler as BlockScaler
    from skaudio.pipelines import NetworkFeatures as NetworkFeatures
    from skaudio.pipelines import RandomConvolutions as RandomConvolutions
    from skaudio.pipelines import SpeedCopies as SpeedCopies
    from skaudio.pipelines.audio_pipeline import audio_pipeline as audio_pipeline


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"skaudio.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'skaudio' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
