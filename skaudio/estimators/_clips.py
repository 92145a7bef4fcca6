"""Clips by number, whether they lie in memory or in files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from skaudio._validation import Clips
from skaudio.audio import probe, read
from skaudio.exceptions import SampleRateError

__all__ = ["ArrayClips", "ClipSource", "FileClips"]


class ClipSource(Protocol):
    """Numbered clips, each an array with time last."""

    lengths: NDArray[np.int64]
    """Samples or frames of each clip, shape (n_clips,)."""

    def __len__(self) -> int: ...

    def load(self, index: int, start: int, length: int) -> NDArray[np.float32]:
        """Read `length` samples or frames of a clip from `start`; fewer where it ends."""
        ...

    def subset(self, indices: NDArray[np.int64]) -> ClipSource: ...


class ArrayClips:
    """Clips in memory, or in an array mapped from a file, of which a subset makes no copy.

    Parameters
    ----------
    clips : ndarray or list of ndarray
        An array if they have one length, a list of arrays otherwise.
    rows : ndarray of int, optional
        Which of the clips these are; all by default.
    """

    def __init__(self, clips: Clips, rows: NDArray[np.int64] | None = None) -> None:
        self.clips = clips
        self.rows = np.arange(len(clips)) if rows is None else rows
        self.lengths = np.array([clips[row].shape[-1] for row in self.rows], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def load(self, index: int, start: int, length: int) -> NDArray[np.float32]:
        return self.clips[self.rows[index]][..., start : start + length]

    def subset(self, indices: NDArray[np.int64]) -> ArrayClips:
        return ArrayClips(self.clips, self.rows[indices])


class FileClips:
    """Clips in sound files, read when they are needed and only the part that is.

    Parameters
    ----------
    paths : list of str
    sample_rate : int
        The rate in Hz that every file must have.
    n_workers : int
        Threads that read the headers.

    Raises
    ------
    AudioFormatError
        If a file is missing or no readable sound file.
    SampleRateError
        If a file has another sample rate.
    """

    def __init__(self, paths: list[str], sample_rate: int, n_workers: int = 1) -> None:
        self.paths = paths
        self.sample_rate = sample_rate
        with ThreadPoolExecutor(max(1, n_workers)) as pool:
            self.lengths = np.fromiter(pool.map(self._probe_length, paths), dtype=np.int64)

    def _probe_length(self, path: str) -> int:
        info = probe(path)
        if info.sample_rate != self.sample_rate:
            raise SampleRateError(
                f"{path}: recorded at {info.sample_rate} Hz, but the front end expects "
                f"{self.sample_rate} Hz. Set the front end's sample_rate={info.sample_rate}, or "
                f"load with AudioLoader(sample_rate={self.sample_rate}), which converts."
            )
        return info.n_samples

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, index: int, start: int, length: int) -> NDArray[np.float32]:
        waveform, _ = read(
            self.paths[index],
            offset=start / self.sample_rate,
            duration=length / self.sample_rate,
        )
        return waveform

    def subset(self, indices: NDArray[np.int64]) -> FileClips:
        chosen = object.__new__(FileClips)
        chosen.paths = [self.paths[i] for i in indices]
        chosen.sample_rate = self.sample_rate
        chosen.lengths = self.lengths[indices]
        return chosen
