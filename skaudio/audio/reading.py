"""Reading the samples of sound files."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from math import ceil, gcd
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from skaudio._validation import LARGEST_SAMPLE
from skaudio.audio.headers import open_file, shown, whole_rate
from skaudio.audio.waveform import Waveform, n_samples_at, resample, time_slice
from skaudio.exceptions import AudioFormatError, warn

__all__ = ["read", "read_with_rate", "warn_of_upsampling"]

# Samples of all channels that are decoded at a time, 4 MiB of float32: a header's length is only
# believed as far as samples arrive, so that a damaged one cannot ask for more memory than this.
_BLOCK_SAMPLES = 2**20

# An MP3 frame continues in bits of frames before it (the "bit reservoir", up to 511 bytes), which
# are missing after a seek; and frames overlap by half. This many samples, 16 frames of the longest
# kind, are decoded ahead and dropped.
_MP3_LEAD = 16 * 1152

# An Ogg page has at most a header of 27 bytes, a table of 255 and 255 segments of 255 bytes each.
_OGG_PAGE_BYTES = 27 + 255 + 255 * 255

# Reach of the conversion filter to either side, in samples at the lower of the two rates. soxr's
# high quality passes 0.91 of the band and attenuates by A = 126 dB (20 bits plus headroom) from
# the band's end on: a transition of d = (1 - 0.91) / 2 of the sample rate. By Kaiser's formula
# the filter has (A - 8) / (14.36 d) = 183 taps, 92 to either side. Measured: from 100 on, nothing
# changes by more than float32's rounding.
_FILTER_REACH = 128

# Files converted upwards by less keep (nearly) all bands filled: 44.1 to 48 kHz is 1.088.
_HARMLESS_FACTOR = 1.1


def read(
    path: str | os.PathLike[str],
    *,
    offset: float = 0.0,
    duration: float | None = None,
    sample_rate: int | None = None,
) -> tuple[Waveform, int]:
    """Read a sound file, or a part of it, as a mono waveform.

    Only the part asked for is decoded, with what a format's decoder and the conversion of the
    sample rate need around it. It equals that part of the whole file's waveform up to rounding.

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
        Rate in Hz to convert to, as :func:`librosa.load` does; by default the file keeps its own.

    Returns
    -------
    waveform : Waveform of shape (n_samples,), float32
        Mean of all channels, finite. In [-1, 1], unless a file of floats goes beyond.
    sample_rate : int
        Its rate in Hz.

    Raises
    ------
    AudioFormatError
        If the file is missing, empty, truncated, damaged or no sound file, if it holds NaN or
        infinity, or if it has no samples after `offset`.
    ValueError
        If `offset` is negative, `duration` not positive, or `sample_rate` out of range.

    See Also
    --------
    AudioLoader : Read many files, as a step of a pipeline.
    probe : Read the header only.

    Examples
    --------
    >>> from skaudio.audio import read
    >>> waveform, sample_rate = read(
    ...     "take_07.wav", offset=1.0, duration=2.0, sample_rate=16000
    ... )  # doctest: +SKIP
    """
    waveform, recorded_rate = read_with_rate(path, offset, duration, sample_rate)
    return waveform, recorded_rate if sample_rate is None else int(sample_rate)


def read_with_rate(
    path: str | os.PathLike[str],
    offset: float = 0.0,
    duration: float | None = None,
    sample_rate: int | None = None,
) -> tuple[Waveform, int]:
    """Read as :func:`read` does, and return the rate at which the file was recorded."""
    with open_file(path) as file:
        recorded = file.samplerate
        rate = recorded if sample_rate is None else whole_rate(sample_rate)
        n_samples = n_samples_at(file.frames, recorded, rate)
        wanted = time_slice(rate, offset, duration)
        # A file too short for one sample at the new rate is refused by resample.
        if wanted.start >= max(n_samples, 1):
            raise AudioFormatError(
                f"{shown(path)}: lasts {file.frames / recorded:.3f} s, expected more than the "
                f"offset of {offset:.3f} s. Lower offset or leave it out."
            )
        stop = n_samples if wanted.stop is None else min(wanted.stop, n_samples)
        first, last = _span_before_conversion(wanted.start, stop, recorded, rate, file.frames)
        waveform = _decode(file, path, first, last)
    try:
        converted = resample(waveform, recorded, rate)
    except AudioFormatError as error:
        raise AudioFormatError(f"{shown(path)}: {error}") from None
    ahead = first * rate // recorded
    return Waveform(converted[wanted.start - ahead : stop - ahead], rate), recorded


def warn_of_upsampling(paths: Sequence[str], rates: Sequence[int], sample_rate: int) -> None:
    """Warn once if files are converted to a much higher rate than they were recorded at.

    Conversion adds no frequencies: above half the old rate the bands of a spectrogram stay empty,
    which a network can mistake for a property of the class.

    Parameters
    ----------
    paths : sequence of str
        The files; the first one that was recorded at a lower rate is named in the warning.
    rates : sequence of int
        Rate in Hz of each file, as :func:`probe` finds it.
    sample_rate : int
        Rate in Hz that they are converted to. Up to 1.1 times the file's own draws no warning.

    Warns
    -----
    SkaudioWarning
        If `sample_rate` is more than 1.1 times the rate of a file.

    See Also
    --------
    probe : Read the rate of a file.
    resample : Convert a waveform to another rate.
    AudioLoader : Read files at one rate, with this warning.
    """
    low = [i for i, rate in enumerate(rates) if sample_rate > _HARMLESS_FACTOR * rate]
    if low:
        warn(
            f"{len(low)} of {len(paths)} clips are converted to {sample_rate:g} Hz from a lower "
            f"rate, such as {shown(paths[low[0]])} from {rates[low[0]]} Hz: their bands above "
            f"{rates[low[0]] / 2:g} Hz are empty. Set sample_rate to the lowest rate of the clips, "
            f"here {min(rates)}, in all steps, or lower fmax."
        )


def _span_before_conversion(
    start: int, stop: int, recorded: int, rate: int, n_frames: int
) -> tuple[int, int]:
    """Choose the samples of a file to convert so that those from `start` to `stop` are exact.

    Both grids of samples coincide at every ``recorded / gcd`` samples of the file, where
    ``rate / gcd`` samples of the result have passed. A part that begins there is converted to
    the same points in time as the whole file.
    """
    if recorded == rate:
        return start, stop
    period = recorded // gcd(recorded, rate)
    reach = ceil(_FILTER_REACH * max(1, recorded / rate))
    first = max(start * recorded // rate - reach, 0) // period * period
    last = -(-stop * recorded // rate) + reach
    return first, min(last, n_frames)


def _decode(
    file: soundfile.SoundFile, path: str | os.PathLike[str], start: int, stop: int
) -> NDArray[np.float32]:
    """Decode the samples of a file from `start` to `stop`, mixed to mono."""
    name = shown(path)
    position = _seekable(file, path, start)
    lead = start - position
    blocks = []
    size = max(1, _BLOCK_SAMPLES // file.channels)
    try:
        if position > 0:
            file.seek(position)
        while position < stop:
            block = file.read(min(size, stop - position), dtype="float32", always_2d=True)
            if len(block) == 0:
                raise AudioFormatError(
                    f"{name}: truncated, ends after {position} samples, expected {file.frames} as "
                    "its header says. Copy it again or leave it out."
                )
            blocks.append(_mix(block))
            position += len(block)
    except soundfile.LibsndfileError as error:
        raise AudioFormatError(
            f"{name}: damaged or truncated ({error.error_string.rstrip('.')}), expected "
            f"{file.frames} samples as its header says. Copy it again or leave it out."
        ) from error
    waveform = (blocks[0] if len(blocks) == 1 else np.concatenate(blocks))[lead:]
    _check_samples(waveform, name, start / file.samplerate, file.samplerate)
    return waveform


def _seekable(file: soundfile.SoundFile, path: str | os.PathLike[str], start: int) -> int:
    """Choose where to begin decoding so that the samples from `start` on are right."""
    if file.format == "MP3":
        return max(0, start - _MP3_LEAD)
    if file.format == "OGG" and file.subtype == "VORBIS" and start > 0:
        # The end of the last page is cut to the length of the recording, which libsndfile (1.2)
        # overlooks when it seeks into that page: what it then reads is late by what was cut off.
        return max(0, min(start, file.frames - _samples_of_last_page(path) - 1))
    return start


def _samples_of_last_page(path: str | os.PathLike[str]) -> int:
    """Count the samples in the last page of an Ogg file, from where its pages say that they end."""
    with Path(path).open("rb") as handle:
        handle.seek(-min(2 * _OGG_PAGE_BYTES, Path(path).stat().st_size), os.SEEK_END)
        tail = handle.read()
    # A header: "OggS", two bytes, the position as a signed number (-1 if no packet ends here).
    pages = [match.start() for match in re.finditer(b"OggS", tail)]
    ends = [int.from_bytes(tail[at + 6 : at + 14], "little", signed=True) for at in pages]
    *others, last = [end for end in ends if end >= 0] or [0]
    return last - (others[-1] if others else 0)


def _mix(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average the channels; column by column, 20 times as fast as a mean over short rows."""
    if block.shape[1] == 1:
        return block[:, 0]
    with np.errstate(invalid="ignore"):  # infinity and its negative, reported afterwards
        mixed = block[:, 0] / block.shape[1]  # divided first, so that no sum overflows
        for channel in block.T[1:]:
            mixed += channel / block.shape[1]
    return mixed


def _check_samples(waveform: NDArray[np.float32], name: str, start: float, rate: int) -> None:
    """Refuse samples that are not finite, or so large that their power would overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        # The energy is one cheap pass, and bounds every sample: x_t^2 <= sum x^2.
        energy = np.dot(waveform, waveform)
    if energy <= LARGEST_SAMPLE**2:
        return
    wrong = np.flatnonzero(~(np.abs(waveform) <= LARGEST_SAMPLE))
    if len(wrong):
        raise AudioFormatError(
            f"{name}: holds {waveform[wrong[0]]:.4g} at {start + wrong[0] / rate:.3f} s, expected "
            "finite samples, in [-1, 1]. Repair the file or leave it out."
        )
