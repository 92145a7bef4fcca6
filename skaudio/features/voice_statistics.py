"""Statistics of a voice: one row for each clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from skaudio._validation import Clips, Interval, check_params
from skaudio.features._base import WaveformTransformer
from skaudio.features._pitch import PITCH_CONSTRAINTS, PitchPlan
from skaudio.features._statistics import DELTA, check_statistics, compute_statistics, deltas
from skaudio.features.voice_descriptors import DESCRIPTORS, VoicePlan

__all__ = ["VoiceStatistics"]

_STATISTICS = (
    "mean", "std", "p5", "p20", "p50", "p80", "p95", "p80-p20", "p95-p5", "mean_abs_diff",
    "mean_rise", "correlation", "skewness", "kurtosis",
)  # fmt: skip

# Slopes over unvoiced frames say little where a descriptor needs a voice; harmonicity and energy
# show how voicing begins and ends.
_MOVING_IN_SPEECH = ("hnr", "energy")

_RHYTHM = (
    "voiced_share", "voiced_runs_per_frame", "voiced_run_mean", "voiced_run_std",
    "unvoiced_run_mean", "unvoiced_run_std", "speech_share",
)  # fmt: skip


class VoiceStatistics(WaveformTransformer):
    """Compute statistics of the voice's descriptors over voiced and over speech frames.

    Takes waveforms of shape ``(n_clips, n_samples)``, or a list of waveforms of several lengths;
    returns a float32 table of shape ``(n_clips, n_columns)``, 791 columns with the default
    statistics, that any estimator of scikit-learn takes. They are statistics of the descriptors
    of :class:`VoiceDescriptors` over the voiced frames and over the speech frames; of the
    descriptors' slopes over the voiced frames, and of those of harmonicity and energy over the
    speech frames; and seven numbers on the rhythm of voicing: the shares of voiced and of speech
    frames, the voiced runs for each frame, and mean and deviation of the length of voiced and
    of unvoiced runs, in frames.

    Parameters
    ----------
    sample_rate : float, default=16000
        Of the waveforms, in Hz, at least 16000. Loaded clips that remember another rate are
        refused.
    statistics : sequence of str
        Names as :class:`TemporalStatistics` knows them, but none that begin with "delta_", as
        slopes have columns of their own with the same statistics. By default mean, standard
        deviation, the percentiles 5, 20, 50, 80 and 95, the ranges from 20 to 80 and from 5 to
        95, mean absolute and mean rising difference of neighbouring frames, correlation with
        time, skewness and kurtosis.
    smoothing : int, default=3
        Frames, this one in their middle, that each descriptor is averaged over before statistics
        are taken, odd; 1 averages none. At a clip's ends the outermost frame is repeated.
    delta_width : int, default=5
        Frames that a slope is estimated from, odd and at least 3.
    hop_length, win_length, n_lags, fmin, fmax
        As in :class:`VoiceDescriptors`.
    n_jobs : int, optional
        Number of threads; None means 1 unless a :func:`joblib.parallel_config` says otherwise.

    See Also
    --------
    VoiceDescriptors : The sequences that the statistics are of.
    TemporalStatistics : Statistics of any features.
    scale_by_group : Standardise each speaker's rows.

    Notes
    -----
    Statistics over no frame are 0: those over voiced frames of a clip without any, and all of a
    silent clip. Statistics of differences are over frames that are neighbours in the clip.

    Examples
    --------
    >>> import numpy as np
    >>> from skaudio.features import VoiceStatistics
    >>> seconds = np.arange(8000) / 16000
    >>> buzz = 0.1 * np.sign(np.sin(2 * np.pi * 220 * seconds))
    >>> voice = VoiceStatistics().set_output(transform="pandas")
    >>> row = voice.fit_transform([buzz]).iloc[0]
    >>> len(row), float(row["f0_voiced_p50"].round(1))
    (791, 36.0)
    """

    _parameter_constraints: dict = {
        **PITCH_CONSTRAINTS,
        "statistics": [tuple, list],
        "smoothing": [Interval(Integral, 1, None, closed="left")],
        "delta_width": [Interval(Integral, 3, None, closed="left")],
    }

    def __init__(
        self,
        sample_rate: float = 16000,
        *,
        statistics: Sequence[str] = _STATISTICS,
        smoothing: int = 3,
        delta_width: int = 5,
        hop_length: int | None = None,
        win_length: int | None = None,
        n_lags: int = 60,
        fmin: float = 60.0,
        fmax: float = 600.0,
        n_jobs: int | None = None,
    ) -> None:
        self.sample_rate = sample_rate
        self.statistics = statistics
        self.smoothing = smoothing
        self.delta_width = delta_width
        self.hop_length = hop_length
        self.win_length = win_length
        self.n_lags = n_lags
        self.fmin = fmin
        self.fmax = fmax
        self.n_jobs = n_jobs

    def _plan(self) -> _StatisticsPlan:
        check_params(self)
        check_statistics(self.statistics)
        slopes = [name for name in self.statistics if name.startswith(DELTA)]
        if slopes:
            raise ValueError(
                f"statistics holds {slopes[0]!r}, but expected names without {DELTA!r}: slopes are "
                f"described by the same statistics already. Pass {slopes[0].removeprefix(DELTA)!r}."
            )
        for name in ("smoothing", "delta_width"):
            if getattr(self, name) % 2 == 0:
                raise ValueError(
                    f"{name}={getattr(self, name)} is even, but expected an odd number."
                )
        voice = VoicePlan(PitchPlan.of(self), self.sample_rate)
        return _StatisticsPlan(voice, self.statistics, self.smoothing, self.delta_width)

    def _transform(self, X: Any) -> Clips:
        return np.stack([*super()._transform(X)])

    def _band_names(self) -> list[str]:
        blocks = [
            ("voiced", DESCRIPTORS),
            ("speech", DESCRIPTORS),
            ("voiced_delta", DESCRIPTORS),
            ("speech_delta", _MOVING_IN_SPEECH),
        ]
        names = [
            f"{descriptor}_{frames}_{statistic}"
            for frames, descriptors in blocks
            for statistic in self.statistics
            for descriptor in descriptors
        ]
        return [*names, *_RHYTHM]


@dataclass(frozen=True, eq=False)
class _StatisticsPlan:
    voice: VoicePlan
    statistics: Sequence[str]
    smoothing: int
    delta_width: int

    def __call__(self, clips: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        return [self._row(sequences) for sequences in self.voice(clips)]

    def _row(self, sequences: NDArray[np.float32]) -> NDArray[np.float32]:
        descriptors, flags = sequences[: len(DESCRIPTORS)], sequences[len(DESCRIPTORS) :]
        descriptors = uniform_filter1d(descriptors, self.smoothing, axis=1, mode="nearest")
        voiced, speech = (np.flatnonzero(flag) for flag in flags)
        slopes = deltas(descriptors, self.delta_width)
        moving = [DESCRIPTORS.index(name) for name in _MOVING_IN_SPEECH]
        blocks = [
            (descriptors, voiced), (descriptors, speech), (slopes, voiced), (slopes[moving], speech)
        ]  # fmt: skip
        columns = [
            compute_statistics(self.statistics, values[:, frames], frames).ravel()
            for values, frames in blocks
        ]
        return np.concatenate([*columns, _rhythm(*flags)], dtype=np.float32, casting="same_kind")


def _rhythm(voiced: NDArray[np.float32], speech: NDArray[np.float32]) -> NDArray[np.float64]:
    """Describe how voicing comes and goes: the numbers that _RHYTHM names."""
    edges = np.flatnonzero(np.diff(voiced, prepend=np.nan, append=np.nan))
    lengths, is_voiced = np.diff(edges), voiced[edges[:-1]] == 1
    runs = [
        number
        for chosen in (lengths[is_voiced], lengths[~is_voiced])
        for number in ((chosen.mean(), chosen.std()) if len(chosen) else (0, 0))
    ]
    return np.array([voiced.mean(), is_voiced.sum() / len(voiced), *runs, speech.mean()])
