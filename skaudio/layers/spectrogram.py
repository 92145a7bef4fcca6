"""Spectral features as torch modules: the transformers of ``skaudio.features`` in a network.

Each module is built from numbers and arrays alone, which the transformer of the same idea hands
over: ``LogMel(**LogMelSpectrogram(n_mels=64).layer_arguments())``.

What is inside runs in float64, whatever autocast says: in float32 the rounding of a loud tone
hides what is 80 dB below it. Devices without float64 (Apple's) compute in float32.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["MFCC", "LogMel", "Spectrogram"]

PadMode = Literal["constant", "edge", "reflect", "symmetric"]
Lengths = TypeVar("Lengths", int, NDArray[np.int64], Tensor)


class _Framed(nn.Module):
    """A module that cuts waveforms into windowed frames.

    The buffers are constants: they move between devices with the module and stay out of its
    ``state_dict``.
    """

    window: Tensor

    def __init__(self, window: ArrayLike, hop_length: int, center: bool, pad_mode: PadMode) -> None:
        super().__init__()
        window = np.asarray(window, np.float64)
        rounded = window.astype(np.float32)
        # As a sum of two, since not every device can hold float64.
        self._constant("window", np.stack([rounded, window - rounded]))
        self.n_fft = len(window)
        self.hop_length = hop_length
        self.center = center
        self.pad_mode = pad_mode

    def n_frames(self, n_samples: Lengths) -> Lengths:
        """Frames of a clip of `n_samples`, an int or integers in an array or tensor."""
        rest = n_samples + self._margin * 2 - self.n_fft
        return rest * (rest > 0) // self.hop_length + 1

    def padded_length(self, n_samples: Lengths) -> Lengths:
        """Give the length to which a clip can be zero-padded without a change of its features.

        It is the same for all clips of as many frames, which can then share a batch.
        """
        if self.center and self.pad_mode != "constant":
            return n_samples
        last = (self.n_frames(n_samples) - 1) * self.hop_length
        return last + self.n_fft - self._margin * 2 + self.hop_length - 1

    @property
    def _margin(self) -> int:
        """Samples added before and behind a clip."""
        return self.n_fft // 2 if self.center else 0

    def _constant(self, name: str, values: ArrayLike) -> None:
        self.register_buffer(name, torch.tensor(np.asarray(values, np.float32)), persistent=False)

    def _frames(self, waveform: Tensor, lengths: Tensor | None) -> Tensor:
        """Windowed frames of shape ``(batch, n_frames, n_fft)``, the window still to be applied."""
        waveform = waveform.to(_widest(waveform.device))
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
        """Magnitude to a power; `frames` as :meth:`_frames` gives them."""
        spectrum = torch.fft.rfft(frames * self.window.to(frames.dtype).sum(0))
        squared = spectrum.real.square() + spectrum.imag.square()
        if power == 2:
            return squared
        # The slope of a root is infinite at 0: digital silence gets none.
        return squared.clamp(min=torch.finfo(squared.dtype).tiny).pow(power / 2)


class Spectrogram(_Framed):
    """Magnitude spectrogram, as :class:`skaudio.features.Spectrogram` computes it.

    Parameters
    ----------
    window : array-like of shape (n_fft,)
    hop_length : int
        Samples from one frame to the next.
    center : bool, default=True
        Whether frame t is centred on sample ``t * hop_length`` rather than starting there.
    pad_mode : {"constant", "edge", "reflect", "symmetric"}, default="constant"
        What lies before and behind a centred clip.
    power : float, default=1.0
        Exponent of the magnitude.

    Shape: input ``(batch, n_samples)``, `lengths` ``(batch,)`` samples of each clip of a batch
    padded behind; output ``(batch, n_fft // 2 + 1, n_frames)``, of which the first
    ``n_frames(lengths)`` frames are those of the clip alone.
    """

    def __init__(
        self,
        window: ArrayLike,
        hop_length: int,
        *,
        center: bool = True,
        pad_mode: PadMode = "constant",
        power: float = 1.0,
    ) -> None:
        super().__init__(window, hop_length, center, pad_mode)
        self.power = power

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Compute the spectrogram."""
        with _no_autocast(waveform):
            frames = self._frames(waveform, lengths)
            magnitude = [self._magnitude(part, self.power) for part in _parts(frames)]
            return _narrow(torch.cat(magnitude).transpose(1, 2), waveform)


class LogMel(_Framed):
    """Log-mel spectrogram, as :class:`skaudio.features.LogMelSpectrogram` computes it.

    Parameters
    ----------
    window : array-like of shape (n_fft,)
    filters : array-like of shape (n_mels, n_fft // 2 + 1)
        Weights of the mel bands.
    hop_length : int
        Samples from one frame to the next.
    center : bool, default=True
        Whether frame t is centred on sample ``t * hop_length`` rather than starting there.
    pad_mode : {"constant", "edge", "reflect", "symmetric"}, default="constant"
        What lies before and behind a centred clip.
    power : float, default=2.0
        Exponent of the magnitude.
    log : {"db", "ln"} or None, default="db"
        Decibels, natural logarithm of the power plus `eps`, or none.
    ref : float or "max", default=1.0
        Power that is 0 dB; "max" is the clip's largest.
    amin : float, default=1e-10
        Smaller powers are taken for this one, in decibels.
    top_db : float or None, default=80.0
        Decibels more than this below the clip's largest are raised to it.
    eps : float, default=1e-6
        Added before the natural logarithm.

    Shape: input ``(batch, n_samples)``, `lengths` ``(batch,)`` samples of each clip of a batch
    padded behind; output ``(batch, n_mels, n_frames)``, of which the first
    ``n_frames(lengths)`` frames are those of the clip alone: `ref` and `top_db` look at them
    only.
    """

    filters: Tensor

    def __init__(
        self,
        window: ArrayLike,
        filters: ArrayLike,
        hop_length: int,
        *,
        center: bool = True,
        pad_mode: PadMode = "constant",
        power: float = 2.0,
        log: Literal["db", "ln"] | None = "db",
        ref: float | Literal["max"] = 1.0,
        amin: float = 1e-10,
        top_db: float | None = 80.0,
        eps: float = 1e-6,
    ) -> None:
        super().__init__(window, hop_length, center, pad_mode)
        self._constant("filters", filters)
        self.power = power
        self.log = log
        self.ref = ref
        self.amin = amin
        self.top_db = top_db
        self.eps = eps

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Compute the log-mel spectrogram."""
        with _no_autocast(waveform):
            frames = self._frames(waveform, lengths)
            filters = self.filters.to(frames.dtype).T
            bands = [self._magnitude(part, self.power) @ filters for part in _parts(frames)]
            power = torch.cat(bands).transpose(1, 2)  # batch, band, frame
            return _narrow(self._logarithm(power, lengths), waveform)

    def _logarithm(self, power: Tensor, lengths: Tensor | None) -> Tensor:
        if self.log is None:
            return power
        if self.log == "ln":
            return (power + self.eps).log()
        decibels = 10 * power.clamp(min=self.amin).log10()
        peak = self._peak(decibels, lengths)
        zero = peak if self.ref == "max" else 10 * np.log10(max(self.ref, self.amin))
        if self.top_db is not None:
            decibels = torch.maximum(decibels, peak - self.top_db)
        return decibels - zero

    def _peak(self, decibels: Tensor, lengths: Tensor | None) -> Tensor:
        """Each clip's largest value over its real frames, of shape ``(batch, 1, 1)``."""
        if lengths is not None:
            frames = torch.arange(decibels.shape[2], device=decibels.device)
            is_padding = frames >= self.n_frames(lengths)[:, None, None]
            decibels = decibels.masked_fill(is_padding, -torch.inf)
        return decibels.amax((1, 2), keepdim=True)


class MFCC(nn.Module):
    """Cepstral coefficients and their deltas, as :class:`skaudio.features.MFCC` computes them.

    Parameters
    ----------
    cosines : array-like of shape (n_mfcc, n_mels)
        Weights of the decibels of the mel bands.
    slopes : array-like of shape (deltas, delta_width)
        Weights of the frames around for each derivative in time.
    **log_mel
        Arguments of :class:`LogMel`.

    Shape: input ``(batch, n_samples)``, `lengths` ``(batch,)`` samples of each clip of a batch
    padded behind; output ``(batch, n_mfcc * (1 + deltas), n_frames)``, of which the first
    ``n_frames(lengths)`` frames are those of the clip alone.
    """

    cosines: Tensor
    slopes: Tensor

    def __init__(self, cosines: ArrayLike, slopes: ArrayLike, **log_mel: Any) -> None:
        super().__init__()
        self.log_mel = LogMel(**log_mel)
        for name, values in {"cosines": cosines, "slopes": slopes}.items():
            constant = torch.tensor(np.asarray(values, np.float32))
            self.register_buffer(name, constant, persistent=False)

    def n_frames(self, n_samples: Lengths) -> Lengths:
        """Frames of a clip of `n_samples`, an int or integers in an array or tensor."""
        return self.log_mel.n_frames(n_samples)

    def padded_length(self, n_samples: Lengths) -> Lengths:
        """Give the length to which a clip can be zero-padded without a change of its features.

        It is the same for all clips of as many frames, which can then share a batch.
        """
        return self.log_mel.padded_length(n_samples)

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Compute the coefficients and their derivatives."""
        with _no_autocast(waveform):
            log_mel = self.log_mel(waveform, lengths).to(_widest(waveform.device))
            cepstrum = self.cosines.to(log_mel.dtype) @ log_mel
            n_frames = None if lengths is None else self.n_frames(lengths)
            slopes = self.slopes.to(log_mel.dtype)
            bands = [cepstrum, *(_derivative(cepstrum, weights, n_frames) for weights in slopes)]
            return _narrow(torch.cat(bands, dim=1), waveform)


def _widest(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64


def _narrow(features: Tensor, waveform: Tensor) -> Tensor:
    """Give features in the waveform's dtype, but never in half precision."""
    return features.to(torch.promote_types(waveform.dtype, torch.float32))


def _no_autocast(waveform: Tensor) -> torch.autocast:
    return torch.autocast(waveform.device.type, enabled=False)


def _parts(frames: Tensor) -> tuple[Tensor, ...]:
    """Clips to be worked on together: all of them, but one by one where caches are small."""
    return frames.split(1 if frames.device.type == "cpu" else len(frames))


def _inside(place: Tensor, length: int | Tensor, pad_mode: str) -> Tensor:
    """Say which of a clip's `length` samples :func:`numpy.pad` puts at a place outside it."""
    if pad_mode == "edge":
        return torch.minimum(place.clamp(min=0), torch.as_tensor(length - 1, device=place.device))
    period = (2 * length - 2) if pad_mode == "reflect" else 2 * length
    period = torch.as_tensor(period, device=place.device).clamp(min=1)
    place = place.remainder(period)
    mirrored = period - place - int(pad_mode == "symmetric")
    return torch.where(place < length, place, mirrored)


def _derivative(bands: Tensor, weights: Tensor, n_frames: Tensor | None) -> Tensor:
    """Weigh the frames around each frame; near the ends take the last whole stretch."""
    width, longest = len(weights), bands.shape[2]
    if n_frames is None:
        n_frames = torch.full((len(bands),), longest, device=bands.device)
    last = (n_frames - 1)[:, None, None]
    place = torch.arange(max(longest, width), device=bands.device)
    lengthened = bands.gather(2, torch.minimum(place, last).expand(-1, bands.shape[1], -1))
    inner = lengthened.unfold(2, width, 1) @ weights
    place = (place[:longest] - width // 2).clamp(min=0)
    last = (last + 1 - width).clamp(min=0)
    return inner.gather(2, torch.minimum(place, last).expand(-1, bands.shape[1], -1))
