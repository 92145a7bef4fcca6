"""Side-by-side timing: all candidates take turns in one run, so that they share its noise."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def compare(
    candidates: dict[str, Callable[[], object]],
    repeats: int = 20,
    warmup: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each candidate over `repeats` rounds.

    With ``clock=time.process_time`` these are seconds of the processor, which other work on the
    machine disturbs less.
    """
    for run in list(candidates.values()) * warmup:
        run()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, run in candidates.items():
            start = clock()
            run()
            seconds[name].append(clock() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}
