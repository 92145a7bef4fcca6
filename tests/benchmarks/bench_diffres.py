"""DiffRes against its scorer alone, forward and backward, from 300 to 30 000 frames.

Run ``python tests/benchmarks/bench_diffres.py``; it takes a minute and prints Markdown.
"""

from __future__ import annotations

import resource
from collections.abc import Callable

import torch
from _timing import compare
from torch import Tensor

from skaudio.layers.diffres import DiffRes

BATCH, BANDS, RATE = 8, 128, 0.75
REPEATS = {300: 31, 1000: 15, 3000: 7, 30_000: 3}
RATIO_WANTED, GROWTH_WANTED = 1.6, 11


def log_power(n_frames: int) -> Tensor:
    """Noise whose loudness comes and goes, so that scores differ between frames."""
    loudness = torch.sin(torch.arange(n_frames) / 20)[:, None] * 4 - 6
    return loudness + torch.randn(BATCH, n_frames, BANDS)


def step(layer: DiffRes, x: Tensor, scorer_only: bool) -> Callable[[], None]:
    """One training step's forward and backward, the features being data."""

    def run() -> None:
        layer.zero_grad()
        if scorer_only:
            loss = torch.sigmoid(layer.scorer(x)).sum()
        else:
            ret = layer(x)
            loss = ret["feature"].mean() + ret["guide_loss"]
        loss.backward()

    return run


def page_faults() -> int:
    """Memory pages that the kernel had to hand out so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def main() -> None:
    """Print the table."""
    torch.manual_seed(0)
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print("| frames | scorer (ms) | DiffRes (ms) | ratio | wanted | page faults per clip second |")
    print("|---|---|---|---|---|---|")
    seconds = {}
    for n_frames, repeats in REPEATS.items():
        layer, x = DiffRes(n_frames, BANDS, RATE), log_power(n_frames)
        candidates = {name: step(layer, x, name == "scorer") for name in ("scorer", "layer")}
        before = page_faults()
        times = compare(candidates, repeats=repeats, warmup=1)
        faults = (page_faults() - before) / (repeats + 1) / (BATCH * n_frames / 100)
        seconds[n_frames] = times["layer"]
        print(
            f"| {n_frames} | {times['scorer'] * 1e3:.1f} | {times['layer'] * 1e3:.1f} "
            f"| {times['layer'] / times['scorer']:.2f} | {RATIO_WANTED} | {faults:.0f} |"
        )
    growth = seconds[30_000] / seconds[3000]
    print(f"\nFrom 3000 to 30 000 frames: {growth:.1f} times (wanted: {GROWTH_WANTED}).")


if __name__ == "__main__":
    main()
