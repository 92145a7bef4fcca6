"""What ``audio_pipeline`` costs: features, training and prediction, on one core.

``OMP_NUM_THREADS=1 python tests/benchmarks/bench_pipeline.py`` prints two Markdown tables. The
clips are synthetic voices of two seconds, as many as a fold of a small corpus of emotions has.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from skaudio import BlockScaler, audio_pipeline

RATE = 16000
SECONDS = 2
N_CLIPS = 480
N_COLUMNS = 20_000


def voices(n_clips: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Make buzzes of gliding pitch, shaped by two resonances, in pauses and noise."""
    t = np.arange(SECONDS * RATE) / RATE
    clips = np.empty((n_clips, len(t)), np.float32)
    for clip in clips:
        pitch = rng.uniform(90, 250) * 2 ** (0.3 * np.sin(2 * np.pi * rng.uniform(0.3, 2) * t))
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        formants = rng.uniform([300, 900], [800, 2500])
        voice = sum(
            np.sin(k * phase) * np.exp(-np.abs(k * pitch - formants[:, None]) / 300).sum(axis=0)
            for k in range(1, 25)
        )
        clip[:] = 0.1 * voice * (np.sin(2 * np.pi * 1.5 * t) > -0.5) + 0.003 * rng.normal(
            size=t.shape
        )
    return clips


def cpu(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def features(clips: NDArray[np.float32], labels: NDArray) -> None:
    print("| block, columns | ms of CPU per second of sound | wanted |\n|---|---|---|")
    seconds = clips.size / RATE
    for kind in ("voice", "sound"):
        model = audio_pipeline(kind, speeds=(), random_state=0).fit(clips[:60], labels[:60])
        union, waveforms = model[-1].estimator_[0], list(model[0].transform(clips))
        if kind == "voice":
            for name, block in union.transformer_list:
                n_columns = len(block[-1].mean_)
                duration = cpu(partial(block.transform, waveforms))
                print(f"| `{name}`, {n_columns} | {1000 * duration / seconds:.1f} | |")
        total = cpu(partial(union.transform, waveforms))
        print(
            f"| all of {kind!r} | {1000 * total / seconds:.1f} | {10 if kind == 'voice' else ''} |"
        )


def training(clips: NDArray[np.float32], labels: NDArray, rng: np.random.Generator) -> None:
    print("\n| what | seconds of CPU | wanted |\n|---|---|---|")
    model = audio_pipeline("voice", random_state=0)
    duration = cpu(lambda: clone(model).fit(clips, labels))
    print(f"| fit of {N_CLIPS} clips of {SECONDS} s and two copies of each | {duration:.1f} | |")
    table = rng.normal(size=(3 * N_CLIPS, N_COLUMNS)).astype(np.float32)
    ridge = make_pipeline(BlockScaler(), RidgeClassifier(alpha=0.1, class_weight="balanced"))
    duration = cpu(lambda: ridge.fit(table, np.tile(labels, 3)))
    print(f"| scaling and ridge, {table.shape[0]} x {table.shape[1]} | {duration:.1f} | 5 |")
    model.fit(clips[:60], labels[:60])
    minute = [np.concatenate(list(clips[:30]))]
    duration = min(cpu(lambda: model.predict(minute)) for _ in range(3))
    print(f"| prediction for one clip of a minute | {duration:.2f} | 1 |")
    single = [clips[0]]
    duration = min(cpu(lambda: model.predict(single)) for _ in range(3))
    print(f"| prediction for one clip of {SECONDS} s | {duration:.2f} | |")


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    torch.set_num_threads(1)
    clips, labels = voices(N_CLIPS, rng), np.arange(N_CLIPS) % 7
    with threadpool_limits(1):
        features(clips, labels)
        training(clips, labels, rng)
