"""Log-mel spectrograms against a loop over librosa: throughput on two cores, and memory.

``python tests/benchmarks/bench_features.py`` prints two Markdown tables. Both sides get two
workers of joblib; librosa's are threads or processes, whichever is faster.
"""

from __future__ import annotations

import platform
import resource
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import joblib
import librosa
import numpy as np
from _timing import compare
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from skaudio.features import LogMelSpectrogram

RATE = 16000
CASES: dict[str, dict[str, Any]] = {
    "n_fft 512, hop 128, 64 bands": {"n_fft": 512, "hop_length": 128, "n_mels": 64},
    "n_fft 512, hop 128, 40 bands": {"n_fft": 512, "hop_length": 128, "n_mels": 40},
    "n_fft 512, hop 160, 80 bands": {"n_fft": 512, "hop_length": 160, "n_mels": 80},
    "n_fft 1024, hop 256, 80 bands": {"n_fft": 1024, "hop_length": 256, "n_mels": 80},
    "librosa's: n_fft 2048, hop 512, 128 bands": {"n_fft": 2048, "hop_length": 512, "n_mels": 128},
}
BOUND = 3.0
MEGABYTE = 2**20


def log_mel(clip: NDArray[np.float32], settings: dict[str, Any]) -> NDArray[np.float32]:
    return librosa.power_to_db(librosa.feature.melspectrogram(y=clip, sr=RATE, **settings))


def librosa_loop(
    clips: NDArray[np.float32], settings: dict[str, Any], workers: str
) -> Callable[[], NDArray[np.float32]]:
    def run() -> NDArray[np.float32]:
        parallel = joblib.Parallel(n_jobs=2, prefer=workers)
        return np.stack(parallel(joblib.delayed(log_mel)(clip, settings) for clip in clips))

    return run


def throughput(clips: NDArray[np.float32]) -> None:
    """Print how many times faster the transformer is, on two cores and per core."""
    print(
        "| 64 clips of 3 s | librosa, ms | skaudio, ms | ratio | wanted | ratio of CPU time "
        "| largest difference, dB |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, settings in CASES.items():
        transformer = LogMelSpectrogram(RATE, n_jobs=2, **settings)
        candidates = {
            "threads": librosa_loop(clips, settings, "threads"),
            "processes": librosa_loop(clips, settings, "processes"),
            "skaudio": lambda transformer=transformer: transformer.transform(clips),
        }
        error = np.abs(candidates["threads"]() - candidates["skaudio"]()).max()
        with threadpool_limits(1):  # two workers have two cores; the loop is faster so
            times = compare(candidates, repeats=11)
            alone = LogMelSpectrogram(RATE, **settings)
            cpu = cpu_time(lambda settings=settings: [log_mel(clip, settings) for clip in clips])
            cpu /= cpu_time(lambda alone=alone: alone.transform(clips))
        best = min("threads", "processes", key=times.get)
        ratio = times[best] / times["skaudio"]
        print(
            f"| {name} | {times[best] * 1e3:.0f} ({best}) | {times['skaudio'] * 1e3:.0f} "
            f"| {ratio:.1f} | at least {BOUND:g} | {cpu:.1f} | {error:.0e} |"
        )


def cpu_time(run: Callable[[], object], repeats: int = 7) -> float:
    """Processor seconds of one worker, which other programs disturb less; the smallest."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return min(seconds)


def memory() -> None:
    """Print the memory needed beyond the result, as Python and the system see it."""
    print("| clips of 1 s | result, MB | traced beyond it, MB | resident beyond it, MB | wanted |")
    print("|---|---|---|---|---|")
    transformer = LogMelSpectrogram(RATE, n_mels=64, n_jobs=2)
    transformer.transform(noise(64, 1))
    for n_clips in (500, 2000, 8000):
        clips = noise(n_clips, 1)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        result = transformer.transform(clips).nbytes
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before - result
        tracemalloc.start()
        transformer.transform(clips)
        traced = tracemalloc.get_traced_memory()[1] - result
        tracemalloc.stop()
        print(
            f"| {n_clips} | {result / MEGABYTE:.0f} | {traced / MEGABYTE:.1f} "
            f"| {max(resident, 0) / MEGABYTE:.1f} | under 64 |"
        )


def noise(n_clips: int, seconds: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    clips = rng.standard_normal((n_clips, seconds * RATE), dtype=np.float32)
    clips *= 0.1
    return clips


def main() -> None:
    """Print both tables."""
    print(f"numpy {np.__version__}, librosa {librosa.__version__}, {platform.machine()}\n")
    memory()  # first, while the largest resident size is still small
    print()
    throughput(noise(64, 3))


if __name__ == "__main__":
    main()
