"""Building blocks of pipelines, and whole pipelines that recognise."""

from skaudio.pipelines.block_scaler import BlockScaler
from skaudio.pipelines.random_convolutions import RandomConvolutions

__all__ = ["BlockScaler", "RandomConvolutions"]
