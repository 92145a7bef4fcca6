"""Batches for training (shuffled, of similar lengths) and for prediction (of equal lengths)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skaudio.estimators._chance import ORDER, rng_for
from skaudio.estimators._clips import ClipSource
from skaudio.estimators._segments import Segments, load_segment, pad_behind

__all__ = ["EqualLengthBatches", "Targets", "TrainingBatches"]

Batch = tuple[dict[str, Tensor], Tensor | tuple[Tensor, Tensor]]
Indices = NDArray[np.int64]

# Clips of unequal length are sorted within runs of this many batches, so that little is padded
# while batches still differ from epoch to epoch.
_SORTED_BATCHES = 16


class Targets:
    """What is to be learned: a target per clip, and a weight per clip where they differ."""

    def __init__(self, value: NDArray, weight: NDArray[np.float64] | None = None) -> None:
        self.value = torch.from_numpy(value)
        self.weight = None if weight is None else torch.from_numpy(weight)

    def __len__(self) -> int:
        return len(self.value)

    def take(self, indices: Indices) -> Tensor | tuple[Tensor, Tensor]:
        chosen = torch.from_numpy(indices)
        if self.weight is None:
            return self.value[chosen]
        return self.value[chosen], self.weight[chosen]


class TrainingBatches:
    """Shuffled batches, new ones in every pass; each pass is one epoch.

    Parameters
    ----------
    source : ClipSource
    targets : Targets
    segments : callable
        Gives the epoch's :class:`Segments`, one per clip.
    batch_size : int
    seed : int
    first_epoch : int, default=0
        Number of the epoch that the next pass is.
    n_workers : int, default=0
        Threads that read batches ahead; 0 reads when asked. The batches do not depend on it.
    """

    def __init__(
        self,
        source: ClipSource,
        targets: Targets,
        segments: Callable[[int], Segments],
        *,
        batch_size: int,
        seed: int,
        first_epoch: int = 0,
        n_workers: int = 0,
    ) -> None:
        self.source = source
        self.targets = targets
        self.segments = segments
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = first_epoch
        self.n_workers = n_workers

    def __len__(self) -> int:
        return count_batches(len(self.source), self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        segments = self.segments(self.epoch)
        order = self._order(segments.length, rng_for(self.seed, ORDER, self.epoch))
        self.epoch += 1
        return _load_ahead(lambda rows: self._load(segments, rows), order, self.n_workers)

    def _order(self, lengths: Indices, rng: np.random.Generator) -> list[Indices]:
        order = rng.permutation(len(lengths))
        if lengths.min() == lengths.max():
            return _cut(order, self.batch_size)
        run = self.batch_size * _SORTED_BATCHES
        runs = [order[i : i + run] for i in range(0, len(order), run)]
        order = np.concatenate([rows[np.argsort(lengths[rows], kind="stable")] for rows in runs])
        batches = _cut(order, self.batch_size)
        return [batches[i] for i in rng.permutation(len(batches))]

    def _load(self, segments: Segments, rows: Indices) -> Batch:
        parts = [load_segment(self.source, segments, row) for row in rows]
        return _collate(parts), self.targets.take(rows)


class EqualLengthBatches:
    """Batches in which all segments have the same length, so that none needs padding.

    A clip's prediction then cannot depend on its neighbours.

    Parameters
    ----------
    source : ClipSource
    segments : Segments
    batch_size : int
    targets : Targets, optional
        One per segment; left out, the batches come without.
    n_workers : int, default=0
        Threads that read batches ahead.

    Attributes
    ----------
    order : ndarray of shape (n_segments,)
        Rows of `segments` in the order in which the batches bring them.
    """

    def __init__(
        self,
        source: ClipSource,
        segments: Segments,
        *,
        batch_size: int,
        targets: Targets | None = None,
        n_workers: int = 0,
    ) -> None:
        self.source = source
        self.segments = segments
        self.targets = targets
        self.n_workers = n_workers
        self.order = np.argsort(segments.length, kind="stable")
        lengths = segments.length[self.order]
        groups = np.split(self.order, np.flatnonzero(np.diff(lengths)) + 1)
        self.batches = [
            group[i : i + batch_size] for group in groups for i in range(0, len(group), batch_size)
        ]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return _load_ahead(self._load, self.batches, self.n_workers)

    def _load(self, rows: Indices) -> Batch:
        parts = [load_segment(self.source, self.segments, row) for row in rows]
        target = torch.empty(len(rows)) if self.targets is None else self.targets.take(rows)
        return _collate(parts), target


def count_batches(n_clips: int, batch_size: int) -> int:
    """Batches that an epoch has: a last batch of one clip joins the one before it."""
    return max(1, n_clips // batch_size + (n_clips % batch_size > 1))


def _cut(order: Indices, batch_size: int) -> list[Indices]:
    return np.split(order, np.arange(1, count_batches(len(order), batch_size)) * batch_size)


def _collate(parts: list[NDArray[np.float32]]) -> dict[str, Tensor]:
    lengths = [part.shape[-1] for part in parts]
    longest = max(lengths)
    x = torch.from_numpy(np.stack([pad_behind(part, longest) for part in parts]))
    if min(lengths) == longest:
        return {"x": x}
    return {"x": x, "lengths": torch.tensor(lengths)}


def _load_ahead(
    load: Callable[[Indices], Batch], batches: list[Indices], n_workers: int
) -> Iterator[Batch]:
    """Load batches in order; with workers, while the ones before are being used."""
    if n_workers == 0:
        yield from map(load, batches)
        return
    pool = ThreadPoolExecutor(n_workers, thread_name_prefix="skaudio-read")
    waiting: deque[Future[Batch]] = deque()
    try:
        for rows in batches:
            waiting.append(pool.submit(load, rows))
            if len(waiting) > 2 * n_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
