"""Spectral features as torch modules: the transformers of ``skaudio.features`` in a network.

Each module is built from numbers and arrays alone, which the transformer of the same name hands
over: ``LogMel(**LogMelSpectrogram(n_mels=64).layer_arguments())``. It computes features batch by
batch on the device that trains, and gradients reach the waveform.

All computations inside are in float64, whatever autocast says. A spectrum computed in float32 is
wrong in every bin by about e = 1e-7 of the rms of all bins (512 samples; measured, and about
twice the unit roundoff 2^-24). A bin r dB below that rms is thus off by 8.7 e 10^(r / 20) dB:
0.001 dB at r = 60, where float32 would do, but 1 dB at r = 120, where quiet bands next to a loud
tone may lie. The transformers compute in float64 the frames in which that could show. A module
computes all of them so: choosing would make an accelerator wait for the choice. Devices without
float64 (Apple's) compute in float32.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from skaudio.layers.framing import (
    Framed,
    Lengths,
    PadMode,
    groups_of_clips,
    in_dtype_of,
    no_autocast,
)
from skaudio.layers.precision import widest_float

__all__ = ["MFCC", "LogMel", "Spectrogram"]


class Spectrogram(Framed):
    """Compute a magnitude spectrogram, as :class:`skaudio.features.Spectrogram` does.

    Parameters
    ----------
    window : array-like of shape (n_fft,)
    hop_length : int
        Samples from one frame to the next.
    center : bool, default=True
        Whether frame t is centred on sample ``t * hop_length`` rather than starting there.
    pad_mode : {"constant", "edge", "reflect", "symmetric"}, default="constant"
        What lies before and after a centred clip, as in :func:`numpy.pad`.
    power : float, default=1.0
        Exponent of the magnitude.

    Shape: input ``(batch, n_samples)``, in [-1, 1], and `lengths` ``(batch,)``, the samples of
    each clip where clips are followed by padding; output ``(batch, n_bands, n_frames)``, of
    which the first ``n_frames(lengths)`` frames are those of the clip alone.

    See Also
    --------
    skaudio.features.Spectrogram : The transformer, which has the arguments for this module.
    skaudio.layers.LogMel : Sums bins to mel bands, and takes the logarithm.
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

    @property
    def n_bands(self) -> int:
        """Bins of the spectrum, ``n_fft // 2 + 1``."""
        return self.n_fft // 2 + 1

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Compute the spectrogram."""
        with no_autocast(waveform):
            frames = self._frames(waveform, lengths)
            magnitude = [self._magnitude(part, self.power) for part in groups_of_clips(frames)]
            return in_dtype_of(torch.cat(magnitude).transpose(1, 2), waveform)


class LogMel(Framed):
    """Compute a log-mel spectrogram, as :class:`skaudio.features.LogMelSpectrogram` does.

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
        What lies before and after a centred clip, as in :func:`numpy.pad`.
    power : float, default=2.0
        Exponent of the magnitude.
    log : {"db", "ln"} or None, default="db"
        Decibels, natural logarithm of the power plus `eps`, or no logarithm.
    ref : float or "max", default=1.0
        Power that is 0 dB; "max" is the largest of the clip.
    amin : float, default=1e-10
        Smallest power before decibels are taken; smaller ones are raised to it.
    top_db : float or None, default=80.0
        Range of the decibels: what is further below the clip's largest value is raised to its
        end. None leaves all as they are.
    eps : float, default=1e-6
        Added before the natural logarithm.
    subtract_clip_mean : bool, default=False
        Whether to subtract from each band its mean over the clip.

    Shape: input ``(batch, n_samples)``, in [-1, 1], and `lengths` ``(batch,)``, the samples of
    each clip where clips are followed by padding; output ``(batch, n_mels, n_frames)``, of which
    the first ``n_frames(lengths)`` frames are those of the clip alone: `ref`, `top_db` and
    `subtract_clip_mean` look at them only.

    See Also
    --------
    skaudio.features.LogMelSpectrogram : The transformer, which has the arguments for this module.
    skaudio.layers.MFCC : Makes cepstral coefficients of these features.

    Examples
    --------
    >>> import torch
    >>> from skaudio.features import LogMelSpectrogram
    >>> from skaudio.layers import LogMel
    >>> layer = LogMel(**LogMelSpectrogram(sample_rate=16000, n_mels=40).layer_arguments())
    >>> layer.n_bands
    40
    >>> layer(torch.zeros(2, 16000)).shape == (2, 40, layer.n_frames(16000))
    True
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
        subtract_clip_mean: bool = False,
    ) -> None:
        super().__init__(window, hop_length, center, pad_mode)
        self._constant("filters", filters)
        self.power = power
        self.log = log
        self.ref = ref
        self.amin = amin
        self.top_db = top_db
        self.eps = eps
        self.subtract_clip_mean = subtract_clip_mean

    @property
    def n_bands(self) -> int:
        """Mel bands."""
        return len(self.filters)

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Compute the log-mel spectrogram."""
        with no_autocast(waveform):
            frames = self._frames(waveform, lengths)
            filters = self.filters.to(frames.dtype).T
            parts = [
                self._magnitude(part, self.power) @ filters for part in groups_of_clips(frames)
            ]
            power = torch.cat(parts).transpose(1, 2)  # batch, band, frame
            bands = self._logarithm(power, lengths)
            if self.subtract_clip_mean:
                bands = bands - self._mean(bands, lengths)
            return in_dtype_of(bands, waveform)

    def _logarithm(self, power: Tensor, lengths: Tensor | None) -> Tensor:
        if self.log is None:
            return power
        if self.log == "ln":
            return (power + self.eps).log()
        decibels = 10 * power.clamp(min=self.amin).log10()
        peak = self._peak(decibels, lengths)
        # As librosa has it: a reference under amin is taken for amin, and the range below the peak
        # counts from the clip's own peak, whatever the reference.
        zero = peak if self.ref == "max" else 10 * np.log10(max(self.ref, self.amin))
        if self.top_db is not None:
            decibels = torch.maximum(decibels, peak - self.top_db)
        return decibels - zero

    def _peak(self, decibels: Tensor, lengths: Tensor | None) -> Tensor:
        """Find each clip's largest value over its real frames, of shape ``(batch, 1, 1)``."""
        if lengths is not None:
            decibels = decibels.masked_fill(self._is_padding(decibels, lengths), -torch.inf)
        return decibels.amax((1, 2), keepdim=True)

    def _mean(self, bands: Tensor, lengths: Tensor | None) -> Tensor:
        """Compute the mean of each band over its real frames, ``(batch, n_mels, 1)``."""
        if lengths is None:
            return bands.mean(2, keepdim=True)
        real = bands.masked_fill(self._is_padding(bands, lengths), 0.0)
        return real.sum(2, keepdim=True) / self.n_frames(lengths)[:, None, None]

    def _is_padding(self, bands: Tensor, lengths: Tensor) -> Tensor:
        frames = torch.arange(bands.shape[2], device=bands.device)
        return frames >= self.n_frames(lengths)[:, None, None]


