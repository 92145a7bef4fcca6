"""Opening sound files, and what their headers say."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import soundfile

from skaudio.audio.waveform import n_samples_at
from skaudio.exceptions import AudioFormatError

__all__ = [
    "HIGHEST_RATE",
    "SUFFIXES",
    "AudioInfo",
    "open_file",
    "probe",
    "shown",
    "whole_rate",
]

SUFFIXES = frozenset(
    {".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64",
     ".snd", ".w64", ".wav", ".wave"}
)  # fmt: skip
"""How the names of sound files end, in lower case."""

# A damaged header may name any rate. Converting from 1 Hz to 16 kHz would make 16000 samples of
# each one; real recordings have 4 kHz to 384 kHz.
_LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000

# libsndfile quietly shortens a file whose header promises more than is there (WAV, AIFF, AU)
# and only says so in its log.
_SHORTENED = re.compile(r"^\s*(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
# Programs that write into a pipe cannot know the length beforehand and write the largest one.
_UNKNOWN_LENGTH = 0x7FFF0000

# What libsndfile says of a FLAC or MP3 file without a length.
_NO_LENGTH = 2**63 - 1

# Upper bound of how much sound a byte can hold: an Opus packet of silence is a byte or two for
# up to 5760 samples, a FLAC frame of silence at least 11 bytes for up to 65535.
_SAMPLES_PER_BYTE = 2**13


class AudioInfo(NamedTuple):
    """What the header of a sound file says.

    Attributes
    ----------
    sample_rate : int
        Samples per second, in Hz.
    n_samples : int
        Samples per channel.
    n_channels : int
        1 for mono, 2 for stereo.

    See Also
    --------
    probe : Read the header of a file.
    """

    sample_rate: int
    n_samples: int
    n_channels: int

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate

    def n_samples_at(self, sample_rate: int) -> int:
        """Compute how many samples :func:`read` returns of the whole file at another rate.

        Parameters
        ----------
        sample_rate : int
            In Hz.

        Returns
        -------
        int
        """
        return n_samples_at(self.n_samples, self.sample_rate, whole_rate(sample_rate))


def probe(path: str | os.PathLike[str]) -> AudioInfo:
    """Read a sound file's header without decoding its samples.

    Parameters
    ----------
    path : str or pathlib.Path
        A file of any format that libsndfile knows: WAV, FLAC, Ogg, MP3, AIFF ...

    Returns
    -------
    AudioInfo

    Raises
    ------
    AudioFormatError
        If the file is missing, empty, truncated, without samples, no sound file, or no file at
        all but a folder, a pipe or a device.

    See Also
    --------
    read : Read the samples.

    Examples
    --------
    >>> from skaudio.audio import probe
    >>> probe("take_07.wav")  # doctest: +SKIP
    AudioInfo(sample_rate=44100, n_samples=132300, n_channels=2)
    """
    with open_file(path) as file:
        return AudioInfo(file.samplerate, file.frames, file.channels)


@contextmanager
def open_file(path: str | os.PathLike[str]) -> Iterator[soundfile.SoundFile]:
    """Open a sound file and check what its header says."""
    _check_kind(path)
    try:
        with Path(path).open("rb") as handle:
            # libsndfile would take "-" for the standard input and knows no names over 1023 bytes
            # or outside UTF-8. On Windows its descriptors are not those of Python.
            source = str(path) if os.name == "nt" else handle.fileno()
            with soundfile.SoundFile(source, closefd=False) as file:
                _check_header(file, shown(path), Path(path).stat().st_size)
                yield file
    except OSError as error:
        raise AudioFormatError(_why_not_opened(path, error)) from error
    except soundfile.LibsndfileError as error:
        raise AudioFormatError(
            f"{shown(path)}: cannot be read ({error.error_string.rstrip('.')}), expected WAV, "
            "FLAC, Ogg, MP3 or another format of libsndfile. Convert the file or leave it out."
        ) from error


def _check_kind(path: str | os.PathLike[str]) -> None:
    """Refuse what is no regular file before opening it: a pipe would be waited for."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError) as error:  # ValueError: a null character
        raise AudioFormatError(_why_not_opened(path, error)) from error
    if stat.S_ISDIR(found.st_mode):
        raise AudioFormatError(
            f"{shown(path)}: is a folder, expected a sound file. Pass the files in it, or use "
            "load_folder."
        )
    if not stat.S_ISREG(found.st_mode):
        raise AudioFormatError(
            f"{shown(path)}: is a pipe, socket or device, expected a sound file. Write its "
            "content to a file first."
        )
    if found.st_size == 0:
        raise AudioFormatError(
            f"{shown(path)}: is empty (0 bytes), expected a sound file. Copy it again or leave "
            "it out."
        )


def _why_not_opened(path: str | os.PathLike[str], error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        remedy = "" if Path(path).is_absolute() else f"; a relative path starts from {Path.cwd()}"
        reason = f"no such file, expected a sound file. Check the spelling{remedy}."
    else:
        reason = (
            f"cannot be opened ({getattr(error, 'strerror', None) or error}), expected a sound "
            "file. Check its name and your permissions."
        )
    return f"{shown(path)}: {reason}"


def _check_header(file: soundfile.SoundFile, name: str, n_bytes: int) -> None:
    for claimed, found in _SHORTENED.findall(file.extra_info):
        if int(found) < int(claimed) < _UNKNOWN_LENGTH:
            raise AudioFormatError(
                f"{name}: truncated, holds {found} bytes of samples, expected {claimed} as its "
                "header says. Copy it again or leave it out."
            )
    if file.frames == 0:
        raise AudioFormatError(
            f"{name}: holds no samples, expected at least one. Record it again or leave it out."
        )
    if file.frames == _NO_LENGTH:
        raise AudioFormatError(
            f"{name}: does not say how many samples it holds, expected a header with the length. "
            "Programs that write into a pipe leave it out: convert the file."
        )
    if not 0 < file.frames <= n_bytes * _SAMPLES_PER_BYTE:
        raise AudioFormatError(
            f"{name}: damaged, its header says {file.frames} samples, expected no more than "
            f"{n_bytes} bytes can hold. Copy it again or leave it out."
        )
    if not _LOWEST_RATE <= file.samplerate <= HIGHEST_RATE:
        raise AudioFormatError(
            f"{name}: has a sample rate of {file.samplerate} Hz, expected {_LOWEST_RATE} to "
            f"{HIGHEST_RATE}. Its header is damaged or wrong: copy it again or leave it out."
        )


def whole_rate(sample_rate: float) -> int:
    """Check a rate to convert to: soxr and the grids of samples need a whole number."""
    if not 1 <= sample_rate <= HIGHEST_RATE or sample_rate != int(sample_rate):
        raise ValueError(
            f"sample_rate is {sample_rate}, but expected a whole number of Hz from 1 to "
            f"{HIGHEST_RATE}."
        )
    return int(sample_rate)


def shown(path: str | os.PathLike[str]) -> str:
    """Write a file name so that it can be printed: not every name is valid UTF-8."""
    return os.fsencode(path).decode(errors="backslashreplace")
