"""Frames of a batch of waveforms, from which the modules of features compute."""

from __future__ import annotations

from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional

from skaudio.layers.precision import at_least_float32, widest_float

__all__ = ["Framed", "Lengths", "PadMode", "groups_of_clips", "in_dtype_of", "no_autocast"]

PadMode = Literal["constant", "edge", "reflect", "symmetric"]
Lengths = TypeVar("Lengths", int, NDArray[np.int64], Tensor)


class Framed(nn.Module):
    """Base of the modules that cut waveforms into windowed frames.

    The buffers are constants: they move between devices with the module and are not part of its
    ``state_dict``.
    """

    window: Tensor

    def __init__(self, window: ArrayLike, hop_length: int, center: bool, pad_mode: PadMode) -> None:
        super().__init__()
        window = np.asarray(window, np.float64)
        rounded = window.astype(np.float32)
        # As the sum of two float32 numbers, which together hold 48 bits: a module with a float64
        # buffer could not be moved to a device without float64.
        self._constant("window", np.stack([rounded, window - rounded]))
        self.n_fft = len(window)
        self.hop_length = hop_length
        self.center = center
        self.pad_mode = pad_mode

    def n_frames(self, n_samples: Lengths) -> Lengths:
        """Count the frames of a clip.

        Parameters
        ----------
        n_samples : int, or ndarray or Tensor of int
            Samples of a clip, or of several.

        Returns
        -------
        int, ndarray or Tensor
            At least 1, in the form of `n_samples`.
        """
        # A clip shorter than a frame, for which the rest is negative, is padded to one frame.
        rest = n_samples + self._margin * 2 - self.n_fft
        return rest * (rest > 0) // self.hop_length + 1

    def padded_length(self, n_samples: Lengths) -> Lengths:
        """Compute the length to which a clip can be zero-padded without a change of its features.

        It is the same for all clips of as many frames, which can then share a batch.

        Parameters
        ----------
        n_samples : int, or ndarray or Tensor of int
            Samples of a clip, or of several.

        Returns
        -------
        int, ndarray or Tensor
            At least `n_samples`, and in its form. Where a clip's border is mirrored or repeated
            it cannot be moved: there it is `n_samples` itself.
        """
        if self.center and self.pad_mode != "constant":
            return n_samples
        # The last frame ends n_fft after its start. There is one more frame only once a whole hop
        # follows, so that one sample less changes nothing.
        last = (self.n_frames(n_samples) - 1) * self.hop_length
        return last + self.n_fft - self._margin * 2 + self.hop_length - 1

    @property
    def _margin(self) -> int:
        """Samples added before and after a clip."""
        return self.n_fft // 2 if self.center else 0

    def _constant(self, name: str, values: ArrayLike) -> None:
        self.register_buffer(name, torch.tensor(np.asarray(values, np.float32)), persistent=False)

    def _frames(self, waveform: Tensor, lengths: Tensor | None) -> Tensor:
        """Cut frames, ``(batch, n_frames, n_fft)``; the window is not yet applied."""
        waveform = waveform.to(widest_float(waveform.device))
        if self.center and self.pad_mode != "constant":
            length = waveform.shape[1] if lengths is None else lengths[:, None]
            place = torch.arange(-self._margin, waveform.shape[1] + self._margin)
            place = _inside(place.to(waveform.device), length, self.pad_mode)
            padded = waveform.gather(1, place.expand(len(waveform), -1))
        else:
            if lengths is not None:
                place = torch.arange(waveform.shape[1], device=waveform.device)
                waveform = waveform.masked_fill(place >= lengths[:, None], 0)
            padded = functional.pad(waveform, (self._margin, self._margin))
        missing = max(self.n_fft - padded.shape[1], 0)
        return functional.pad(padded, (0, missing)).unfold(1, self.n_fft, self.hop_length)

    def _magnitude(self, frames: Tensor, power: float) -> Tensor:
        """Compute the magnitude to a power; `frames` as :meth:`_frames` gives them."""
        spectrum = torch.fft.rfft(frames * self.window.to(frames.dtype).sum(0))
        squared = spectrum.real.square() + spectrum.imag.square()
        if power == 2:
            return squared
        # The slope of a root is infinite at 0. The clamp's is 0 there: digital silence gets no
        # gradient.
        return squared.clamp(min=torch.finfo(squared.dtype).tiny).pow(power / 2)


def in_dtype_of(features: Tensor, waveform: Tensor) -> Tensor:
    """Return features in the dtype of the waveform, but never in half precision."""
    # Decibels between -100 and 100 are 0.06 apart in float16, and 0.5 in bfloat16.
    return features.to(at_least_float32(waveform.dtype))


def no_autocast(waveform: Tensor) -> torch.autocast:
    """Switch off autocast where the waveform is."""
    return torch.autocast(waveform.device.type, enabled=False)


def groups_of_clips(frames: Tensor) -> tuple[Tensor, ...]:
    """Split frames into clips to be worked on together: one by one on a CPU, else all at once."""
    # A second of sound is some 0.3 MB of float64 frames, and as much of spectra: it stays in the
    # cache. Of a whole batch, each step would write to memory what the next one has to read again.
    return frames.split(1 if frames.device.type == "cpu" else len(frames))


def _inside(place: Tensor, length: int | Tensor, pad_mode: str) -> Tensor:
    """Find which of a clip's `length` samples :func:`numpy.pad` puts at a place outside of it."""
    if pad_mode == "edge":
        return torch.minimum(place.clamp(min=0), torch.as_tensor(length - 1, device=place.device))
    # Mirrored at both ends, a clip repeats itself: abcd|cb|abcd... where the outermost samples are
    # the mirrors ("reflect"), abcd|dcba|abcd... where the mirrors follow them ("symmetric").
    period = (2 * length - 2) if pad_mode == "reflect" else 2 * length
    period = torch.as_tensor(period, device=place.device).clamp(min=1)
    place = place.remainder(period)
    mirrored = period - place - int(pad_mode == "symmetric")
    return torch.where(place < length, place, mirrored)
