"""Which segment of each clip is looked at, and batches of them.

Training batches are shuffled and hold clips of similar lengths; prediction batches hold
segments of equal length, so that none is padded to another's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skaudio.estimators._data import ClipSource, Dataset
from skaudio.estimators._torch_state import CROP, ORDER, corpus_seed, rng_for

__all__ = [
    "EqualLengthBatches",
    "Segments",
    "TrainingBatches",
    "centre_crops",
    "count_epochs",
    "count_rounds",
    "covering_crops",
    "random_crops",
    "whole_clips",
]

Inputs = dict[str, Tensor]
"""``x`` and, where they are needed, ``lengths`` and ``weight``, all with one row per segment; and
``corpus``, the number of the corpus that they all are of, in each row."""

Batch = tuple[Inputs, Tensor]
Indices = NDArray[np.int64]

# Clips of unequal length are sorted within runs of this many batches. With lengths drawn at random
# a batch is padded to its longest clip, up to half of it for nothing; sorted over 16 batches, a
# batch spans a sixteenth of the range of lengths, and little is left to gain by longer runs.
# Sorted over all clips, each epoch would consist of the same batches.
_SORTED_BATCHES = 16


@dataclass(frozen=True)
class Segments:
    """Parts of clips, one per row; a part that outlasts its clip is padded at its end."""

    clip: Indices
    start: Indices
    length: Indices

    def __len__(self) -> int:
        return len(self.clip)


def whole_clips(lengths: Indices) -> Segments:
    """Take every clip from beginning to end."""
    return Segments(np.arange(len(lengths)), np.zeros_like(lengths), lengths)


def centre_crops(lengths: Indices, crop: int) -> Segments:
    """Take one crop from the middle of every clip."""
    starts = np.maximum(lengths - crop, 0) // 2  # a clip shorter than the crop starts at 0
    return Segments(np.arange(len(lengths)), starts, np.full_like(lengths, crop))


def random_crops(lengths: Indices, crop: int, rng: np.random.Generator) -> Segments:
    """Take one crop from every clip, its start uniform over the places where it fits."""
    # One draw per clip, whatever the lengths: the crop of a clip then depends on its number and
    # the epoch alone, and neither on readers nor on batches.
    places = np.maximum(lengths - crop, 0) + 1
    starts = (rng.random(len(lengths)) * places).astype(np.int64)
    return Segments(np.arange(len(lengths)), starts, np.full_like(lengths, crop))


def covering_crops(lengths: Indices, crop: int) -> Segments:
    """Take crops side by side over every clip, the last one flush with its end."""
    counts = np.maximum(-(-lengths // crop), 1)  # rounded up
    clip = np.repeat(np.arange(len(lengths)), counts)
    # Number of each crop within its clip: its row, less the rows of all clips before.
    nth = np.arange(len(clip)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.minimum(nth * crop, np.maximum(lengths - crop, 0)[clip])
    return Segments(clip, starts, np.full_like(starts, crop))


_Task = tuple[Dataset, Segments, Indices]


class TrainingBatches:
    """Shuffled batches, of each data set in turn; each pass over this object is one epoch.

    Each data set is shuffled and repeated for ever on its own, and an epoch goes on where the one
    before it stopped, in the middle of a data set if need be.

    Parameters
    ----------
    datasets : sequence of Dataset
    crop : int or None
        Samples of the random crop that is taken of each clip whenever its turn comes; None takes
        whole clips.
    batch_size : int
    seed : int
    n_rounds : int, optional
        Batches of each data set in an epoch. By default as many as show about as many clips as
        there are; of a single data set, each clip once.
    first_epoch : int, default=0
        Number of the epoch that the next pass is.
    """

    def __init__(
        self,
        datasets: Sequence[Dataset],
        *,
        crop: int | None,
        batch_size: int,
        seed: int,
        n_rounds: int | None = None,
        first_epoch: int = 0,
    ) -> None:
        self.datasets = datasets
        self.crop = crop
        self.batch_size = batch_size
        self.seed = seed
        self.n_rounds = n_rounds or count_rounds([len(part) for part in datasets], batch_size)
        self.epoch = first_epoch

    def __len__(self) -> int:
        return self.n_rounds * len(self.datasets)

    def __iter__(self) -> Iterator[Batch]:
        first = self.epoch * self.n_rounds
        self.epoch += 1
        streams = [self._stream(dataset, first) for dataset in self.datasets]
        tasks = (next(stream) for _ in range(self.n_rounds) for stream in streams)
        n_readers = max(dataset.source.n_readers for dataset in self.datasets)

        def load(task: _Task) -> Batch:
            dataset, segments, rows = task
            return _load_batch(dataset, segments, rows, dataset.corpus)

        return _load_ahead(load, tasks, n_readers)

    def _stream(self, dataset: Dataset, first: int) -> Iterator[_Task]:
        """Yield batches for ever, from the one with the number `first`."""
        repetition, skipped = divmod(first, count_batches(len(dataset), self.batch_size))
        while True:
            segments, batches = self._shuffle(dataset, repetition)
            for rows in batches[skipped:]:
                yield dataset, segments, rows
            repetition, skipped = repetition + 1, 0

    def _shuffle(self, dataset: Dataset, repetition: int) -> tuple[Segments, list[Indices]]:
        seed = corpus_seed(self.seed, dataset.corpus)
        lengths = dataset.source.lengths
        if self.crop is None:
            segments = whole_clips(lengths)
        else:
            segments = random_crops(lengths, self.crop, rng_for(seed, CROP, repetition))
        return segments, self._order(segments.length, rng_for(seed, ORDER, repetition))

    def _order(self, lengths: Indices, rng: np.random.Generator) -> list[Indices]:
        order = rng.permutation(len(lengths))
        if lengths.min() == lengths.max():
            return _divide(order, self.batch_size)
        # A stable sort keeps the random order of clips of equal length.
        run = self.batch_size * _SORTED_BATCHES
        runs = [order[i : i + run] for i in range(0, len(order), run)]
        order = np.concatenate([rows[np.argsort(lengths[rows], kind="stable")] for rows in runs])
        batches = _divide(order, self.batch_size)
        # Else a repetition would go from short clips to long ones, run by run.
        return [batches[i] for i in rng.permutation(len(batches))]


class EqualLengthBatches:
    """Batches in which all segments have the same length, so that none needs padding.

    A clip's prediction then cannot depend on its neighbours.

    Parameters
    ----------
    clips : Dataset or ClipSource
        Of a data set, the batches bring targets and weights along.
    segments : Segments
    batch_size : int
    corpus : int, default=0
        Number of the corpus that the clips of a source are of; a data set knows its own.

    Attributes
    ----------
    order : ndarray of shape (n_segments,)
        Rows of `segments` in the order in which the batches bring them.
    """

    def __init__(
        self, clips: Dataset | ClipSource, segments: Segments, batch_size: int, corpus: int = 0
    ) -> None:
        self.clips = clips
        self.corpus = clips.corpus if isinstance(clips, Dataset) else corpus
        self.segments = segments
        self.order = np.argsort(segments.length, kind="stable")
        lengths = segments.length[self.order]
        groups = np.split(self.order, np.flatnonzero(np.diff(lengths)) + 1)
        self.batches = [
            group[i : i + batch_size] for group in groups for i in range(0, len(group), batch_size)
        ]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        source = self.clips.source if isinstance(self.clips, Dataset) else self.clips

        def load(rows: Indices) -> Batch:
            return _load_batch(self.clips, self.segments, rows, self.corpus)

        return _load_ahead(load, self.batches, source.n_readers)


def count_batches(n_clips: int, batch_size: int) -> int:
    """Count the batches of an epoch: a last batch of one clip joins the one before it.

    Batch norm could make nothing of a single clip.
    """
    return max(1, n_clips // batch_size + (n_clips % batch_size > 1))


def count_rounds(n_clips: Sequence[int], batch_size: int) -> int:
    """Count the batches of each data set in an epoch that shows about as many clips as there are.

    Of a single data set, `n_clips` of one number, each clip once.
    """
    return -(-sum(count_batches(n, batch_size) for n in n_clips) // len(n_clips))


def count_epochs(n_rounds: int, *, staged: bool) -> int:
    """Return the epochs of a training whose length the user leaves open.

    A network needs a number of steps to learn, however few the clips: 2000, of each data set. But
    with very few clips it has seen them often enough after 150 epochs, and with very many it
    should see each of them 10 times. Stages end by themselves.
    """
    return 1000 if staged else min(max(-(-2000 // n_rounds), 10), 150)


def _divide(order: Indices, batch_size: int) -> list[Indices]:
    return np.split(order, np.arange(1, count_batches(len(order), batch_size)) * batch_size)


def _load_batch(
    clips: Dataset | ClipSource, segments: Segments, rows: Indices, corpus: int
) -> Batch:
    source = clips.source if isinstance(clips, Dataset) else clips
    inputs = _collate([_load_segment(source, segments, row) for row in rows])
    inputs["corpus"] = torch.full((len(rows),), corpus)
    if not isinstance(clips, Dataset):
        return inputs, torch.empty(len(rows))
    if clips.weight is not None:
        inputs["weight"] = torch.from_numpy(clips.weight[segments.clip[rows]])
    return inputs, torch.from_numpy(clips.target[segments.clip[rows]])


def _load_segment(source: ClipSource, segments: Segments, row: int) -> NDArray[np.float32]:
    """Read one segment, padded to its full length."""
    length = int(segments.length[row])
    part = source.load(int(segments.clip[row]), int(segments.start[row]), length)
    return _pad_end(part, length)


def _pad_end(part: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Lengthen a waveform with silence, or each band of a feature with its own lowest value."""
    missing = length - part.shape[-1]
    if missing <= 0:
        return part
    # Features may be decibels, where 0 is loud, and bands of several kinds: the lowest value of a
    # band in the clip is its silence.
    fill = np.zeros_like(part[:1]) if part.ndim == 1 else part.min(axis=-1, keepdims=True)
    return np.concatenate([part, fill.repeat(missing, axis=-1)], axis=-1)


def _collate(parts: list[NDArray[np.float32]]) -> Inputs:
    lengths = [part.shape[-1] for part in parts]
    longest = max(lengths)
    x = torch.from_numpy(np.stack([_pad_end(part, longest) for part in parts]))
    if min(lengths) == longest:
        return {"x": x}
    return {"x": x, "lengths": torch.tensor(lengths)}


def _load_ahead(
    load: Callable[[Any], Batch], tasks: Iterable[Any], n_readers: int
) -> Iterator[Batch]:
    """Load batches in order; with readers, while the ones before are being used."""
    if n_readers == 0:
        yield from map(load, tasks)
        return
    pool = ThreadPoolExecutor(n_readers, thread_name_prefix="skaudio-read")
    waiting: deque[Future[Batch]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(load, task))
            # Two batches per reader are under way or ready: enough to bridge a slow file, and a
            # bound for the memory.
            if len(waiting) > 2 * n_readers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
