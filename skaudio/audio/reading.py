"""One sound file: what it holds, and its samples."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from skaudio.audio.cutting import stretch
from skaudio.audio.resampling import resample
from skaudio.exceptions import AudioFormatError, SampleRateError

__all__ = ["SUFFIXES", "AudioInfo", "probe", "read"]

SUFFIXES = frozenset(
    {".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64",
     ".snd", ".w64", ".wav", ".wave"}
)  # fmt: skip
"""How the names of sound files end, in lower case."""

# libsndfile quietly shortens a file whose header promises more than is there (WAV, AIFF, AU)
# and only says so in its log.
_PROMISE = re.compile(r"^\s*(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
# Programs that write into a pipe cannot know the length beforehand and promise the utmost.
_UNKNOWN_LENGTH = 0x7FFF0000
# An MP3 frame borrows bits from frames before it, which are missing after a seek: this many
# samples (16 frames of the longest kind) are decoded ahead and dropped.
_MP3_LEAD = 16 * 1152


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
    """

    sample_rate: int
    n_samples: int
    n_channels: int

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate


def probe(path: str | os.PathLike[str]) -> AudioInfo:
    """Look at a sound file's header without decoding it.

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
        If the file is missing, empty, truncated, without samples, or no sound file.

    Examples
    --------
    >>> from skaudio.audio import probe
    >>> probe("take_07.wav")  # doctest: +SKIP
    AudioInfo(sample_rate=44100, n_samples=132300, n_channels=2)
    """
    with _open(path) as file:
        return AudioInfo(file.samplerate, file.frames, file.channels)


def read(
    path: str | os.PathLike[str],
    *,
    offset: float = 0.0,
    duration: float | None = None,
    sample_rate: int | None = None,
    expect_rate: int | None = None,
) -> tuple[NDArray[np.float32], int]:
    """Read a sound file, or a stretch of it, as a mono waveform.

    Only the stretch asked for is decoded, and of MP3 and Ogg the packets that lead up to it.

    Parameters
    ----------
    path : str or pathlib.Path
        A file of any format that libsndfile knows: WAV, FLAC, Ogg, MP3, AIFF ...
    offset : float, default=0.0
        Where to start, in seconds.
    duration : float, optional
        How much to read, in seconds; by default all that follows. At the end of the file the
        waveform is shorter.
    sample_rate : int, optional
        Rate in Hz to convert to; by default the file keeps its own.
    expect_rate : int, optional
        Rate in Hz that the file must have been recorded at.

    Returns
    -------
    waveform : ndarray of shape (n_samples,), float32
        Mean of all channels, finite. In [-1, 1], unless a file of floats goes beyond.
    sample_rate : int
        Its rate in Hz.

    Raises
    ------
    AudioFormatError
        If the file is missing, empty, truncated, damaged or no sound file, if it holds NaN or
        infinity, or if it has no samples after `offset`.
    SampleRateError
        If the file was not recorded at `expect_rate`.
    ValueError
        If `offset` is negative or `duration` not positive.

    Examples
    --------
    >>> from skaudio.audio import read
    >>> waveform, sample_rate = read("take_07.wav", offset=1.0, duration=2.0)  # doctest: +SKIP
    """
    with _open(path) as file:
        rate = file.samplerate
        if expect_rate is not None and rate != expect_rate:
            raise SampleRateError(
                f"{file.name}: recorded at {rate} Hz, expected {expect_rate} Hz. "
                f"Pass sample_rate={expect_rate} to AudioLoader to convert while loading."
            )
        waveform = _decode(file, stretch(rate, offset, duration))
    _check_finite(waveform, rate, path)
    if sample_rate is None:
        return waveform, rate
    return resample(waveform, rate, sample_rate), sample_rate


def _open(path: str | os.PathLike[str]) -> soundfile.SoundFile:
    name = os.fspath(path)
    try:
        file = soundfile.SoundFile(name)
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: headerless .raw
        raise AudioFormatError(f"{name}: {_why_unreadable(name, error)}") from error
    try:
        _check_length(file)
    except AudioFormatError:
        file.close()
        raise
    return file


def _why_unreadable(name: str, error: Exception) -> str:
    path = Path(name)
    if not path.exists():
        remedy = "" if path.is_absolute() else f"; a relative path starts from {Path.cwd()}"
        return f"no such file, expected a sound file. Check the spelling{remedy}."
    if path.is_dir():
        return "is a folder, expected a sound file. Pass the files in it, or use load_folder."
    if path.stat().st_size == 0:
        return "is empty (0 bytes), expected a sound file. Copy it again or leave it out."
    reason = getattr(error, "error_string", str(error)).rstrip(".")
    return (
        f"cannot be read ({reason}), expected WAV, FLAC, Ogg, MP3 or another format of "
        "libsndfile. Convert the file or leave it out."
    )


def _check_length(file: soundfile.SoundFile) -> None:
    for promised, found in _PROMISE.findall(file.extra_info):
        if int(found) < int(promised) < _UNKNOWN_LENGTH:
            raise AudioFormatError(
                f"{file.name}: truncated, holds {found} bytes of samples, expected {promised} as "
                "its header says. Copy it again or leave it out."
            )
    if file.frames == 0:
        raise AudioFormatError(
            f"{file.name}: holds no samples, expected at least one. "
            "Record it again or leave it out."
        )


def _decode(file: soundfile.SoundFile, wanted: slice) -> NDArray[np.float32]:
    if wanted.start >= file.frames:
        raise AudioFormatError(
            f"{file.name}: lasts {file.frames / file.samplerate:.3f} s, expected more than the "
            f"offset of {wanted.start / file.samplerate:.3f} s. Lower offset or leave it out."
        )
    stop = file.frames if wanted.stop is None else min(wanted.stop, file.frames)
    lead = min(wanted.start, _MP3_LEAD) if file.format == "MP3" else 0
    first = wanted.start - lead
    try:
        if first > 0:
            file.seek(first)
        samples = file.read(stop - first, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AudioFormatError(
            f"{file.name}: damaged or truncated ({error.error_string.rstrip('.')}), expected "
            f"{file.frames} samples as its header says. Copy it again or leave it out."
        ) from error
    if len(samples) < stop - first:
        raise AudioFormatError(
            f"{file.name}: truncated, ends after {first + len(samples)} samples, expected "
            f"{file.frames} as its header says. Copy it again or leave it out."
        )
    samples = samples[lead:]
    return samples[:, 0] if file.channels == 1 else samples.mean(axis=1)


def _check_finite(waveform: NDArray[np.float32], rate: int, path: str | os.PathLike[str]) -> None:
    with np.errstate(invalid="ignore"):  # infinity and its negative in one file
        # A sum is one cheap pass; in float64 it is finite only if every sample is.
        total = waveform.sum(dtype=np.float64)
    if np.isfinite(total):
        return
    first = int(np.flatnonzero(~np.isfinite(waveform))[0])
    raise AudioFormatError(
        f"{os.fspath(path)}: holds {waveform[first]} at {first / rate:.3f} s of what was read, "
        "expected finite samples. Repair the file or leave it out."
    )
