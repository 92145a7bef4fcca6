"""Descriptors of the voice as sequences: pitch, harmonicity, voice quality, spectral shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skaudio._validation import check_params
from skaudio.features._base import WaveformTransformer
from skaudio.features._pitch import PITCH_CONSTRAINTS, PitchPlan, best_paths
from skaudio.features._spectral_shape import SpectralShape
from skaudio.features._stft import Framing, Spectra

__all__ = ["DESCRIPTORS", "VoiceDescriptors", "VoicePlan"]

DESCRIPTORS = (
    "f0", "hnr", "energy", "centroid", "spread", "rolloff_25", "rolloff_50", "rolloff_75",
    "rolloff_90", "alpha_ratio", "hammarberg", "flux", "slope_50_500", "slope_500_1500", "flatness",
    "zero_crossings", "h1_h2", "h1_h3",
)  # fmt: skip
FLAGS = ("voiced", "speech")

# In dB, 10 above the noise floor. A silent clip, whose loudest frame is noise, has no speech.
_QUIETEST = -90


class VoiceDescriptors(WaveformTransformer):
    r"""Describe the voice in every frame: pitch, harmonicity, loudness, quality, spectral shape.

    Takes waveforms of shape ``(n_clips, n_samples)``, or a list of waveforms of several lengths;
    returns float32 sequences of shape ``(n_clips, 20, n_frames)``, or a list of
    ``(20, n_frames)``. :meth:`get_feature_names_out` names the rows:

    - "f0": fundamental frequency in semitones above 27.5 Hz, by autocorrelation and the most
      plausible path through time; in a frame that is not voiced, where that path passes it;
    - "hnr": harmonics-to-noise ratio in dB, -20 to 23;
    - "energy": power from 50 Hz to 8 kHz in dB, 0 where the mean square is 1;
    - "centroid", "spread": mean and deviation of frequency, weighted by power, in Hz;
    - "rolloff_25" to "rolloff_90": frequency below which so many percent of the power lie, in Hz;
    - "alpha_ratio": power at 50 to 1000 Hz over power at 1 to 5 kHz, in dB;
    - "hammarberg": largest level below 2 kHz minus largest level at 2 to 5 kHz, in dB;
    - "flux": root mean square change of the spectrum in dB from the frame before, its mean level
      left aside; 0 in the first frame;
    - "slope_50_500", "slope_500_1500": of the line fitted to the levels there, in dB per kHz;
    - "flatness": geometric over arithmetic mean of the power spectrum, in dB, 0 for a flat one;
    - "zero_crossings": changes of sign per second, the clip's mean left aside;
    - "h1_h2", "h1_h3": level of the first harmonic minus that of the second and third, in dB;
    - "voiced": 1 where the harmonics have more power than the noise, and the energy is within
      35 dB of the clip's largest; else 0;
    - "speech": 1 where the energy is within 40 dB of the clip's largest; else 0.

    Neither "voiced" nor "speech" are frames under -90 dB. Spectra are described from 50 Hz to
    8 kHz, whatever the sample rate.

    Parameters
    ----------
    sample_rate : float, default=16000
        Of the waveforms, in Hz, at least 16000. Loaded clips that remember another rate are
        refused.
    hop_length : int, optional
        Samples from one frame to the next; 10 ms if None. Frame t is centred on sample
        ``t * hop_length``.
    win_length : int, optional
        Samples in the Hann window, at least two periods of `fmin`; 40 ms if None.
    n_lags : int, default=60
        Number of pitches that the path leads through.
    fmin, fmax : float, default=60.0 and 600.0
        Lowest and highest pitch in Hz; `fmax` is at most 2000.
    n_jobs : int, optional
        Number of threads; None means 1 unless a :func:`joblib.parallel_config` says otherwise.

    See Also
    --------
    VoiceStatistics : Statistics of these descriptors, one row for each clip.
    PitchSalience : That in which the pitch is found.

    Notes
    -----
    The path of the pitch has the largest sum of salience (see :class:`PitchSalience`), plus a
    preference for high pitches that rises from 0 to 0.05, without which a period and its double
    would be worth the same, minus 0.02 for each of the `n_lags` steps moved between two frames.
    The period is then refined to the highest value r of the autocorrelation within one step of
    the path; the harmonics-to-noise ratio is :math:`10 \log_{10} r / (1 - r)` [1]_.

    White noise at -100 dB, as loud as the rounding to 16 bits, is added to every power spectrum.
    So silence has finite values, those of noise.

    References
    ----------
    .. [1] Boersma, "Accurate Short-Term Analysis of the Fundamental Frequency and the
       Harmonics-to-Noise Ratio of a Sampled Sound", IFA Proceedings 17, 1993.
    .. [2] Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for Voice
       Research and Affective Computing", IEEE Transactions on Affective Computing, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from skaudio.features import VoiceDescriptors
    >>> seconds = np.arange(8000) / 16000
    >>> buzz = 0.1 * np.sign(np.sin(2 * np.pi * 220 * seconds))
    >>> voice = VoiceDescriptors().fit([buzz])
    >>> sequences = dict(zip(voice.get_feature_names_out(), voice.transform([buzz])[0]))
    >>> float(sequences["f0"][25].round(1))  # 220 Hz are three octaves above 27.5 Hz
    36.0
    """

    _parameter_constraints: dict = {**PITCH_CONSTRAINTS}

    def __init__(
        self,
        sample_rate: float = 16000,
        *,
        hop_length: int | None = None,
        win_length: int | None = None,
        n_lags: int = 60,
        fmin: float = 60.0,
        fmax: float = 600.0,
        n_jobs: int | None = None,
    ) -> None:
        self.sample_rate = sample_rate
        self.hop_length = hop_length
        self.win_length = win_length
        self.n_lags = n_lags
        self.fmin = fmin
        self.fmax = fmax
        self.n_jobs = n_jobs

    def _plan(self) -> VoicePlan:
        check_params(self)
        return VoicePlan(PitchPlan.of(self), self.sample_rate)

    def _band_names(self) -> list[str]:
        return [*DESCRIPTORS, *FLAGS]


class _Analysis(NamedTuple):
    """What the frames of a clip are described by, before its pitch is known.

    Arrays have one row for each frame.
    """

    correlation: NDArray[np.float32]
    low_spectrum: NDArray[np.float32]
    shape: dict[str, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class VoicePlan:
    """Compute the descriptors of clips.

    Parameters
    ----------
    pitch : PitchPlan
    sample_rate : float
        In Hz.
    """

    pitch: PitchPlan
    sample_rate: float

    @property
    def framing(self) -> Framing:
        """Where the frames lie."""
        return self.pitch.framing

    def __call__(self, clips: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Compute ``(20, n_frames)`` for every clip."""
        spectra = Spectra(self.framing.window, np.float32, remove_mean=True)
        analyses = [self._analyse(clip, spectra) for clip in clips]
        preference = np.linspace(0, 0.05, len(self.pitch.lags), dtype=np.float32)
        paths = best_paths(
            [self.pitch.largest(a.correlation) + preference for a in analyses], step_cost=0.02
        )
        return [self._describe(a, path) for a, path in zip(analyses, paths, strict=True)]

    def _analyse(self, clip: NDArray[np.float32], spectra: Spectra) -> _Analysis:
        frames, shape = self.framing.frames(clip), self._shape
        correlation = np.empty((len(frames), self.pitch.n_half_samples), dtype=np.float32)
        low = np.empty((len(frames), self._n_low_bins), dtype=np.float32)
        rows, last = [], None
        for where, power in spectra.blocks(frames):
            correlation[where] = self.pitch.correlation(power.T)
            spectrum = shape.spectrum(power.T)
            decibels = 10 * np.log10(spectrum)
            rows.append(shape.describe(spectrum, decibels, last))
            low[where] = decibels[:, : self._n_low_bins]
            last = decibels[-1]
        described = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        described["zero_crossings"] = self._zero_crossings(clip, len(frames))
        return _Analysis(correlation, low, described)

    def _describe(self, analysis: _Analysis, path: NDArray[np.intp]) -> NDArray[np.float32]:
        period, peak = self.pitch.refine(path, analysis.correlation)
        frequency = self.sample_rate / period
        peak = np.clip(peak, 0.01, 0.995)  # -20 dB and 23 dB
        first, second, third = self._harmonics(analysis.low_spectrum, frequency)
        energy = analysis.shape["energy"]
        loud = energy - energy.max()
        rows = {
            **analysis.shape,
            "f0": 12 * np.log2(frequency / 27.5),
            "hnr": 10 * np.log10(peak / (1 - peak)),
            "h1_h2": first - second,
            "h1_h3": first - third,
            "voiced": (peak > 0.5) & (loud > -35) & (energy > _QUIETEST),
            "speech": (loud > -40) & (energy > _QUIETEST),
        }
        return np.stack([rows[name] for name in (*DESCRIPTORS, *FLAGS)]).astype(np.float32)

    def _harmonics(
        self, decibels: NDArray[np.float32], frequency: NDArray[np.float64]
    ) -> list[NDArray[np.float64]]:
        """Read off the levels of the first three harmonics, between two bins each."""
        frames, levels = np.arange(len(decibels)), []
        for harmonic in (1, 2, 3):
            place = harmonic * frequency * self.framing.n_fft / self.sample_rate
            below = place.astype(np.intp)
            share = place - below
            left, right = decibels[frames, below], decibels[frames, below + 1]
            levels.append(left * (1 - share) + right * share)
        return levels

    def _zero_crossings(self, clip: NDArray[np.float32], n_frames: int) -> NDArray[np.float32]:
        """Count changes of sign in the samples that each window covers, per second."""
        win_length = np.count_nonzero(self.framing.window) + 1  # a Hann window starts with a 0
        changes = np.diff(np.signbit(clip - clip.mean()), prepend=False)
        changes[0] = False
        before = np.concatenate([[0], np.cumsum(changes)])
        middle = np.arange(n_frames) * self.framing.hop_length
        start, stop = (np.clip(middle + side * win_length // 2, 0, len(clip)) for side in (-1, 1))
        count = before[stop] - before[start]
        return (count * (self.sample_rate / win_length)).astype(np.float32)

    @cached_property
    def _shape(self) -> SpectralShape:
        return SpectralShape.of(self.framing, self.sample_rate)

    @property
    def _n_low_bins(self) -> int:
        """Bins up to the third harmonic of the highest pitch, up to a sample above `fmax`."""
        highest = 3 * self.sample_rate / (self.pitch.lags[-1] - 1)
        return int(highest * self.framing.n_fft / self.sample_rate) + 2
