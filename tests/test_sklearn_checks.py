"""scikit-learn's own checks on every public estimator and transformer.

This is the one place where they run, once per instance. Only FeatureCache, which needs a folder,
has them beside its other tests.
"""

import inspect

import pytest
import torch
from sklearn.base import BaseEstimator
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

import skaudio
from skaudio import (
    MFCC,
    AudioClassifier,
    AudioLoader,
    AudioRegressor,
    BandScaler,
    BlockScaler,
    FeatureCache,
    LogMelSpectrogram,
    MultiCorpusClassifier,
    NetworkFeatures,
    PitchSalience,
    RandomConvolutions,
    Spectrogram,
    SpeedCopies,
    StackedFeatures,
    TemporalStatistics,
    VoiceDescriptors,
    VoiceStatistics,
)
from skaudio.networks import AdapterResNet, DiffResNet, MTSNet, SeparableNet

MINIBATCHES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "Minibatches: a clip of weight 2 takes one place in one batch, a repeated clip two places "
        "in two. scikit-learn exempts its own SGDClassifier and SGDRegressor for the same reason. "
        "In one batch, without batch statistics, it holds: see DoublePrecision below."
    )
}
EXPECTED_FAILURES = dict.fromkeys(
    (AudioClassifier, AudioRegressor, MultiCorpusClassifier), MINIBATCHES
)


class DoublePrecision(nn.Module):
    """Two layers without batch statistics, in float64."""

    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.hidden = nn.Linear(n_features, 16, dtype=torch.float64)
        self.head = nn.Linear(16, n_outputs, dtype=torch.float64)

    def forward(self, x):
        return self.head(torch.tanh(self.hidden(x.double().flatten(1))))


def build_double_precision(n_bands, n_outputs, n_frames=None, n_channels=1):
    return DoublePrecision(n_channels * n_bands * n_frames, n_outputs)


def in_one_batch(estimator):
    return estimator(build_double_precision, batch_size=10_000, lr=3e-2, max_epochs=60)


WITHOUT_EXEMPTION = [in_one_batch(AudioClassifier), in_one_batch(AudioRegressor)]

EVERY_STATISTIC = (
    "mean", "std", "min", "max", "p0", "p5", "p50", "p100", "skewness", "kurtosis", "slope",
    "mean_abs_diff", "mean_rise", "correlation", "p80-p20", "octave1", "octave9", "delta_std",
)  # fmt: skip

ESTIMATORS = [
    AudioClassifier(max_epochs=30, batch_size=32),
    AudioRegressor(max_epochs=30, batch_size=32),
    # The checks seed an estimator's own random_state, not that of one inside it.
    MultiCorpusClassifier(
        AudioClassifier(AdapterResNet(n_filters=8), max_epochs=30, batch_size=32, random_state=0)
    ),
    *WITHOUT_EXEMPTION,
    AudioLoader(),
    AudioLoader(sample_rate=None, n_jobs=2),
    BandScaler(),
    BandScaler(scope="global"),
    BandScaler(with_mean=False, with_std=False),
    BlockScaler(),
    LogMelSpectrogram(),
    MFCC(),
    MFCC(deltas=2),
    NetworkFeatures(AudioClassifier(max_epochs=2, random_state=0)),
    RandomConvolutions(),
    RandomConvolutions(4, heights=[1, 3], lengths=[3], dilations=[1]),
    SpeedCopies(make_pipeline(TemporalStatistics(), BlockScaler(), RidgeClassifier())),
    SpeedCopies(
        AudioRegressor(
            MTSNet(n_filters=(16,), n_frame_features=None, pooling="attention", head_dropout=0.0),
            lr=1e-2,
            max_epochs=30,
            batch_size=32,
            random_state=0,
        ),
        speeds=[1.1],
    ),
    PitchSalience(),
    Spectrogram(),
    StackedFeatures([("mel", LogMelSpectrogram(hop_length=160)), ("pitch", PitchSalience())]),
    TemporalStatistics(),
    TemporalStatistics(EVERY_STATISTIC),
    TemporalStatistics(("delta_mean",), delta_width=3),
    VoiceDescriptors(),
    VoiceStatistics(),
]

PLAIN = {
    "block": "plain", "first_stride": None, "n_frame_features": None, "pooling": "attention",
}  # fmt: skip

OTHER_NETWORKS = [
    AudioClassifier(SeparableNet(n_filters=(16, 32)), lr=1e-2, max_epochs=30, batch_size=32),
    AudioClassifier(
        # Of the checks' two columns one is left: the network learns slowly, if steadily.
        DiffResNet(0.5, MTSNet(n_filters=(16, 32), **PLAIN), input_scale="ln"),
        max_epochs=60,
        batch_size=32,
    ),
    AudioClassifier(AdapterResNet(n_filters=8), max_epochs=30, batch_size=32),
]


def expected_failures(estimator):
    if estimator in WITHOUT_EXEMPTION:
        return {}
    return EXPECTED_FAILURES.get(type(estimator), {})


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failures)
def test_scikit_learn_agrees(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(OTHER_NETWORKS, expected_failed_checks=expected_failures)
def test_scikit_learn_agrees_with_other_networks(estimator, check):
    check(estimator)


def test_nothing_public_is_left_out():
    public = {getattr(skaudio, name) for name in skaudio.__all__}
    classes = {item for item in public if inspect.isclass(item) and issubclass(item, BaseEstimator)}
    # FeatureCache needs a folder of its own: see tests/features/test_cache.py.
    assert classes - {FeatureCache} == {type(estimator) for estimator in ESTIMATORS}


def test_no_instance_is_checked_twice():
    estimators = ESTIMATORS + OTHER_NETWORKS
    assert len({repr(estimator) for estimator in estimators}) == len(estimators)
