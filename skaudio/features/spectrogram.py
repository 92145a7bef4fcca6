"""Magnitude spectrograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skaudio._validation import Interval, check_params
from skaudio.features._base import WaveformTransformer
from skaudio.features._stft import FRAMING_CONSTRAINTS, Framing, PadMode, Spectra, frame_length

__all__ = ["Spectrogram"]


class Spectrogram(WaveformTransformer):
    r"""Compute the magnitude of the short-time Fourier transform, to any power.

    Takes waveforms of shape ``(n_clips, n_samples)``, or a list of waveforms of several lengths;
    returns float32 features of shape ``(n_clips, n_fft // 2 + 1, n_frames)``, >= 0, or a list of
    ``(n_fft // 2 + 1, n_frames)``.

    Parameters
    ----------
    sample_rate : float, default=16000
        Of the waveforms, in Hz; `n_fft` depends on it by default. Loaded clips that remember
        another rate are refused.
    n_fft : int, optional
        Samples in a frame. By default the shortest power of two that holds 25 ms, and
        `win_length` if that is given.
    hop_length : int, optional
        Samples from one frame to the next. By default ``win_length // 4``, as in
        :func:`librosa.stft`: a quarter of `n_fft` unless `win_length` is given.
    win_length : int, optional
        Samples in the window, zero-padded to `n_fft` on both sides. By default `n_fft`.
    window : str, tuple, callable or array-like of shape (win_length,), default="hann"
        As :func:`scipy.signal.get_window` takes it, periodic.
    center : bool, default=True
        Whether frame t is centred on sample ``t * hop_length``. If False, it starts there, and
        a clip shorter than a frame is zero-padded at its end to one frame.
    pad_mode : {"constant", "edge", "reflect", "symmetric"}, default="constant"
        What is padded before and after a centred clip; see :func:`numpy.pad`.
    power : float, default=1.0
        Exponent of the magnitude. The experiments of [1]_ have 2/3.
    n_jobs : int, optional
        Number of threads; None means 1 unless a :func:`joblib.parallel_config` says otherwise.

    See Also
    --------
    LogMelSpectrogram : Mel instead of linear frequencies, and decibels.
    skaudio.layers.Spectrogram : The same features in a network.

    References
    ----------
    .. [1] Guizzo, Weyde, Leveson, "Multi-Time-Scale Convolution for Emotion Recognition from
       Speech Audio Signals", ICASSP 2020, arXiv 2003.03375.

    Examples
    --------
    >>> import numpy as np
    >>> from skaudio.features import Spectrogram
    >>> Spectrogram(n_fft=1024, hop_length=512).fit_transform(np.zeros((2, 16000))).shape
    (2, 513, 32)
    """

    _parameter_constraints: dict = {
        **FRAMING_CONSTRAINTS,
        "power": [Interval(Real, 0, None, closed="neither")],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        sample_rate: float = 16000,
        *,
        n_fft: int | None = None,
        hop_length: int | None = None,
        win_length: int | None = None,
        window: Any = "hann",
        center: bool = True,
        pad_mode: PadMode = "constant",
        power: float = 1.0,
        n_jobs: int | None = None,
    ) -> None:
        self.sample_rate = sample_rate
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.win_length = win_length
        self.window = window
        self.center = center
        self.pad_mode = pad_mode
        self.power = power
        self.n_jobs = n_jobs

    layer_name = "Spectrogram"

    def layer_arguments(self) -> dict[str, Any]:
        """Return the arguments with which :class:`skaudio.layers.Spectrogram` computes the same.

        Returns
        -------
        dict
        """
        return {**self._plan().framing.layer_arguments(), "power": self.power}

    def n_filter_values(self) -> int:  # noqa: D102
        return frame_length(self) // 2 + 1

    def _plan(self) -> _SpectrogramPlan:
        check_params(self)
        return _SpectrogramPlan(Framing.of(self), self.power)

    def _band_names(self) -> list[str]:
        return [f"bin_{i}" for i in range(self._plan().framing.n_bins)]


@dataclass(frozen=True, eq=False)
class _SpectrogramPlan:
    framing: Framing
    power: float

    def __call__(self, clips: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        spectra = Spectra(self.framing.window)
        return [self._spectrogram(clip, spectra) for clip in clips]

    def _spectrogram(self, clip: NDArray[np.float32], spectra: Spectra) -> NDArray[np.float32]:
        frames = self.framing.frames(clip)
        magnitude = np.empty((self.framing.n_bins, len(frames)), dtype=np.float32)
        for where, power in spectra.blocks(frames):
            np.power(power, self.power / 2, out=magnitude[:, where])
        return magnitude
