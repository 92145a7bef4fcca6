"""What weights of clips and of classes do to a training."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from skaudio.estimators import AudioClassifier, AudioRegressor


class Linear(nn.Module):
    """A layer in float64, in which sums do not depend on the batch."""

    def __init__(self, n_bands, n_outputs):
        super().__init__()
        self.head = nn.Linear(n_bands, n_outputs, dtype=torch.float64)

    def forward(self, x):
        return self.head(x.double().mean(dim=(1, 3)))


def build_linear(n_bands, n_outputs, n_frames=None, n_channels=1):
    return Linear(n_bands, n_outputs)


def classifier(**parameters):
    """Train in one batch by plain descent."""
    return AudioClassifier(
        build_linear,
        **{
            "optimizer": torch.optim.SGD, "lr": 1e-2, "lr_schedule": None, "weight_decay": 0.0,
            "clip_norm": None, "max_epochs": 5, "batch_size": 1000, "random_state": 0, **parameters,
        },
    )  # fmt: skip


def moved(model, X, y, **weights):
    """Say how far one call of partial_fit moves the weights."""
    model = copy.deepcopy(model)
    before = model.net_.module_.network.head.weight.detach().clone()
    model.partial_fit(X, y, **weights)
    return (model.net_.module_.network.head.weight.detach() - before).numpy()


@pytest.mark.parametrize("class_weight", [None, "balanced", {"cat": 3, "dog": 0.5}])
def test_integer_weight_is_repetition(features, class_weight):
    X, y = features
    times = 1 + (np.arange(len(y)) * 7 % 5) * (y == "dog")
    weighted = classifier(class_weight=class_weight).fit(X, y, sample_weight=times)
    repeated = classifier(class_weight=class_weight).fit(
        np.repeat(X, times, axis=0), np.repeat(y, times)
    )
    np.testing.assert_allclose(
        weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-6, atol=1e-7
    )


def test_balanced_classes_count_the_same_whatever_their_clips_weigh(features):
    X, y = features
    weight = np.where(y == "dog", 10.0, 1.0)
    plain = classifier(class_weight="balanced").fit(X, y).predict_proba(X)
    weighted = classifier(class_weight="balanced").fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(weighted.predict_proba(X), plain, rtol=1e-6)


@pytest.mark.parametrize("weight", [0.001, 100.0])
def test_partial_fit_takes_weights_as_they_are(features, weight):
    X, y = features
    model = classifier().fit(X, y)
    step = moved(model, X, y)
    weighted = moved(model, X, y, sample_weight=np.full(len(y), weight))
    np.testing.assert_allclose(weighted, weight * step, rtol=1e-5, atol=1e-12)


def test_partial_fit_of_a_regressor_takes_weights_as_they_are(features):
    X, _ = features
    model = AudioRegressor(
        build_linear, optimizer=torch.optim.SGD, weight_decay=0.0, clip_norm=None,
        batch_size=1000, max_epochs=2, random_state=0,
    ).fit(X, X[:, 0].mean(axis=1))  # fmt: skip
    step = moved(model, X, np.arange(48))
    weighted = moved(model, X, np.arange(48), sample_weight=np.full(48, 3.0))
    np.testing.assert_allclose(weighted, 3 * step, rtol=1e-5)


def test_class_weight_holds_in_chunks_of_one_class(features):
    X, y = features
    X, y = X[y == "cat"], y[y == "cat"]
    plain = classifier().fit(*features)
    weighted = copy.deepcopy(plain).set_params(class_weight={"dog": 5, "cat": 4, "cow": 1})
    np.testing.assert_allclose(moved(weighted, X, y), 4 * moved(plain, X, y), rtol=1e-5)


def test_class_weight_names_classes_that_a_chunk_lacks(features):
    X, y = features
    rest = y != "dog"
    by_class = classifier(class_weight={"dog": 5, "cat": 2})
    by_class.partial_fit(X[rest], y[rest], classes=["cat", "cow", "dog"]).partial_fit(X, y)
    weight = np.select([y == "dog", y == "cat"], [5.0, 2.0], default=1.0)
    by_clip = classifier()
    by_clip.partial_fit(X[rest], y[rest], classes=["cat", "cow", "dog"], sample_weight=weight[rest])
    by_clip.partial_fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(by_class.predict_proba(X), by_clip.predict_proba(X))


def test_a_first_chunk_of_a_class_that_weighs_nothing(features):
    X, y = features
    cats = y == "cat"
    model = classifier(class_weight={"cat": 0})
    model.partial_fit(X[cats], y[cats], classes=["cat", "cow", "dog"])
    assert np.isfinite(model.predict_proba(X)).all()


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ({"cat": -1}, "gives 'cat' the weight -1.0, but expected a finite number >= 0"),
        ({"dog": np.nan}, "gives 'dog' the weight nan"),
        ({"dog": np.inf}, "gives 'dog' the weight inf"),
        ({"dog": 0, "cat": 0, "cow": 0}, "all classes .* the weight 0"),
        ({"dgo": 2}, "label 'dgo', which is not one of the classes .* no weight for"),
    ],
)
def test_class_weights_without_sense_are_refused(features, class_weight, message):
    X, y = features
    with pytest.raises(ValueError, match=message):
        classifier(class_weight=class_weight).fit(X, y)


def test_clips_that_all_weigh_nothing_are_refused(features):
    X, y = features
    model = classifier(class_weight={"cat": 0, "dog": 1, "cow": 1}, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="All clips weigh 0 after class_weight"):
        model.fit(X[y == "cat"], y[y == "cat"])


@pytest.mark.parametrize("classes", [["cat", "cow"], ["cat", "cow", "fox"], [0, 1, 2]])
def test_other_classes_in_a_later_call_are_refused(features, classes):
    X, y = features
    model = classifier().partial_fit(X, y, classes=["dog", "cat", "cow"])
    model.partial_fit(X, y, classes=["cow", "dog", "cat"])
    with pytest.raises(ValueError, match="is not the same as on last call to partial_fit"):
        model.partial_fit(X, y, classes=classes)


def test_clips_that_were_trained_on_are_counted(features):
    X, y = features
    weight = np.ones(len(y))
    weight[:2] = 0
    model = classifier(early_stopping=True, validation_fraction=0.25).fit(X, y)
    assert model.n_clips_ == len(y) - round(0.25 * len(y))
    assert classifier().fit(X, y, sample_weight=weight).n_clips_ == len(y) - 2
    assert model.partial_fit(X[:10], y[:10]).n_clips_ == 10
