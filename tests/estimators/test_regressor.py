"""The concordance loss, which is one number for a whole batch, and targets that are all equal."""

import numpy as np
import pytest

from skaudio.estimators import AudioRegressor
from skaudio.losses import ConcordanceLoss


@pytest.fixture
def loudness():
    rng = np.random.default_rng(0)
    level = rng.uniform(-3, 3, size=40)
    X = rng.normal(size=(40, 4, 10)) + level[:, None, None]
    return X.astype(np.float32), 100 + 20 * level


def regressor(network, **parameters):
    return AudioRegressor(network, **{"max_epochs": 3, "random_state": 0, **parameters})


@pytest.mark.parametrize("loss", ["concordance", ConcordanceLoss()], ids=repr)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_concordance_is_not_mixed(tiny, loudness, loss, method):
    model = regressor(tiny, loss=loss, mixup=0.2)
    with pytest.raises(ValueError, match=r"mixup=0\.2 shares .* 'squared_error'"):
        getattr(model, method)(*loudness)


def test_losses_per_clip_are_mixed(tiny, loudness):
    X, _ = loudness
    tiny.set_params(level_norm=False)  # the loudness itself is the target
    mixed, plain = (
        regressor(tiny, loss="huber", mixup=mixup, lr=1e-2, max_epochs=20).fit(*loudness)
        for mixup in (0.2, 0.0)
    )
    losses = mixed.history_["train_loss"]
    assert losses.iloc[-1] < 0.8 * losses.iloc[0]
    assert not np.array_equal(mixed.predict(X), plain.predict(X))


def test_concordance_takes_weights_by_name_and_as_an_object(tiny, loudness):
    X, y = loudness
    weight = np.linspace(0.5, 2, len(y))
    by_name, as_object = (
        regressor(tiny, loss=loss).fit(X, y, sample_weight=weight).predict(X)
        for loss in ("concordance", ConcordanceLoss())
    )
    np.testing.assert_array_equal(by_name, as_object)


@pytest.mark.parametrize("value", [0.1, 0.3, -1.1e6, 0.0])
def test_equal_targets_have_a_scale_of_1(tiny, loudness, value):
    X, y = loudness
    model = regressor(tiny).partial_fit(X[:7], np.full(7, value), sample_weight=np.arange(1, 8.0))
    assert model.target_scale_ == 1
    model.partial_fit(X, value + (y - 100) / 20)
    assert model.history_["train_loss"].max() < 100


def test_many_equal_targets_have_a_scale_of_1_beside_others(tiny):
    X, rng = np.zeros((3000, 2, 3), np.float32), np.random.default_rng(0)
    Y = np.column_stack([rng.normal(size=3000), np.full(3000, 0.1)])
    model = regressor(tiny, batch_size=1000).partial_fit(X, Y)
    assert model.target_scale_[1] == 1
    assert model.target_mean_[1] == 0.1
