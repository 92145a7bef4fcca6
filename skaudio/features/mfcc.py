"""Mel-frequency cepstral coefficients and their deltas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from skaudio._validation import Interval, Options, StrOptions, check_params
from skaudio.features._base import WaveformTransformer
from skaudio.features._mel import (
    LEAST_POWER,
    MEL_CONSTRAINTS,
    Decibels,
    LogMelPlan,
    NaturalLog,
    mel_filters,
    warn_of_empty_bands,
)
from skaudio.features._stft import Framing, PadMode, frame_length

__all__ = ["MFCC"]


class MFCC(WaveformTransformer):
    r"""Compute the mel-frequency cepstral coefficients of every waveform.

    The result equals ``librosa.feature.mfcc(...)`` and, below it, ``librosa.feature.delta(...)``
    for the same settings, clip by clip. Takes waveforms of shape ``(n_clips, n_samples)``, or a
    list of waveforms of several lengths; returns float32 features of shape
    ``(n_clips, n_mfcc * (1 + deltas), n_frames)``, or a list of 2-D arrays.

    Parameters
    ----------
    sample_rate : float, default=16000
        Of the waveforms, in Hz. Loaded clips that remember another rate are refused.
    n_mfcc : int, default=20
        Number of coefficients, at most `n_mels`.
    dct_type : {1, 2, 3}, default=2
        Kind of cosine transform; see :func:`scipy.fft.dct`.
    norm : {"ortho"} or None, default="ortho"
        Normalisation of the cosine transform.
    lifter : float, default=0
        Where it is above 0, coefficient n (from 1) is multiplied by
        :math:`1 + \frac{l}{2} \sin(\pi n / l)`.
    deltas : {0, 1, 2}, default=0
        How many derivatives in time are stacked below the coefficients as further bands.
    delta_width : int, default=9
        Frames that a derivative is estimated from, odd and at least 3. A clip with fewer is
        lengthened for it by repeating its last frame.
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
        Number of mel bands that the coefficients are computed from.
    fmin, fmax : float, default=0.0 and None
        Lowest and highest frequency in Hz; `fmax` is half of `sample_rate` if None.
    htk : bool, default=False
        Whether mel is HTK's formula rather than Slaney's.
    mel_norm : {"slaney"}, float or None, default="slaney"
        Normalisation of the mel bands; `norm` of
        :class:`~skaudio.features.LogMelSpectrogram`.
    triangles : {"hz", "mel"}, default="hz"
        Over which axis the sides of a band's triangle are straight.
    log : {"db", "ln"}, default="db"
        Whether the coefficients are those of decibels, or of the natural logarithm of the power
        plus `eps`.
    amin : float, default=1e-10
        Smaller mel powers are raised to this one, 1e-37 or more. Only for ``log="db"``.
    top_db : float or None, default=80.0
        Decibels more than this below the clip's largest are raised to it. Only for ``log="db"``.
    eps : float, default=1e-6
        Added to the power before its logarithm, 1e-37 or more. Only for ``log="ln"``.
    n_jobs : int, optional
        Number of threads; None means 1 unless a :func:`joblib.parallel_config` says otherwise.

    See Also
    --------
    LogMelSpectrogram : The mel bands before the cosine transform.
    skaudio.layers.MFCC : The same features in a network.

    Notes
    -----
    The derivative of order d at a frame is that of the polynomial of degree d that fits the
    `delta_width` frames around it with the least squared error [1]_. Near a clip's ends it is
    that of the first or last `delta_width` frames.

    References
    ----------
    .. [1] Savitzky and Golay, "Smoothing and Differentiation of Data by Simplified Least Squares
       Procedures", Analytical Chemistry, 1964.

    Examples
    --------
    >>> import numpy as np
    >>> from skaudio.features import MFCC
    >>> MFCC(n_mfcc=13, deltas=2).fit_transform(np.zeros((2, 8000))).shape
    (2, 39, 63)
    """

    _parameter_constraints: dict = {
        **MEL_CONSTRAINTS,
        "n_mfcc": [Interval(Integral, 1, None, closed="left")],
        "dct_type": [Options(Integral, {1, 2, 3})],
        "norm": [StrOptions({"ortho"}), None],
        "lifter": [Interval(Real, 0, None, closed="left")],
        "deltas": [Options(Integral, {0, 1, 2})],
        "delta_width": [Interval(Integral, 3, None, closed="left")],
        "mel_norm": [StrOptions({"slaney"}), Real, None],
        "log": [StrOptions({"db", "ln"})],
        "eps": [Interval(Real, LEAST_POWER, None, closed="left")],
    }

    def __init__(
        self,
        sample_rate: float = 16000,
        *,
        n_mfcc: int = 20,
        dct_type: Literal[1, 2, 3] = 2,
        norm: Literal["ortho"] | None = "ortho",
        lifter: float = 0,
        deltas: Literal[0, 1, 2] = 0,
        delta_width: int = 9,
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
        mel_norm: float | Literal["slaney"] | None = "slaney",
        triangles: Literal["hz", "mel"] = "hz",
        log: Literal["db", "ln"] = "db",
        amin: float = 1e-10,
        top_db: float | None = 80.0,
        eps: float = 1e-6,
        n_jobs: int | None = None,
    ) -> None:
        self.sample_rate = sample_rate
        self.n_mfcc = n_mfcc
        self.dct_type = dct_type
        self.norm = norm
        self.lifter = lifter
        self.deltas = deltas
        self.delta_width = delta_width
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
        self.mel_norm = mel_norm
        self.triangles = triangles
        self.log = log
        self.amin = amin
        self.top_db = top_db
        self.eps = eps
        self.n_jobs = n_jobs

    layer_name = "MFCC"

    def layer_arguments(self) -> dict[str, Any]:
        """Return the arguments with which :class:`skaudio.layers.MFCC` computes the same.

        Returns
        -------
        dict

        Warns
        -----
        SkaudioWarning
            If mel bands are empty, as :meth:`fit` does.
        """
        plan = self._plan()
        self._warn(plan)
        return {
            **plan.log_mel.framing.layer_arguments(),
            "filters": plan.log_mel.filters,
            "cosines": plan.cosines,
            "slopes": plan.slopes,
            "power": self.power,
            "log": self.log,
            "amin": self.amin,
            "top_db": self.top_db,
            "eps": self.eps,
        }

    def n_filter_values(self) -> int:  # noqa: D102
        return (frame_length(self) // 2 + 1) * self.n_mels

    def _plan(self) -> _MFCCPlan:
        check_params(self)
        if self.n_mfcc > self.n_mels:
            raise ValueError(
                f"n_mfcc={self.n_mfcc} coefficients cannot be computed from n_mels={self.n_mels} "
                "bands. Raise n_mels or lower n_mfcc."
            )
        if self.delta_width % 2 == 0:
            raise ValueError(f"delta_width={self.delta_width} is even, but expected an odd number.")
        framing = Framing.of(self)
        filters = mel_filters(self, self.mel_norm, framing.n_fft)
        ln = self.log == "ln"
        scale = NaturalLog(self.eps) if ln else Decibels(1.0, self.amin, self.top_db)
        log_mel = LogMelPlan(framing, filters, self.power, scale)
        return _MFCCPlan(log_mel, self._cosines(), self._slopes())

    def _cosines(self) -> NDArray[np.float64]:
        """Compute the weights of cosine transform and lifter in one, ``(n_mfcc, n_mels)``."""
        from scipy.fft import dct

        basis = dct(np.eye(self.n_mels), axis=0, type=self.dct_type, norm=self.norm)[: self.n_mfcc]
        if self.lifter > 0:
            order = np.arange(1, 1 + self.n_mfcc)
            basis *= 1 + self.lifter / 2 * np.sin(np.pi * order / self.lifter)[:, np.newaxis]
        return basis

    def _slopes(self) -> NDArray[np.float64]:
        """Compute the weights of the frames around, of shape ``(deltas, delta_width)``."""
        from scipy.signal import savgol_coeffs

        orders = range(1, 1 + self.deltas)
        weights = [savgol_coeffs(self.delta_width, d, deriv=d, use="dot") for d in orders]
        return np.array(weights).reshape(self.deltas, self.delta_width)

    def _warn(self, plan: Any) -> None:
        warn_of_empty_bands(plan.log_mel.filters)

    def _band_names(self) -> list[str]:
        kinds = ("mfcc", "mfcc_delta", "mfcc_delta2")[: 1 + self.deltas]
        return [f"{kind}_{i}" for kind in kinds for i in range(self.n_mfcc)]


@dataclass(frozen=True, eq=False)
class _MFCCPlan:
    log_mel: LogMelPlan
    cosines: NDArray[np.float64]
    slopes: NDArray[np.float64]

    @property
    def framing(self) -> Framing:
        """Where the frames lie."""
        return self.log_mel.framing

    def __call__(self, clips: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        return [self._mfcc(log_mel) for log_mel in self.log_mel(clips)]

    def _mfcc(self, log_mel: NDArray[np.float32]) -> NDArray[np.float32]:
        cepstrum = self.cosines @ log_mel
        bands = [cepstrum, *(_derivative(cepstrum, weights) for weights in self.slopes)]
        return np.concatenate(bands, dtype=np.float32, casting="same_kind")


def _derivative(bands: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    width, n_frames = len(weights), bands.shape[1]
    bands = np.pad(bands, ((0, 0), (0, max(width - n_frames, 0))), mode="edge")
    # Savitzky and Golay: the fit is linear in the values, so that its d-th derivative is one fixed
    # weighted sum of the frames around.
    inner = np.lib.stride_tricks.sliding_window_view(bands, width, axis=1) @ weights
    # The d-th derivative of a polynomial of degree d is constant: frames at the ends, which have
    # no full window of their own, take that of the nearest one.
    ends = ((0, 0), (width // 2, width // 2))
    return np.pad(inner, ends, mode="edge")[:, :n_frames]
