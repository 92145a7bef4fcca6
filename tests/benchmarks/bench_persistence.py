"""Saving and loading a model, against joblib: size of the file, time, and memory.

``python tests/benchmarks/bench_persistence.py`` prints two Markdown tables.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import joblib
import numpy as np
import torch
from _timing import compare

import skaudio
from skaudio.networks import MTSNet

RATE = 8000
NETWORKS = {
    "MTSNet()": MTSNet(),
    "MTSNet(n_filters=(64, 128, 256))": MTSNet(n_filters=(64, 128, 256)),
    "MTSNet(n_filters=(256, 512, 1024))": MTSNet(n_filters=(256, 512, 1024)),
}


def fitted(network: MTSNet) -> skaudio.AudioClassifier:
    rng = np.random.default_rng(0)
    X = rng.normal(scale=0.1, size=(8, RATE // 4)).astype(np.float32)
    frontend = skaudio.LogMelSpectrogram(sample_rate=RATE, n_mels=40)
    model = skaudio.AudioClassifier(network, frontend=frontend, max_epochs=1, random_state=0)
    return model.fit(X, np.arange(8) % 2)


def size_and_time(folder: Path) -> None:
    """Print sizes and times of both ways."""
    print(
        "| network | parameters | file, kB | joblib's, kB | save, ms | joblib | load, ms | joblib |"
    )
    print("|---|---|---|---|---|---|---|---|")
    paths = {"skaudio": folder / "m.skaudio", "joblib": folder / "m.joblib"}
    for name, network in NETWORKS.items():
        model = fitted(network)
        saving = compare(
            {
                "skaudio": partial(skaudio.save, model, paths["skaudio"]),
                "joblib": partial(joblib.dump, model, paths["joblib"]),
            },
            repeats=7,
        )
        loading = compare(
            {
                "skaudio": partial(skaudio.load, paths["skaudio"]),
                "joblib": partial(joblib.load, paths["joblib"]),
            },
            repeats=7,
        )
        n_weights = sum(weight.numel() for weight in model.net_.module_.parameters())
        columns: list[Any] = [f"`{name}`", n_weights]
        columns += [round(path.stat().st_size / 1e3) for path in paths.values()]
        columns += [round(times[key] * 1e3) for times in (saving, loading) for key in times]
        print("|", " | ".join(map(str, columns)), "|")


FRESH = """
import pathlib, re, sys, time
import torch, skaudio.estimators, joblib, skops.io, safetensors.torch
way, path = sys.argv[1:]
load = {"load": skaudio.load, "joblib": joblib.load, "describe": skaudio.describe}[way]
pathlib.Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
status = pathlib.Path("/proc/self/status")
before = int(re.search(r"VmRSS:\\s+(\\d+)", status.read_text())[1])
start = time.perf_counter()
load(path)
seconds = time.perf_counter() - start
peak = int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1])
print(f"{seconds * 1e3:.0f} {(peak - before) / 1e3:.0f}")
"""


def fresh_process(folder: Path) -> None:
    """Print time and memory of the first load of a process, for the largest network (Linux)."""
    print("\n| first call in a process, after the imports | ms | MB at the peak |\n|---|---|---|")
    for way, name in (("load", "m.skaudio"), ("joblib", "m.joblib"), ("describe", "m.skaudio")):
        command = [sys.executable, "-c", FRESH, way, str(folder / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        label = {"joblib": "`joblib.load`"}.get(way, f"`skaudio.{way}`")
        print("|", " | ".join([label, *done.stdout.split()]), "|")


def main() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as name:
        size_and_time(Path(name))
        fresh_process(Path(name))


if __name__ == "__main__":
    main()
