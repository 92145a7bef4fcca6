"""Sound files in, waveforms out."""

from skaudio.audio.cutting import fix_length, stretch
from skaudio.audio.loader import AudioLoader
from skaudio.audio.reading import SUFFIXES, AudioInfo, probe, read
from skaudio.audio.resampling import resample

__all__ = [
    "SUFFIXES",
    "AudioInfo",
    "AudioLoader",
    "fix_length",
    "probe",
    "read",
    "resample",
    "stretch",
]
