"""Log-mel spectrograms."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any, Literal

import numpy as np

from skaudio._validation import Interval, StrOptions, check_params
from skaudio.features._base import WaveformTransformer
from skaudio.features._mel import (
    LEAST_POWER,
    MEL_CONSTRAINTS,
    Decibels,
    LogMelPlan,
    NaturalLog,
    NoLog,
    mel_filters,
    warn_of_empty_bands,
)
from skaudio.features._stft import Framing, PadMode, frame_length

__all__ = ["LogMelSpectrogram"]


class LogMelSpectrogram(WaveformTransformer):
    r"""Compute the log-mel spectrogram of every waveform.

    The result equals ``librosa.power_to_db(librosa.feature.melspectrogram(...))`` for the same
    settings, clip by clip. Takes waveforms of shape ``(n_clips, n_samples)``, or a list of
    waveforms of several lengths; returns float32 features of shape
    ``(n_clips, n_mels, n_frames)``, or a list of ``(n_mels, n_frames)``.

    Parameters
    ----------
    sample_rate : float, default=16000
        Of the waveforms, in Hz. Loaded clips that remember another rate are refused.
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
    power : float, default=2.0
        Exponent of the magnitude: 2 for power, 1 for amplitude.
    n_mels : int, default=40
        Number of mel bands.
    fmin, fmax : float, default=0.0 and None
        Lowest and highest frequency in Hz; `fmax` is half of `sample_rate` if None.
    htk : bool, default=False
        Whether mel is HTK's formula rather than Slaney's.
    norm : {"slaney"}, float or None, default="slaney"
        "slaney" divides each triangle by its width in Hz, a number normalises its l_p norm to 1
        (``numpy.inf``: peak 1 on the grid of frequencies), None leaves its peak at 1.
    triangles : {"hz", "mel"}, default="hz"
        Over which axis the sides of a band's triangle are straight. librosa has Hz; HTK,
        TensorFlow and EmoNet [1]_ have mel.
    log : {"db", "ln"} or None, default="db"
        Decibels, natural logarithm of the power plus `eps`, or no logarithm.
    ref : float, "max" or callable, default=1.0
        Power that is 0 dB; "max" (or ``numpy.max``) is the largest of the clip. A callable gets
        the clip's mel power, of shape ``(n_mels, n_frames)``. Only for ``log="db"``.
    amin : float, default=1e-10
        Smaller powers are raised to this one, 1e-37 or more. Only for ``log="db"``.
    top_db : float or None, default=80.0
        Values more than this below the clip's largest are raised to it. Only for ``log="db"``.
    eps : float, default=1e-6
        Added to the power before its logarithm, 1e-37 or more. Only for ``log="ln"``.
    subtract_clip_mean : bool, default=False
        Subtract from each band its mean over the clip. Of logarithms this takes away the colour
        of microphone and room (and with it the level), which helps to recognise voices that were
        not in the training data; of a steady sound it leaves nothing.
    n_jobs : int, optional
        Number of threads; None means 1 unless a :func:`joblib.parallel_config` says otherwise.

    See Also
    --------
    MFCC : Cepstral coefficients of these features.
    Spectrogram : Linear instead of mel frequencies.
    skaudio.layers.LogMel : The same features in a network.

    Notes
    -----
    With X the windowed spectrum of a frame and w a band's weights,

    .. math:: L = 10 \log_{10} \max\Big(a, \sum_k w_k |X_k|^p\Big) - 10 \log_{10} r

    Besides the result, memory does not grow with the number of clips. Spectra are computed in
    float32, and in float64 where the rounding of float32 would be visible in the result.

    EmoNet's features [1]_ are ``LogMelSpectrogram(n_fft=1024, hop_length=512, center=False,
    n_mels=128, fmin=20, fmax=8000, htk=True, norm=None, triangles="mel", log="ln")``.

    References
    ----------
    .. [1] Gerczuk et al., "EmoNet: A Transfer Learning Framework for Multi-Corpus Speech
       Emotion Recognition", arXiv 2103.08310, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from skaudio.features import LogMelSpectrogram
    >>> seconds = np.arange(8000) / 16000
    >>> tones = np.sin(2 * np.pi * np.array([[440.0], [880.0]]) * seconds)
    >>> LogMelSpectrogram(sample_rate=16000).fit_transform(tones).shape
    (2, 40, 63)
    """

    _parameter_constraints: dict = {
        **MEL_CONSTRAINTS,
        "norm": [StrOptions({"slaney"}), Real, None],
        "log": [StrOptions({"db", "ln"}), None],
        "ref": [Interval(Real, 0, None, closed="neither"), StrOptions({"max"}), callable],
        "eps": [Interval(Real, LEAST_POWER, None, closed="left")],
        "subtract_clip_mean": ["boolean"],
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
        power: float = 2.0,
        n_mels: int = 40,
        fmin: float = 0.0,
        fmax: float | None = None,
        htk: bool = False,
        norm: float | Literal["slaney"] | None = "slaney",
        triangles: Literal["hz", "mel"] = "hz",
        log: Literal["db", "ln"] | None = "db",
        ref: float | Literal["max"] | Callable = 1.0,
        amin: float = 1e-10,
        top_db: float | None = 80.0,
        eps: float = 1e-6,
        subtract_clip_mean: bool = False,
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
        self.n_mels = n_mels
        self.fmin = fmin
        self.fmax = fmax
        self.htk = htk
        self.norm = norm
        self.triangles = triangles
        self.log = log
        self.ref = ref
        self.amin = amin
        self.top_db = top_db
        self.eps = eps
        self.subtract_clip_mean = subtract_clip_mean
        self.n_jobs = n_jobs

    layer_name = "LogMel"

    def layer_arguments(self) -> dict[str, Any]:
        """Return the arguments with which :class:`skaudio.layers.LogMel` computes the same.

        Returns
        -------
        dict

        Raises
        ------
        ValueError
            If `ref` is a function other than ``numpy.max``.

        Warns
        -----
        SkaudioWarning
            If mel bands are empty, as :meth:`fit` does.
        """
        plan = self._plan()
        self._warn(plan)
        ref = "max" if self.ref is np.max else self.ref
        if callable(ref):
            raise ValueError(
                f"ref={ref!r} cannot run inside a network, which takes a number or 'max'."
            )
        return {
            **plan.framing.layer_arguments(),
            "filters": plan.filters,
            "power": self.power,
            "log": self.log,
            "ref": ref,
            "amin": self.amin,
            "top_db": self.top_db,
            "eps": self.eps,
            "subtract_clip_mean": self.subtract_clip_mean,
        }

    def n_filter_values(self) -> int:  # noqa: D102
        return (frame_length(self) // 2 + 1) * self.n_mels

    def _plan(self) -> LogMelPlan:
        check_params(self)
        framing = Framing.of(self)
        filters = mel_filters(self, self.norm, framing.n_fft)
        return LogMelPlan(
            framing, filters, self.power, self._scale(), subtract_clip_mean=self.subtract_clip_mean
        )

    def _scale(self) -> Decibels | NaturalLog | NoLog:
        if self.log == "db":
            return Decibels(self.ref, self.amin, self.top_db)
        return NaturalLog(self.eps) if self.log == "ln" else NoLog()

    def _warn(self, plan: Any) -> None:
        warn_of_empty_bands(plan.filters)

    def _band_names(self) -> list[str]:
        return [f"mel_{i}" for i in range(self.n_mels)]
