"""Reproducible chance that leaves torch's global generators as they were."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["INITIAL_WEIGHTS", "ORDER", "SPLIT", "STEP", "WINDOW", "rng_for", "seeded"]

# What a stream of random numbers is for; streams of different purpose are independent.
INITIAL_WEIGHTS, ORDER, STEP, WINDOW, SPLIT = range(5)

# Torch layers such as dropout draw from one global generator per process, so two fits in two
# threads take turns: a fit holds the lock for a training step, not for the whole training.
_LOCK = threading.RLock()


def rng_for(seed: int, *key: int) -> np.random.Generator:
    """Return numpy's generator for one purpose, such as (ORDER, epoch)."""
    return np.random.default_rng((seed, *key))


@contextmanager
def seeded(device: str | torch.device, seed: int, *key: int) -> Iterator[torch.Generator]:
    """Seed torch's generators for one purpose, and put them back afterwards.

    Yields the CPU's generator. What is drawn depends on `seed` and `key` alone, so training
    can be resumed at any step without saving the state of a generator.
    """
    number = int(np.random.SeedSequence((seed, *key)).generate_state(1, np.uint64)[0] >> 1)
    device = torch.device(device)
    cuda = [device] if device.type == "cuda" else []
    with _LOCK, torch.random.fork_rng(devices=cuda):
        generator = torch.default_generator.manual_seed(number)
        if cuda:
            torch.cuda.manual_seed(number)
        yield generator