class MFCC(nn.Module):
    """Compute cepstral coefficients and their deltas, as :class:`skaudio.features.MFCC` does.

    Parameters
    ----------
    cosines : array-like of shape (n_mfcc, n_mels)
        Weights of the mel bands' logarithms in each coefficient.
    slopes : array-like of shape (deltas, delta_width)
        Weights of the neighbouring frames in each derivative in time.
    **log_mel
        Arguments of :class:`LogMel`.

    Shape: input ``(batch, n_samples)``, in [-1, 1], and `lengths` ``(batch,)``, the samples of
    each clip where clips are followed by padding; output ``(batch, n_mfcc * (1 + deltas),
    n_frames)``, of which the first ``n_frames(lengths)`` frames are those of the clip alone.

    See Also
    --------
    skaudio.features.MFCC : The transformer, which has the arguments for this module.
    skaudio.layers.LogMel : The features that the coefficients are made of.
    """

    cosines: Tensor
    slopes: Tensor

    def __init__(self, cosines: ArrayLike, slopes: ArrayLike, **log_mel: Any) -> None:
        super().__init__()
        self.log_mel = LogMel(**log_mel)
        for name, values in {"cosines": cosines, "slopes": slopes}.items():
            constant = torch.tensor(np.asarray(values, np.float32))
            self.register_buffer(name, constant, persistent=False)

    @property
    def n_bands(self) -> int:
        """Coefficients and their derivatives, ``n_mfcc * (1 + deltas)``."""
        return len(self.cosines) * (1 + len(self.slopes))

    def n_frames(self, n_samples: Lengths) -> Lengths:
        """Count the frames of a clip, as :meth:`LogMel.n_frames` does."""
        return self.log_mel.n_frames(n_samples)

    def padded_length(self, n_samples: Lengths) -> Lengths:
        """Compute how far a clip can be padded, as :meth:`LogMel.padded_length` does."""
        return self.log_mel.padded_length(n_samples)

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Compute the coefficients and their derivatives."""
        with no_autocast(waveform):
            # LogMel has rounded to float32 as its transformer does, whose numbers these have to be.
            log_mel = self.log_mel(waveform, lengths).to(widest_float(waveform.device))
            cepstrum = self.cosines.to(log_mel.dtype) @ log_mel
            n_frames = None if lengths is None else self.n_frames(lengths)
            slopes = self.slopes.to(log_mel.dtype)
            bands = [cepstrum, *(_derivative(cepstrum, weights, n_frames) for weights in slopes)]
            return in_dtype_of(torch.cat(bands, dim=1), waveform)


def _derivative(bands: Tensor, weights: Tensor, n_frames: Tensor | None) -> Tensor:
    """Sum weighted neighbours of each frame; near the ends, those of the last whole window."""
    # Frames beyond a clip are taken for its last one, so that clips shorter than a window have one.
    width, longest = len(weights), bands.shape[2]
    if n_frames is None:
        n_frames = torch.full((len(bands),), longest, device=bands.device)
    last = (n_frames - 1)[:, None, None]
    place = torch.arange(max(longest, width), device=bands.device)
    lengthened = bands.gather(2, torch.minimum(place, last).expand(-1, bands.shape[1], -1))
    inner = lengthened.unfold(2, width, 1) @ weights
    # The window of frame t starts at t - width // 2, but not before the clip, and not so late that
    # it would reach beyond its end.
    place = (place[:longest] - width // 2).clamp(min=0)
    last = (last + 1 - width).clamp(min=0)
    return inner.gather(2, torch.minimum(place, last).expand(-1, bands.shape[1], -1))
