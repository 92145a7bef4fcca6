"""From sound files to waveforms."""

from skaudio.audio.headers import SUFFIXES, AudioInfo, probe
from skaudio.audio.loader import AudioLoader
from skaudio.audio.reading import read, warn_of_upsampling
from skaudio.audio.waveform import Waveform, fix_length, resample, time_slice

__all__ = [
    "SUFFIXES",
    "AudioInfo",
    "AudioLoader",
    "Waveform",
    "fix_length",
    "probe",
    "read",
    "resample",
    "time_slice",
    "warn_of_upsampling",
]
