import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from skaudio import AudioClassifier, AudioRegressor, LogMelSpectrogram
from skaudio.datasets import make_tones
from skaudio.networks import DiffResNet, MTSNet, SeparableNet
from skaudio.pipelines import NetworkFeatures


@pytest.fixture(scope="module")
def clips():
    return make_tones(24, sample_rate=8000, duration=0.1, random_state=0)


def classifier(network=None, **parameters):
    return AudioClassifier(
        network or MTSNet(n_filters=(4,)),
        frontend=LogMelSpectrogram(sample_rate=8000, n_mels=16),
        **{"max_epochs": 2, "random_state": 0, **parameters},
    )


@pytest.mark.parametrize(
    "network",
    [
        MTSNet(n_filters=(4,)),
        SeparableNet(n_filters=(4, 8)),
        DiffResNet(backbone=MTSNet(n_filters=(4,))),
    ],
    ids=lambda network: type(network).__name__,
)
def test_the_head_makes_logits_of_it(clips, network):
    X, y = clips
    model = NetworkFeatures(classifier(network)).fit(X, y)
    vectors, head = model.transform(X), model.estimator_.net_.module_.network.head
    assert vectors.dtype == np.float32
    assert len(model.get_feature_names_out()) == vectors.shape[1] == head.in_features
    with torch.inference_mode():
        logits = head.eval()(torch.from_numpy(vectors)).numpy()
    np.testing.assert_allclose(logits, model.estimator_.decision_function(X), atol=1e-5)


def test_a_clip_has_the_same_vector_alone_and_among_others(clips):
    X, y = clips
    ragged = [clip[: len(clip) - 50 * (i % 5)] for i, clip in enumerate(X)]
    model = NetworkFeatures(classifier()).fit(ragged, y)
    alone = [model.transform([clip])[0] for clip in ragged]
    np.testing.assert_allclose(model.transform(ragged), alone, rtol=1e-5, atol=1e-6)


def test_crops_are_averaged(clips):
    X, y = clips
    trained = classifier(crop=0.05, crop_aggregation="mean").fit(X, y)
    halves = [trained.embed([*X[:, half]]) for half in (slice(0, 400), slice(400, 800))]
    np.testing.assert_allclose(trained.embed(X), np.mean(halves, axis=0), rtol=1e-4, atol=1e-5)


def test_a_frozen_network_is_not_trained_again(clips):
    X, y = clips
    trained = classifier().fit(X, y)
    for model in (
        NetworkFeatures(FrozenEstimator(trained)),
        clone(NetworkFeatures(FrozenEstimator(trained))),
    ):
        model.fit(X[:5])
        np.testing.assert_array_equal(model.transform(X), trained.embed(X))
    with pytest.raises(NotFittedError):
        NetworkFeatures(FrozenEstimator(classifier())).fit(X)


def test_a_regressor_has_a_vector_too(clips):
    X, _ = clips
    network = AudioRegressor(MTSNet(n_filters=(4,)), max_epochs=1, random_state=0)
    model = NetworkFeatures(network).fit(X, X[:, :2])
    assert model.transform(X).shape[0] == len(X)


def test_it_is_trained_in_each_fold_and_searched_over(clips):
    X, y = clips
    model = make_pipeline(NetworkFeatures(classifier(max_epochs=15)), RidgeClassifier())
    assert cross_val_score(model, X, y, cv=2).mean() > 0.8
    grid = {"networkfeatures__estimator__network__n_filters": [(2,), (4,)]}
    search = GridSearchCV(model, grid, cv=2).fit(X, y)
    assert search.best_params_.keys() == grid.keys()


def test_groups_and_weights_are_passed_on(clips):
    X, y = clips
    weight, groups = np.arange(len(X)), np.arange(len(X)) % 4
    inner = classifier(early_stopping=True, validation_fraction=0.25)
    direct = clone(inner).fit(X, y, sample_weight=weight, groups=groups).embed(X)
    passed = NetworkFeatures(inner).fit(X, y, sample_weight=weight, groups=groups)
    np.testing.assert_array_equal(passed.transform(X), direct)
    with config_context(enable_metadata_routing=True):
        model = make_pipeline(
            NetworkFeatures(inner), RidgeClassifier().set_fit_request(sample_weight=False)
        )
        model.fit(X, y, sample_weight=weight, groups=groups)
    np.testing.assert_array_equal(model[:-1].transform(X), direct)


def test_other_estimators_are_refused(clips):
    with pytest.raises(TypeError, match="expected an AudioClassifier or AudioRegressor"):
        NetworkFeatures(RidgeClassifier()).fit(*clips)


def test_a_network_without_a_head_is_refused(clips):
    def build(n_bands, n_outputs, n_frames=None, n_channels=1):
        return torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(n_bands * n_frames, n_outputs)
        )

    with pytest.raises(ValueError, match="has no layer `head`"):
        NetworkFeatures(classifier(build)).fit(*clips)


def test_it_can_return_a_table(clips):
    X, y = clips
    table = NetworkFeatures(classifier()).set_output(transform="pandas").fit(X, y).transform(X)
    assert len(table) == len(X)
    assert table.columns[0] == "networkfeatures0"
