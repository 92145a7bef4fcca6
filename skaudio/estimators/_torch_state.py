"""Torch's state for the whole process, set for a while and put back: random generators, threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = [
    "CROP",
    "INITIAL_WEIGHTS",
    "ORDER",
    "SPLIT",
    "STEP",
    "corpus_seed",
    "rng_for",
    "seeded",
    "threads",
]

# What a stream of random numbers is for; streams of different purpose are independent.
INITIAL_WEIGHTS, ORDER, STEP, CROP, SPLIT, CORPUS = range(6)

# Torch layers such as dropout draw from one global generator per process, so two fits in two
# threads take turns: a fit holds the lock for a training step, not for the whole training.
_LOCK = threading.RLock()

# The number of torch's threads before any call of `threads`, then those that calls have asked for
# and still need.
_REQUESTED: list[list[int]] = []


def rng_for(seed: int, *key: int) -> np.random.Generator:
    """Return numpy's generator for one purpose, such as (ORDER, epoch)."""
    return np.random.default_rng((seed, *key))


def corpus_seed(seed: int, corpus: int) -> int:
    """Return the seed of one corpus among others; that of the first is the plain one.

    So the first corpus is shuffled and split as it would be alone.
    """
    if corpus == 0:
        return seed
    return int(np.random.SeedSequence((seed, CORPUS, corpus)).generate_state(1, np.uint64)[0])


@contextmanager
def seeded(device: str | torch.device, seed: int, *key: int) -> Iterator[torch.Generator]:
    """Seed torch's generators for one purpose, and put them back afterwards.

    Yields the CPU's generator. What is drawn depends on `seed` and `key` alone, so training
    can be resumed at any step without saving the state of a generator.
    """
    # SeedSequence mixes its inputs, so neighbouring seeds and steps share no stream; torch takes
    # 63 bits, as its seeds are signed.
    number = int(np.random.SeedSequence((seed, *key)).generate_state(1, np.uint64)[0] >> 1)
    device = torch.device(device)
    cuda = [device] if device.type == "cuda" else []
    with _LOCK, torch.random.fork_rng(devices=cuda):
        generator = torch.default_generator.manual_seed(number)
        if cuda:
            torch.cuda.manual_seed(number)
        yield generator


@contextmanager
def threads(n_threads: int | None) -> Iterator[None]:
    """Let torch compute with this many threads; None leaves their number alone.

    Sums of floats depend on how they are divided among threads, so the number decides about
    the last bits of a result. It is one number for the whole process: of calls that overlap, the
    last to begin sets it, and when all have ended it is what it was before the first.
    """
    if n_threads is None:
        yield
        return
    number = [n_threads]  # a list of its own, to be told from equal ones
    with _LOCK:
        if not _REQUESTED:
            _REQUESTED.append([torch.get_num_threads()])
        _REQUESTED.append(number)
        torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        with _LOCK:
            _REQUESTED[:] = [other for other in _REQUESTED if other is not number]
            torch.set_num_threads(_REQUESTED[-1][0])
            if len(_REQUESTED) == 1:
                _REQUESTED.clear()
