"""Cost of the features of voices, in CPU time for each second of sound.

``python tests/benchmarks/bench_voice.py`` prints two Markdown tables. Processor time is counted,
which other programs disturb less; run it with ``OMP_NUM_THREADS=1``.
"""

from __future__ import annotations

import platform
import time
import tracemalloc
from collections.abc import Callable

import librosa
import numpy as np
from numpy.typing import NDArray

from skaudio.features import (
    LogMelSpectrogram,
    PitchSalience,
    StackedFeatures,
    TemporalStatistics,
    VoiceDescriptors,
    VoiceStatistics,
)

RATE = 16000
SECONDS = 2
BOUND = 5.0
MOMENTS = (
    "mean", "std", "p1", "p10", "p25", "p50", "p75", "p90", "p99", "mean_abs_diff", "slope",
    "skewness", "kurtosis",
)  # fmt: skip


def voices(n_clips: int, seconds: int) -> NDArray[np.float32]:
    """Make glides of a buzz, with noise."""
    rng = np.random.default_rng(0)
    time_axis = np.arange(seconds * RATE) / RATE
    clips = np.empty((n_clips, len(time_axis)), dtype=np.float32)
    for clip in clips:
        f0 = rng.uniform(90, 250) * 2 ** (0.3 * np.sin(2 * np.pi * rng.uniform(0.3, 2) * time_axis))
        phase = 2 * np.pi * np.cumsum(f0) / RATE
        buzz = sum(np.cos(k * phase + k * k) / k for k in range(1, 15))
        clip[:] = 0.1 * buzz + 0.01 * rng.standard_normal(len(time_axis))
    return clips


def log_mel() -> LogMelSpectrogram:
    """Log-mel spectrogram of 64 bands in frames of 25 ms every 10 ms."""
    return LogMelSpectrogram(win_length=400, hop_length=160, n_mels=64, fmin=30, log="ln", eps=1e-7)


def milliseconds(run: Callable[[], object], seconds_of_sound: float, repeats: int = 5) -> float:
    """Processor time for each second of sound, the smallest of several runs."""
    run()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times) / seconds_of_sound * 1e3


def cost() -> None:
    """Print what each block takes."""
    clips = voices(40, SECONDS)
    # As many bands as 64 log-mels and 30 cepstral coefficients.
    bands = np.concatenate([log_mel().fit_transform(clips)] * 2, axis=1)[:, :94]
    statistics = TemporalStatistics((*MOMENTS, *(f"delta_{name}" for name in MOMENTS)))
    modulation = TemporalStatistics([f"octave{k}" for k in range(1, 8)])
    stack = StackedFeatures([("logmel", log_mel()), ("pitch", PitchSalience())], average=2)
    candidates: dict[str, Callable[[], object]] = {
        "`VoiceStatistics`, 791 columns": lambda: VoiceStatistics().fit_transform(clips),
        "`PitchSalience`, 60 lags": lambda: PitchSalience().fit_transform(clips),
        "`LogMelSpectrogram`, 64 bands": lambda: log_mel().fit_transform(clips),
        "`TemporalStatistics` of 94 bands and their deltas, and modulation of 30": lambda: (
            statistics.fit_transform(bands), modulation.fit_transform(bands[:, :30])
        ),
    }  # fmt: skip
    sound = len(clips) * SECONDS
    times = {name: milliseconds(run, sound) for name, run in candidates.items()}
    print("| features, every 10 ms | ms of CPU per second of sound | wanted |")
    print("|---|---|---|")
    for name, value in times.items():
        print(f"| {name} | {value:.2f} | |")
    print(f"| together | {sum(times.values()):.2f} | {BOUND:g} |")
    others: dict[str, Callable[[], object]] = {
        "`VoiceDescriptors` alone": lambda: VoiceDescriptors().fit_transform(clips),
        "log-mel and salience by `StackedFeatures`": lambda: stack.fit_transform(clips),
    }
    for name, run in others.items():
        print(f"| {name} | {milliseconds(run, sound):.2f} | |")
    pyin = milliseconds(lambda: [_pyin(clip) for clip in clips[:4]], 4 * SECONDS, repeats=2)
    print(f"| `librosa.pyin`, for the pitch alone | {pyin:.0f} | |")


def _pyin(clip: NDArray[np.float32]) -> object:
    return librosa.pyin(clip, fmin=60, fmax=600, sr=RATE, hop_length=160, frame_length=640)


def memory() -> None:
    """Print the memory that the descriptors of one long recording take, with the result."""
    print("| one clip of | waveform, MB | memory taken, MB |")
    print("|---|---|---|")
    for seconds in (10, 60, 300):
        clips = [np.tile(voices(1, 10)[0], seconds // 10)]
        tracemalloc.start()
        VoiceDescriptors().fit_transform(clips)
        beyond = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        print(f"| {seconds} s | {clips[0].nbytes / 2**20:.1f} | {beyond / 2**20:.1f} |")


def main() -> None:
    """Print both tables."""
    print(f"numpy {np.__version__}, librosa {librosa.__version__}, {platform.machine()}\n")
    cost()
    print()
    memory()


if __name__ == "__main__":
    main()
