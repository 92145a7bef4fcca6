"""Time of ``AudioClassifier.fit`` against a plain torch loop, and of reading files lazily.

Run ``python tests/benchmarks/bench_fit.py``; with SKAUDIO_DATA set, the second table is measured
on the 3000 recordings of FSDD, otherwise on as many synthetic ones.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
from _timing import compare
from torch.utils.data import DataLoader, TensorDataset

from skaudio import AudioClassifier, LogMelSpectrogram
from skaudio.audio import read
from skaudio.datasets import make_tones
from skaudio.networks import MTSNet

EPOCHS, BATCH, N_CLIPS = 3, 32, 640


def plain_loop(X: np.ndarray, y: np.ndarray, network: MTSNet) -> None:
    """Train as one would by hand."""
    module = network.build(X.shape[1], 10, X.shape[2])
    layers = [layer for layer in module.modules() if hasattr(layer, "update_kernels")]
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    data = TensorDataset(torch.from_numpy(X)[:, None], torch.from_numpy(y))
    module.train()
    for _ in range(EPOCHS):
        for inputs, target in DataLoader(data, batch_size=BATCH, shuffle=True):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(module(inputs), target)
            loss.backward()
            optimizer.step()
            for layer in layers:
                layer.update_kernels()
            loss.item()


def bench_overhead() -> None:
    """Steps of about 20 ms, features in memory."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_CLIPS, 64, 96)).astype(np.float32)
    y = rng.integers(10, size=N_CLIPS)
    network = MTSNet(n_filters=(8, 16), tempo_factors=())
    model = AudioClassifier(network, max_epochs=EPOCHS, batch_size=BATCH, random_state=0)
    seconds = compare(
        {
            "plain loop over a DataLoader": lambda: plain_loop(X, y, network),
            "AudioClassifier.fit": lambda: model.fit(X, y),
        },
        repeats=9,
        warmup=1,
    )
    base, ours = seconds.values()
    step = base / (EPOCHS * N_CLIPS / BATCH)
    print(f"{EPOCHS} epochs of {N_CLIPS} clips, steps of {1000 * step:.1f} ms\n")
    print("| training | seconds |\n|---|---|")
    for name, value in seconds.items():
        print(f"| {name} | {value:.3f} |")
    print(f"\nratio {ours / base:.3f}, bound 1.05\n")


def recordings(folder: Path) -> tuple[list[str], np.ndarray]:
    """Paths and labels of FSDD, or of synthetic clips like it."""
    if "SKAUDIO_DATA" in os.environ:
        base = Path(os.environ["SKAUDIO_DATA"])
        table = pd.read_csv(base / "fsdd.csv")
        return [str(base / name) for name in table["file"]], table["label"].to_numpy()
    X, y = make_tones(3000, duration=(0.14, 0.8), random_state=0)
    paths = [str(folder / f"{i}.wav") for i in range(len(X))]
    for path, clip in zip(paths, X, strict=True):
        soundfile.write(path, clip, 8000)
    return paths, y


def bench_reading() -> None:
    """Two epochs from memory and two from files, with the same front end and network."""
    with tempfile.TemporaryDirectory() as folder:
        paths, y = recordings(Path(folder))
        waveforms = [read(path)[0] for path in paths]
        frontend = LogMelSpectrogram(sample_rate=8000)
        seconds = {}
        for crop in (None, 0.5):
            model = AudioClassifier(frontend=frontend, crop=crop, max_epochs=2, random_state=0)
            seconds[crop] = compare(
                {"memory": lambda: model.fit(waveforms, y), "files": lambda: model.fit(paths, y)},  # noqa: B023
                repeats=3,
                warmup=0,
            )
    print("| two epochs of 3000 clips | from memory | from files | ratio | bound |")
    print("|---|---|---|---|---|")
    for crop, times in seconds.items():
        name = "whole clips" if crop is None else f"crops of {crop} s"
        ratio = times["files"] / times["memory"]
        print(f"| {name} | {times['memory']:.1f} s | {times['files']:.1f} s | {ratio:.2f} | 1.3 |")


if __name__ == "__main__":
    start = time.perf_counter()
    bench_overhead()
    bench_reading()
    print(f"\n(took {time.perf_counter() - start:.0f} s)")
