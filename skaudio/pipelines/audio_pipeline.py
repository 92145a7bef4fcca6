"""A strong recogniser in one word."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal

from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import FeatureUnion, Pipeline

from skaudio.audio import AudioLoader
from skaudio.features import (
    MFCC,
    FeatureCache,
    LogMelSpectrogram,
    PitchSalience,
    StackedFeatures,
    TemporalStatistics,
    VoiceStatistics,
)
from skaudio.pipelines.block_scaler import BlockScaler
from skaudio.pipelines.random_convolutions import RandomConvolutions
from skaudio.pipelines.speed_copies import SpeedCopies

__all__ = ["audio_pipeline"]

_RATE = 16000
_HOP = 160  # 10 ms

_STATISTICS = (
    "mean", "std", "p1", "p10", "p25", "p50", "p75", "p90", "p99", "mean_abs_diff", "correlation",
    "skewness", "kurtosis",
)  # fmt: skip
_MODULATION = tuple(f"octave{k}" for k in range(1, 8))  # 50 down to 0.4 Hz
_LN: dict[str, Any] = {"log": "ln", "eps": 1e-7}


def audio_pipeline(
    kind: Literal["voice", "sound"] = "voice",
    estimator: Any = None,
    *,
    sample_rate: int = 16000,
    speeds: Sequence[float] = (0.92, 1.08),
    cache: str | os.PathLike[str] | None = None,
    random_state: Any = None,
) -> Pipeline:
    """Make a pipeline from sound files or waveforms to labels, with features that work well.

    Blocks of features of different kinds, random convolutions among them, are scaled and put side
    by side for a ridge classifier, which is trained on the clips and on copies of them at other
    speeds. No network is trained: a fit takes some seconds for a few hundred clips. On corpora of
    up to some thousand clips this is the first thing to try; see ``docs/benchmarks.md``.

    Parameters
    ----------
    kind : {"voice", "sound"}, default="voice"
        What is to be heard: "voice" for what speakers say and how they say it, "sound" for
        anything else, such as machines, animals, weather.
    estimator : classifier or regressor, optional
        What learns from the features. By default a
        :class:`~sklearn.linear_model.RidgeClassifier` with balanced classes and ``alpha=0.1``;
        for numbers, ``Ridge(alpha=0.1)`` is its twin.
    sample_rate : int, default=16000
        Rate in Hz of waveforms that are plain arrays. They are converted to 16 kHz, as are files,
        whose rate is known, while they are read.
    speeds : sequence of float, default=(0.92, 1.08)
        Speeds of the copies that are trained on, too; see :class:`SpeedCopies`. ``()`` for none.
    cache : str or pathlib.Path, optional
        Folder in which the features of clips and copies that do not depend on other clips are
        kept, by a :class:`~skaudio.features.FeatureCache` in each block.
    random_state : int, RandomState instance or None, default=None
        What the random convolutions are drawn with; see :class:`RandomConvolutions`.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Not fitted. Its steps are

        - ``loader``, an :class:`~skaudio.audio.AudioLoader`;
        - ``copies``, a :class:`SpeedCopies` around a pipeline of ``features`` and ``estimator``.

        ``features`` is a :class:`~sklearn.pipeline.FeatureUnion` of the blocks

        - ``patterns``: random convolutions on a log-mel spectrogram, for "voice" without what
          is 45 dB under a clip's loudest, and without the clip's mean of each band;
        - ``statistics``: statistics over time of its bands, of cepstral coefficients, and of the
          slopes of both;
        - ``voice`` (for "voice"): statistics of pitch, harmonicity and other descriptors;
        - ``pitch`` (for "voice"): random convolutions on the salience of pitches over time,

        each with a :class:`BlockScaler` at its end, so that all weigh the same.

    Raises
    ------
    ValueError
        If `kind` is unknown.

    See Also
    --------
    RandomConvolutions : The block that a convolutional network is replaced by.
    SpeedCopies : Trains on copies.
    skaudio.AudioClassifier : A network that is trained, for larger corpora.

    Notes
    -----
    All that is learned, scales and thresholds of the features included, is learned in ``fit``, so
    that a cross-validation learns it from the training clips of each fold.

    A block is left out by ``set_params(copies__estimator__features__voice="drop")``, and copies
    by ``set_params(copies__speeds=())``.

    Blocks that share features of frames compute them once each, so that any of them can be left
    out or changed alone: the log-mel spectrogram and the salience of pitches each take about a
    tenth of the time of all features.

    Examples
    --------
    >>> from skaudio import audio_pipeline
    >>> from skaudio.datasets import make_tones
    >>> X, y = make_tones(30, sample_rate=16000, random_state=0)
    >>> model = audio_pipeline("sound", random_state=0)
    >>> model.fit(X[:20], y[:20]).score(X[20:], y[20:])
    1.0
    """
    if kind not in ("voice", "sound"):
        raise ValueError(f"kind is {kind!r}, but expected 'voice' or 'sound'.")
    blocks = _blocks(kind, cache, random_state)
    features = FeatureUnion(
        [(name, Pipeline([*steps, ("scaler", BlockScaler())])) for name, steps in blocks.items()],
        # The squared length of a row is the sum of those of its parts, 1 for each block.
        transformer_weights=dict.fromkeys(blocks, len(blocks) ** -0.5),
    )
    # Where scikit-learn is set to make tables of all results, the steps here still pass on arrays:
    # none of them needs names, and a step cannot know those that the steps before it give.
    features.set_output(transform="default")
    if estimator is None:
        estimator = RidgeClassifier(alpha=0.1, class_weight="balanced")
    learner = Pipeline([("features", features), ("estimator", estimator)])
    return Pipeline(
        [
            ("loader", AudioLoader(sample_rate=_RATE, array_rate=sample_rate)),
            ("copies", SpeedCopies(learner, speeds=speeds, sample_rate=_RATE)),
        ]
    )


def _blocks(
    kind: str, cache: str | os.PathLike[str] | None, random_state: Any
) -> dict[str, list[tuple[str, Any]]]:
    """Return the steps of each block, without its scaler."""

    def kept(steps: Any) -> Any:
        return steps if cache is None else FeatureCache(steps, cache)

    # Patterns are 5 or 9 frames long, 5 to 65 with their dilations. On voices, frames every 10 ms
    # were a little better than every 20 ms, which cost half as much. Of a voice, what lies 45 dB
    # under the loudest is mostly noise of the recording, and the mean of a band mostly the colour
    # of the microphone; of other sounds both may be all that there is.
    is_voice = kind == "voice"
    spectrogram: Any
    if is_voice:
        spectrogram = _log_mel(top_db=45.0, subtract_clip_mean=True)
    else:
        spectrogram = StackedFeatures([("log_mel", _log_mel(**_LN))], average=2)
    patterns = RandomConvolutions(random_state=random_state)
    both = StackedFeatures([("log_mel", _log_mel(**_LN)), ("mfcc", _mfcc())])
    statistics = TemporalStatistics(
        (*_STATISTICS, *(f"delta_{name}" for name in _STATISTICS), *_MODULATION)
    )
    blocks: dict[str, list[tuple[str, Any]]] = {
        "patterns": [("frame_features", kept(spectrogram)), ("convolutions", patterns)],
        "statistics": [
            (
                "statistics",
                kept(Pipeline([("frame_features", both), ("statistics", statistics)])),
            )
        ],
    }
    if is_voice:
        salience = StackedFeatures([("salience", PitchSalience(_RATE, hop_length=_HOP))], average=2)
        convolutions = RandomConvolutions(
            160, heights=(8, 16, 30, 60), lengths=(7,), random_state=random_state
        )
        blocks["voice"] = [("statistics", kept(VoiceStatistics(_RATE, hop_length=_HOP)))]
        blocks["pitch"] = [("frame_features", kept(salience)), ("convolutions", convolutions)]
    return blocks


def _log_mel(**scale: Any) -> LogMelSpectrogram:
    return LogMelSpectrogram(
        _RATE, n_fft=512, win_length=400, hop_length=_HOP, n_mels=64, fmin=30, **scale
    )


def _mfcc() -> MFCC:
    return MFCC(_RATE, n_mfcc=30, n_fft=512, win_length=400, hop_length=_HOP, n_mels=64, fmin=30)
