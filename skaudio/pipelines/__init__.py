"""Building blocks of pipelines, and whole pipelines that recognise."""

from skaudio.pipelines.audio_pipeline import audio_pipeline
from skaudio.pipelines.block_scaler import BlockScaler
from skaudio.pipelines.network_features import NetworkFeatures
from skaudio.pipelines.random_convolutions import RandomConvolutions
from skaudio.pipelines.speed_copies import SpeedCopies

__all__ = ["BlockScaler", "NetworkFeatures", "RandomConvolutions", "SpeedCopies", "audio_pipeline"]
