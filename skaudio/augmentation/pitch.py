"""Random changes of pitch."""

from __future__ import annotations

import math
from numbers import Real

import torch
from torch import Tensor
from torch.nn import functional

from skaudio._validation import Interval
from skaudio.augmentation._base import BaseAugmentation, Draws, stack_clips, uniform
from skaudio.augmentation.speed import play_at
from skaudio.layers.precision import at_least_float32

__all__ = ["PitchShift", "shift_pitch"]

_SECONDS = 0.064
"""Length of a frame: it holds some periods of the lowest voice, and the tones of one are apart."""


class PitchShift(BaseAugmentation):
    """Shift the pitch of waveforms by a random interval, and keep their length and tempo.

    Formants move with the pitch, as between speakers of different size.

    Parameters
    ----------
    semitones : tuple of float (low, high), default=(-2.0, 2.0)
        Range of the shift, from which each clip's is drawn uniformly, in [-24, 24]; 12 semitones
        are an octave.
    probability : float, default=1.0
        Probability that a clip is changed, in [0, 1].

    See Also
    --------
    SpeedChange : Changes the tempo as well, in a fifth of the time and without artefacts.
    VocalTractWarp : Does nearly the same to features.
    make_chain : Combines several augmentations.

    Notes
    -----
    A phase vocoder whose bins are locked to the nearest peak [1]_ first makes the clip longer or
    shorter at the same pitch, and resampling then brings it back to its length. Sharp onsets are
    smeared over a frame of 64 ms at 16 kHz, of 45 to 91 ms at other rates.

    References
    ----------
    .. [1] Laroche and Dolson, "Improved Phase Vocoder Time-Scale Modification of Audio", IEEE
       Transactions on Speech and Audio Processing 7(3), 1999.

    Examples
    --------
    >>> import torch
    >>> from skaudio.augmentation import PitchShift
    >>> time = torch.arange(8000) / 8000
    >>> x = torch.sin(2 * torch.pi * 400 * time)[None]
    >>> octave = PitchShift(semitones=(12, 12))
    >>> high = octave.apply(x, torch.Generator(), domain="waveform", sample_rate=8000)
    >>> high.shape, torch.fft.rfft(high[0]).abs().argmax()
    (torch.Size([1, 8000]), tensor(800))
    """

    domains = frozenset(["waveform"])
    _ranges = {"semitones": Interval(Real, -24, 24, closed="both")}

    def __init__(
        self, semitones: tuple[float, float] = (-2.0, 2.0), *, probability: float = 1.0
    ) -> None:
        self.semitones = semitones
        self.probability = probability

    def _draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        return (uniform(self.semitones, shape[0], generator),)

    def _change(
        self, x: Tensor, draws: Draws, lengths: Tensor, sample_rate: float | None
    ) -> Tensor:
        if sample_rate is None:
            raise ValueError(
                "PitchShift: its frames are in seconds, but the sample rate of the waveforms is "
                "not known. Pass sample_rate to apply (an estimator takes it from its frontend)."
            )
        n_fft = max(16, 2 ** round(math.log2(_SECONDS * sample_rate)))
        factors = torch.pow(2, draws[0] / 12).tolist()
        clips = [
            shift_pitch(clip[:length], factor, n_fft)
            for clip, length, factor in zip(x, lengths.tolist(), factors, strict=True)
        ]
        return stack_clips(clips, x.shape[-1])


def shift_pitch(clip: Tensor, factor: float, n_fft: int) -> Tensor:
    """Multiply all frequencies of a waveform ``(n,)`` by a factor."""
    if factor == 1 or len(clip) == 0:
        return clip
    played = play_at(_stretch(clip, factor, n_fft), factor)[: len(clip)]
    return functional.pad(played, (0, len(clip) - len(played)))


def _stretch(clip: Tensor, factor: float, n_fft: int) -> Tensor:
    """Make a waveform `factor` times as long without a change of its frequencies."""
    hop = n_fft // 4
    clip = clip.to(at_least_float32(clip.dtype))
    window = torch.hann_window(n_fft, dtype=clip.dtype, device=clip.device)
    spectrum = torch.stft(
        clip, n_fft, hop, window=window, pad_mode="constant", return_complex=True
    )  # bin, frame
    # Frame j of the result is heard at j / factor frames of the clip: between two frames there,
    # with a magnitude between theirs.
    place = torch.arange(0, spectrum.shape[1], 1 / factor, device=clip.device)
    before, way = place.long(), place.frac().to(clip.dtype)
    spectrum = functional.pad(spectrum, (0, 2))
    magnitude = torch.lerp(spectrum.abs()[:, before], spectrum.abs()[:, before + 1], way)
    # From a frame to the next, a tone at the centre of bin k turns by 2 pi k hop / n_fft, and one
    # beside the centre by a little more or less: the difference of two phases, less that, is known
    # up to whole turns, of which the tone takes the nearest to none.
    bins = torch.arange(len(spectrum), device=clip.device, dtype=clip.dtype)
    centre = (2 * math.pi * hop / n_fft * bins)[:, None]
    phase = spectrum.angle()
    excess = phase[:, before + 1] - phase[:, before] - centre
    turn = centre + excess - 2 * math.pi * torch.round(excess / (2 * math.pi))
    # A frame begins with all turns before it. Bins of one tone, those around a peak, turn together
    # with it and keep the differences that they have in the clip: else they would drift apart and
    # cancel.
    peak = _nearest_peak(magnitude)
    turned = turn.cumsum(1) - turn + phase[:, :1]
    phase = turned.gather(0, peak) + phase[:, before] - phase[:, before].gather(0, peak)
    length = max(1, round(len(clip) * factor))
    return torch.istft(torch.polar(magnitude, phase), n_fft, hop, window=window, length=length)


def _nearest_peak(magnitude: Tensor) -> Tensor:
    """Find the bin of the nearest local maximum for each bin, both ``(bin, frame)``."""
    around = functional.pad(magnitude.T, (1, 1), value=-1.0).T  # the ends may be maxima, too
    is_peak = (magnitude >= around[:-2]) & (magnitude >= around[2:])
    n_bins = len(magnitude)
    bins = torch.arange(n_bins, device=magnitude.device)[:, None]
    # A far number where there is no peak on one side; there is one on the other.
    below = torch.where(is_peak, bins, -n_bins).cummax(0).values
    above = torch.where(is_peak, bins, 2 * n_bins).flip(0).cummin(0).values.flip(0)
    return torch.where(bins - below <= above - bins, below, above)
