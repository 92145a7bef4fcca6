"""DiffRes against its scorer alone, forward and backward, from 300 to 30 000 frames.

Run ``python tests/benchmarks/bench_diffres.py``; it takes two minutes and prints Markdown.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable

import torch
from _timing import compare
from torch import Tensor

from skaudio.layers import DiffRes

BATCH, BANDS, RATE = 8, 128, 0.75
REPEATS = {30_000: 7, 3000: 9, 1000: 21, 300: 51}
KEEP_MEMORY = {name: str(2**33) for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")}
"""Settings by which glibc asks the kernel for memory once, not for every large tensor anew."""

RATIO_WANTED, GROWTH_WANTED = 1.6, 11


def log_power(n_frames: int) -> Tensor:
    """Noise whose loudness comes and goes, so that scores differ between frames."""
    loudness = torch.sin(torch.arange(n_frames) / 20)[:, None] * 4 - 6
    return loudness + torch.randn(BATCH, n_frames, BANDS)


def step(layer: DiffRes, x: Tensor, scorer_only: bool) -> Callable[[], None]:
    """One training step's forward and backward, the features being data.

    Backward starts from gradients that lie ready, as if a network behind had sent them.
    """
    to_score = torch.ones(BATCH, x.shape[1], 1)
    to_feature = torch.randn_like(layer(x)["feature"])

    def run() -> None:
        layer.zero_grad()
        if scorer_only:
            torch.sigmoid(layer.scorer(x)).backward(to_score)
        else:
            ret = layer(x)
            torch.autograd.backward(
                [ret["feature"], ret["guide_loss"]], [to_feature, torch.ones(())]
            )

    return run


def page_faults() -> int:
    """Memory pages that the kernel had to hand out so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def measure() -> None:
    """Print the table."""
    torch.manual_seed(0)
    print("| frames | scorer (ms) | DiffRes (ms) | ratio | wanted | page faults per clip second |")
    print("|---|---|---|---|---|---|")
    seconds = {}
    for n_frames, repeats in REPEATS.items():
        layer, x = DiffRes(n_frames, BANDS, RATE), log_power(n_frames)
        candidates = {name: step(layer, x, name == "scorer") for name in ("scorer", "layer")}
        before = page_faults()
        times = compare(candidates, repeats=repeats, warmup=1)
        faults = (page_faults() - before) / (repeats + 1) / (BATCH * n_frames / 100)
        seconds[n_frames] = times
        print(
            f"| {n_frames} | {times['scorer'] * 1e3:.1f} | {times['layer'] * 1e3:.1f} "
            f"| {times['layer'] / times['scorer']:.2f} | {RATIO_WANTED} | {faults:.0f} |",
            flush=True,
        )
    scorer, whole = (seconds[30_000][name] / seconds[3000][name] for name in ("scorer", "layer"))
    print(
        f"\nFrom 3000 to 30 000 frames: {whole:.1f} times (wanted: {GROWTH_WANTED}), "
        f"the scorer alone {scorer:.1f} times.\n"
    )


def main() -> None:
    """Measure in two fresh processes: with glibc's allocator as it is, and made to keep memory."""
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}\n")
    for title, settings in (("glibc as it is", {}), ("glibc keeping memory", KEEP_MEMORY)):
        print(f"{title}: {settings or ''}\n", flush=True)
        subprocess.run([sys.executable, __file__, "here"], env=os.environ | settings, check=True)


if __name__ == "__main__":
    measure() if sys.argv[1:] == ["here"] else main()
