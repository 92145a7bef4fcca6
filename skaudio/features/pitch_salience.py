"""How salient each pitch is in a voice, over time."""

from __future__ import annotations

from typing import Any

from skaudio._validation import check_params
from skaudio.features._base import WaveformTransformer
from skaudio.features._pitch import PITCH_CONSTRAINTS, PitchPlan, SalienceOfClips, padded_length

__all__ = ["PitchSalience"]


class PitchSalience(WaveformTransformer):
    r"""Compute how periodic each frame of a waveform is at each of a range of pitches.

    A voice shows as a bright line that follows its fundamental frequency, with fainter ones an
    octave below. Spectrograms of mel bands, which are as wide as several harmonics, do not have
    that line. Takes waveforms of shape ``(n_clips, n_samples)``, or a list of waveforms of
    several lengths; returns float32 features of shape ``(n_clips, n_lags, n_frames)``, in [-1, 1],
    or a list of ``(n_lags, n_frames)``.

    Parameters
    ----------
    sample_rate : float, default=16000
        Of the waveforms, in Hz, at least 16000. Loaded clips that remember another rate are
        refused.
    hop_length : int, optional
        Samples from one frame to the next; 10 ms if None. Frame t is centred on sample
        ``t * hop_length``, as that of a centred :class:`LogMelSpectrogram`: for equal hops (and
        an even `n_fft` there) both have the same number of frames.
    win_length : int, optional
        Samples in the Hann window, at least two periods of `fmin`; 40 ms if None.
    n_lags : int, default=60
        Number of pitches, in equal steps of the logarithm of frequency.
    fmin, fmax : float, default=60.0 and 600.0
        Pitch of the first and of the last band, in Hz; `fmax` is at most 2000.
    n_jobs : int, optional
        Number of threads; None means 1 unless a :func:`joblib.parallel_config` says otherwise.

    See Also
    --------
    StackedFeatures : Put these bands beside those of a log-mel spectrogram.
    VoiceDescriptors : The pitch itself, and other properties of the voice.
    skaudio.layers.PitchSalience : The same features in a network.

    Notes
    -----
    With r the autocorrelation of a windowed frame without its mean, and v that of the window, the
    salience of the period :math:`\tau` is [1]_

    .. math:: s(\tau) = \frac{r(\tau) / v(\tau)}{(r(0) + \epsilon) / v(0)}

    limited to [-1, 1]: 1 for a signal that repeats itself after :math:`\tau`, about 0 for noise.
    :math:`\epsilon` is the energy of noise at -100 dB of full scale, so that silence has a
    salience of 0.

    References
    ----------
    .. [1] Boersma, "Accurate Short-Term Analysis of the Fundamental Frequency and the
       Harmonics-to-Noise Ratio of a Sampled Sound", IFA Proceedings 17, 1993.

    Examples
    --------
    >>> import numpy as np
    >>> from skaudio.features import PitchSalience
    >>> buzz = np.sign(np.sin(2 * np.pi * 200 * np.arange(8000) / 16000))
    >>> salience = PitchSalience().fit_transform([buzz])[0]
    >>> salience.shape
    (60, 51)
    >>> int(salience[:, 25].argmax()), float(np.geomspace(60, 600, 60)[31].round(1))
    (31, 201.2)
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

    layer_name = "PitchSalience"

    def layer_arguments(self) -> dict[str, Any]:
        """Return the arguments with which :class:`skaudio.layers.PitchSalience` computes the same.

        Returns
        -------
        dict
        """
        pitch = self._plan().pitch
        return {
            **pitch.framing.layer_arguments(),
            "weights": pitch.weights,
            "energy_weights": pitch.energy_weights,
            "floor": pitch.floor,
        }

    def n_filter_values(self) -> int:  # noqa: D102
        return (padded_length(self) // 2 + 1) * self.n_lags

    def _plan(self) -> SalienceOfClips:
        check_params(self)
        return SalienceOfClips(PitchPlan.of(self))

    def _band_names(self) -> list[str]:
        return [f"pitch_{i}" for i in range(self.n_lags)]
