"""Which part of each clip is looked at: all of it, or windows of one length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skaudio.estimators._chance import WINDOW, rng_for
from skaudio.estimators._clips import ClipSource

__all__ = ["Segments", "centred", "covering", "load_segment", "randomly_placed", "whole"]

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Segments:
    """Parts of clips, one per row; a part that outlasts its clip is padded behind."""

    clip: Integers
    start: Integers
    length: Integers

    def __len__(self) -> int:
        return len(self.clip)


def whole(lengths: Integers) -> Segments:
    """Every clip from beginning to end."""
    return Segments(np.arange(len(lengths)), np.zeros_like(lengths), lengths)


def centred(lengths: Integers, window: int) -> Segments:
    """One window in the middle of every clip."""
    starts = np.maximum(lengths - window, 0) // 2
    return Segments(np.arange(len(lengths)), starts, np.full_like(lengths, window))


def randomly_placed(lengths: Integers, window: int, seed: int, epoch: int) -> Segments:
    """One window somewhere in every clip, elsewhere in each epoch."""
    room = np.maximum(lengths - window, 0) + 1
    starts = (rng_for(seed, WINDOW, epoch).random(len(lengths)) * room).astype(np.int64)
    return Segments(np.arange(len(lengths)), starts, np.full_like(lengths, window))


def covering(lengths: Integers, window: int) -> Segments:
    """Windows side by side over every clip, the last one flush with its end."""
    counts = np.maximum(-(-lengths // window), 1)
    clip = np.repeat(np.arange(len(lengths)), counts)
    nth = np.arange(len(clip)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.minimum(nth * window, np.maximum(lengths - window, 0)[clip])
    return Segments(clip, starts, np.full_like(starts, window))


def load_segment(source: ClipSource, segments: Segments, row: int) -> NDArray[np.float32]:
    """Read one segment, padded to its full length."""
    length = int(segments.length[row])
    part = source.load(int(segments.clip[row]), int(segments.start[row]), length)
    return pad_behind(part, length)


def pad_behind(part: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Lengthen a waveform with silence, or a feature with its own lowest value."""
    missing = length - part.shape[-1]
    if missing <= 0:
        return part
    fill = 0.0 if part.ndim == 1 else part.min()
    widths = [(0, 0)] * (part.ndim - 1) + [(0, missing)]
    return np.pad(part, widths, constant_values=fill)
