"""A network that reports on itself: DiffRes inside an estimator and a search."""

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV

from skaudio.estimators import AudioClassifier
from skaudio.networks import DiffResNet, MTSNet


def make_decibels(lengths):
    """Noise in which a burst in one band tells the class, and silence after it."""
    rng = np.random.default_rng(0)
    X, y = [], np.arange(len(lengths)) % 3
    for length, label in zip(lengths, y, strict=True):
        clip = rng.normal(-60, 5, size=(6, length)).astype(np.float32)
        clip[2 * label, : length // 2] += 50
        clip[:, length // 2 :] = -80
        X.append(clip)
    return X, np.array(["dog", "cat", "cow"])[y]


EQUAL, RAGGED = make_decibels([24] * 36), make_decibels([3 + 7 * i % 23 for i in range(36)])


def classifier(rate=0.5, guide_weight=1.0, **parameters):
    backbone = MTSNet(n_filters=(4,), tempo_factors=(), dropout=0.0)
    network = DiffResNet(rate, backbone, guide_weight=guide_weight)
    options = {"max_epochs": 3, "batch_size": 12, "lr": 1e-2, "random_state": 0}
    return AudioClassifier(network, **options | parameters)


@pytest.mark.parametrize("data", [EQUAL, RAGGED], ids=["equal", "ragged"])
def test_history_shows_guide_loss_and_activeness(data):
    history = classifier().fit(*data).history_
    assert {"guide_loss", "activeness"} <= set(history)
    assert (history["guide_loss"] > 0).all()
    assert (history["activeness"] >= 0).all()


def test_the_guide_loss_is_part_of_the_training_loss():
    one_step = {"max_epochs": 1, "batch_size": 36}
    rows = {w: classifier(guide_weight=w, **one_step).fit(*EQUAL).history_ for w in (0.0, 1.0, 4.0)}
    plain, guided, heavy = (rows[w].iloc[0] for w in (0.0, 1.0, 4.0))
    assert plain["guide_loss"] == 0
    assert guided["guide_loss"] > 0.5
    assert heavy["guide_loss"] == pytest.approx(4 * guided["guide_loss"], rel=1e-5)
    for row in (guided, heavy):
        added = row["train_loss"] - plain["train_loss"]
        assert added == pytest.approx(row["guide_loss"], rel=1e-4)


def test_the_guide_weight_moves_the_scores_off_silence():
    spent = {}
    for weight in (0.0, 10.0):
        model = classifier(guide_weight=weight, max_epochs=10).fit(*EQUAL)
        spent[weight] = silence_share(model)
    assert spent[10.0] < 0.9 * spent[0.0]


def silence_share(model):
    x = torch.from_numpy(np.stack(EQUAL[0]))[:, None]
    with torch.inference_mode():
        return float(model.net_.module_.network.eval().warp(x)["guide_loss_total"])


def test_validation_loss_leaves_the_guide_loss_out():
    model = classifier(guide_weight=1000.0, max_epochs=1)
    history = model.fit(*EQUAL, X_val=EQUAL[0], y_val=EQUAL[1]).history_
    assert history["train_loss"].iloc[0] > 100
    assert history["valid_loss"].iloc[0] < 10


@pytest.mark.parametrize("rate", [0, 0.5, 0.9])
def test_a_prediction_depends_on_its_clip_alone(rate):
    X, y = RAGGED
    model = classifier(rate).fit(X, y)
    together = model.predict_proba(X)
    for i in (0, 5, 17):
        np.testing.assert_allclose(model.predict_proba([X[i]])[0], together[i], atol=1e-5)
    order = np.random.default_rng(1).permutation(len(X))
    shuffled = model.predict_proba([X[i] for i in order])
    np.testing.assert_allclose(shuffled, together[order], atol=1e-5)


def test_it_learns():
    X, y = RAGGED
    assert classifier(max_epochs=15).fit(X, y).score(X, y) > 0.9


def test_grid_search_reaches_rate_and_backbone():
    grid = {"network__reduction_rate": [0.25, 0.75], "network__backbone__n_filters": [(2,), (4, 4)]}
    search = GridSearchCV(classifier(max_epochs=1), grid, cv=2).fit(np.stack(EQUAL[0]), EQUAL[1])
    assert len(search.cv_results_["params"]) == 4
    network = search.best_estimator_.net_.module_.network
    best = search.best_params_
    assert network.diffres.dimension_reduction_rate == best["network__reduction_rate"]
    assert network.backbone.head.in_features % best["network__backbone__n_filters"][-1] == 0
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
