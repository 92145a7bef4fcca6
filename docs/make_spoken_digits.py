"""Make the bundled spoken digits with espeak-ng; not needed to use them.

``python docs/make_spoken_digits.py`` writes ``spoken_digits.flac`` (all clips, one after the
other) and ``spoken_digits.csv`` (where each one starts and what it is) into
``skaudio/datasets/data``. It needs espeak-ng 1.51 on the path. Every random choice comes from
one seed, so a second run gives the same samples.
"""

from __future__ import annotations

import csv
import itertools
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from scipy.signal import lfilter

SAMPLE_RATE = 8000
ESPEAK_RATE = 22050
SEED = 20261121
N_TAKES = 2
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORDS_PER_MINUTE = {"slow": 115, "normal": 170, "fast": 250}
# The mark sets the melody of the word: falling, rising, level.
MARKS = (".", "?", ",")
LEAST_STEP = 1 / 1024  # 11 bits a sample: still below the noise, and half the size of 16


class Voice(NamedTuple):
    """One speaker: espeak-ng's voice and pitch, and what its settings do not reach."""

    espeak: str
    pitch: int
    tract: float  # scales all formants, as a shorter vocal tract does
    tilt: float  # first-order spectral tilt of the microphone: dull < 0 < bright
    snr: float  # speech over background noise in decibels


VOICES = {
    "alder": Voice("en-us", 45, 1.00, 0.0, 32.0),
    "ash": Voice("en-us+f2", 60, 1.02, 0.2, 28.0),
    "birch": Voice("en-gb+f4", 50, 1.00, -0.3, 32.0),
    "cedar": Voice("en-gb-scotland+m1", 40, 0.98, 0.3, 26.0),
    "elm": Voice("en-029+m7", 35, 0.97, -0.2, 30.0),
    "fir": Voice("en-us+m8", 50, 1.02, 0.1, 30.0),
    "hazel": Voice("en-gb-x-rp+Alex", 55, 1.00, -0.2, 32.0),
    "larch": Voice("en-us-nyc+Gene", 30, 0.98, 0.1, 28.0),
    "maple": Voice("en-gb-x-gbclan+f3", 55, 1.01, 0.1, 30.0),
    "oak": Voice("en-gb-x-gbcwmd+m3", 30, 0.97, -0.2, 28.0),
    "pine": Voice("en-us+Annie", 75, 1.05, 0.0, 26.0),
    "rowan": Voice("en-029+f5", 65, 1.04, 0.2, 30.0),
}


def speak(word: str, voice: Voice, words_per_minute: float, pitch: float) -> np.ndarray:
    """Synthesise `word` with espeak-ng; return samples at `ESPEAK_RATE`."""
    command = ["espeak-ng", "--stdout", "-v", voice.espeak]
    command += ["-s", f"{words_per_minute:.0f}", "-p", f"{np.clip(pitch, 0, 99):.0f}", word]
    wav = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(wav[44:], "<i2") / 32768


def trim(waveform: np.ndarray, floor_db: float = -40.0) -> np.ndarray:
    """Cut the silence at both ends, leaving 10 ms."""
    loud = np.flatnonzero(np.abs(waveform) > np.abs(waveform).max() * 10 ** (floor_db / 20))
    margin = ESPEAK_RATE // 100
    return waveform[max(loud[0] - margin, 0) : loud[-1] + margin]


def record(speech: np.ndarray, voice: Voice, rng: np.random.Generator) -> np.ndarray:
    """Simulate a recording at 8 kHz: vocal tract, pauses, noise, spectral tilt, level."""
    speech = soxr.resample(speech, ESPEAK_RATE * voice.tract, SAMPLE_RATE)
    before, after = rng.uniform(0.02, 0.15, size=2) * SAMPLE_RATE
    clip = np.pad(speech, (int(before), int(after)))
    noise = lfilter([1.0], [1.0, -0.7], rng.standard_normal(len(clip)))
    snr = voice.snr + rng.uniform(-4, 4)
    clip = clip + noise * (speech.std() / noise.std() * 10 ** (-snr / 20))
    clip = lfilter([1.0, -voice.tilt], [1.0], clip)
    clip *= 10 ** (rng.uniform(-14, -2) / 20) / np.abs(clip).max()
    return np.round(clip / LEAST_STEP) * LEAST_STEP


def make() -> tuple[list[np.ndarray], list[dict]]:
    """Return all clips, and one row of the table for each."""
    rng = np.random.default_rng(SEED)
    clips, rows, start = [], [], 0
    kinds = itertools.product(VOICES.items(), WORDS_PER_MINUTE.items(), DIGITS, range(N_TAKES))
    for (speaker, voice), (tempo, wpm), digit, _ in kinds:
        text = digit + str(rng.choice(MARKS))
        pitch = voice.pitch + rng.uniform(-12, 12)
        speech = trim(speak(text, voice, wpm * rng.uniform(0.88, 1.12), pitch))
        clips.append(record(speech, voice, rng))
        rows.append(
            {"start": start, "n_samples": len(clips[-1]), "digit": digit,
             "speaker": speaker, "tempo": tempo}
        )  # fmt: skip
        start += len(clips[-1])
    return clips, rows


def write(folder: Path) -> None:
    """Write the sound and the table into `folder`."""
    clips, rows = make()
    sound = np.round(np.concatenate(clips) * 32768).astype(np.int16)
    soundfile.write(folder / "spoken_digits.flac", sound, SAMPLE_RATE, compression_level=1.0)
    with (folder / "spoken_digits.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    write(Path(__file__).parents[1] / "skaudio" / "datasets" / "data")
