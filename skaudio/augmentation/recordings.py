"""Background noise and rooms that were recorded."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from skaudio._validation import Interval
from skaudio.augmentation._base import BaseAugmentation, Draws, stack_clips, uniform
from skaudio.augmentation.noise import add_at_snr
from skaudio.layers.masking import frame_mask
from skaudio.layers.precision import at_least_float32

__all__ = ["RecordedNoise", "Reverberation"]


class RecordedNoise(BaseAugmentation):
    """Add recorded noise to waveforms, at a random signal-to-noise ratio.

    Parameters
    ----------
    recordings : sequence of ndarray of shape (n_samples,)
        Waveforms of noise, at the sample rate of the clips. Each clip gets a random part of one
        of them, repeated if it is shorter than the clip.
    snr_db : tuple of float (low, high), default=(5.0, 25.0)
        Range of the signal-to-noise ratio in decibels, from which each clip's is drawn
        uniformly. It is the ratio of the mean powers over the clip's samples.
    probability : float, default=1.0
        Probability that a clip is changed, in [0, 1].

    See Also
    --------
    AdditiveNoise : Adds artificial noise.
    Reverberation : Puts clips into recorded rooms.
    skaudio.AudioLoader : Reads recordings, and converts them to a sample rate.

    Notes
    -----
    A silent clip stays silent, as no noise would give it a finite ratio, and a clip that gets a
    silent part of a recording stays as it is.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skaudio.augmentation import RecordedNoise
    >>> hum = np.sin(2 * np.pi * 50 * np.arange(16000) / 16000)
    >>> noise = RecordedNoise([hum], snr_db=(20, 20))
    >>> x = torch.ones(1, 16000)
    >>> added = noise.apply(x, torch.Generator().manual_seed(0), domain="waveform") - x
    >>> round(added.square().mean().item(), 4), torch.fft.rfft(added).abs().argmax()
    (0.01, tensor(50))
    """

    domains = frozenset(["waveform"])
    _ranges = {"snr_db": Interval(Real, None, None, closed="neither")}

    def __init__(
        self,
        recordings: Sequence[ArrayLike],
        snr_db: tuple[float, float] = (5.0, 25.0),
        *,
        probability: float = 1.0,
    ) -> None:
        self.recordings = recordings
        self.snr_db = snr_db
        self.probability = probability

    def _check(self) -> None:
        super()._check()
        _check_waveforms(self, "recordings", self.recordings)

    def _draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        snr_db = uniform(self.snr_db, shape[0], generator)
        number, start = torch.rand(2, shape[0], generator=generator)
        return snr_db, number, start

    def _change(
        self, x: Tensor, draws: Draws, lengths: Tensor, sample_rate: float | None
    ) -> Tensor:
        snr_db, number, start = draws
        recordings = _choose(self.recordings, number, "recordings")
        parts = map(_part_of, recordings, start.tolist(), lengths.tolist())
        noise = stack_clips(list(parts), x.shape[-1])
        return add_at_snr(x, noise.to(x.device), snr_db, lengths)


class Reverberation(BaseAugmentation):
    """Convolve waveforms with a random one of several recorded impulse responses.

    Parameters
    ----------
    responses : sequence of ndarray of shape (n_samples,)
        Impulse responses of rooms, telephones or microphones, at the sample rate of the clips.
    probability : float, default=1.0
        Probability that a clip is changed, in [0, 1].

    See Also
    --------
    RandomFilter : Filters without recordings.
    RecordedNoise : Adds what is heard in rooms.
    skaudio.AudioLoader : Reads responses, and converts them to a sample rate.

    Notes
    -----
    A clip keeps its length, the direct sound (the largest value of the response) its time, and
    the whole its mean power. What would ring on behind the clip's end is cut off.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skaudio.augmentation import Reverberation
    >>> echo = np.array([0.0, 1.0, 0.0, 0.5])
    >>> x = torch.tensor([[1.0, 0, 0, 0, 0]])
    >>> y = Reverberation([echo]).apply(x, torch.Generator(), domain="waveform")
    >>> (y / y.max()).round(decimals=3).abs()
    tensor([[1.0000, 0.0000, 0.5000, 0.0000, 0.0000]])
    """

    domains = frozenset(["waveform"])

    def __init__(self, responses: Sequence[ArrayLike], *, probability: float = 1.0) -> None:
        self.responses = responses
        self.probability = probability

    def _check(self) -> None:
        super()._check()
        _check_waveforms(self, "responses", self.responses)
        for place, response in enumerate(self.responses):
            if not np.any(response):
                raise ValueError(
                    f"Reverberation: responses[{place}] is silent, but expected an impulse "
                    "response. Leave it out."
                )

    def _draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        return (torch.rand(shape[0], generator=generator),)

    def _change(
        self, x: Tensor, draws: Draws, lengths: Tensor, sample_rate: float | None
    ) -> Tensor:
        chosen = _choose(self.responses, draws[0], "responses")
        real = frame_mask(lengths, x.shape[-1])[:, 0, 0]
        dry = x.to(at_least_float32(x.dtype)).masked_fill(~real, 0)
        longest = max(map(len, chosen))
        response = stack_clips(chosen, longest).to(dry)
        # So many samples that what rings on behind a clip does not return at its beginning; a
        # multiple of 1024 has no large prime factors, up to 10^6 samples at least.
        size = -(-(x.shape[-1] + longest) // 1024) * 1024
        wet = torch.fft.irfft(torch.fft.rfft(dry, size) * torch.fft.rfft(response, size), size)
        direct = response.abs().argmax(1, keepdim=True)
        wet = wet.gather(1, direct + torch.arange(x.shape[-1], device=x.device)) * real
        power, tiny = dry.square().sum(1), torch.finfo(dry.dtype).tiny
        # The clamp under the root keeps its slope finite where a clip is silent.
        scale = (power / wet.square().sum(1).clamp(min=tiny)).clamp(min=tiny).sqrt()
        return wet * scale[:, None]


def _check_waveforms(augmentation: BaseAugmentation, name: str, waveforms: object) -> None:
    where = f"{type(augmentation).__name__}: {name}"
    wanted = "a list of one-dimensional arrays of samples"
    if not isinstance(waveforms, (list, tuple)) or not waveforms:
        raise ValueError(f"{where} is {waveforms!r}, but expected {wanted}, at least one.")
    for place, waveform in enumerate(waveforms):
        shape = np.shape(waveform)
        if len(shape) != 1 or shape[0] == 0:
            raise ValueError(
                f"{where}[{place}] has the shape {shape}, but expected {wanted}. Average the "
                "channels of a recording, and leave out empty ones."
            )


def _choose(waveforms: Sequence[ArrayLike], draw: Tensor, name: str) -> list[Tensor]:
    """Take one waveform for each draw in [0, 1), as a tensor on the CPU."""
    chosen = []
    for number in torch.floor(draw * len(waveforms)).long().tolist():
        waveform = torch.from_numpy(np.array(waveforms[number], np.float32))
        if not waveform.isfinite().all():
            raise ValueError(f"{name}[{number}] has values that are NaN or infinite.")
        chosen.append(waveform)
    return chosen


def _part_of(recording: Tensor, place: float, n_samples: int) -> Tensor:
    """Cut a part out of a recording, or repeat it from some place on.

    Where the recording is longer the part is one of those that fit into it.
    """
    spare = len(recording) - n_samples
    start = int(place * (spare + 1 if spare >= 0 else len(recording)))
    return recording[(start + torch.arange(n_samples)) % len(recording)]
