import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import GridSearchCV, KFold, cross_validate

from skaudio.metrics import (
    ccc_scorer,
    concordance_correlation,
    uar_by_corpus,
    uar_scorer,
    unweighted_average_recall,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("labels", [np.arange(4), np.array(["angry", "calm", "glad", "sad"])])
@pytest.mark.parametrize("weighted", [False, True])
def test_uar_is_macro_recall(rng, labels, weighted):
    y_true, y_pred = rng.choice(labels, 50), rng.choice(labels, 50)
    weight = rng.uniform(0.1, 3, 50) if weighted else None
    expected = recall_score(
        y_true, y_pred, average="macro", labels=np.unique(y_true), sample_weight=weight
    )
    assert_allclose(unweighted_average_recall(y_true, y_pred, sample_weight=weight), expected)


def test_uar_counts_every_class_the_same():
    y_true = ["calm"] * 99 + ["angry"]
    assert unweighted_average_recall(y_true, ["calm"] * 100) == 0.5
    assert unweighted_average_recall(y_true, y_true) == 1.0


def test_uar_of_a_label_never_seen_is_only_a_mistake():
    assert unweighted_average_recall(["a", "a", "b", "b"], ["a", "c", "b", "b"]) == 0.75
    assert unweighted_average_recall([1, 1, 2], ["x", "y", "z"]) == 0.0


def test_uar_integer_weight_equals_repetition(rng):
    y_true, y_pred, times = rng.integers(0, 3, (3, 30))
    assert_allclose(
        unweighted_average_recall(y_true, y_pred, sample_weight=times),
        unweighted_average_recall(np.repeat(y_true, times), np.repeat(y_pred, times)),
    )


def test_uar_by_corpus():
    y, corpus = ["a", "b", "c", "d"], ["one", 2, 2, "one"]
    assert uar_by_corpus(y, ["a", "c", "c", "d"], corpus) == {"2": 0.5, "one": 1.0}
    numbers = pd.Series([1, 2, 2, 1], dtype="Int64")
    assert uar_by_corpus(y, y, numbers) == {"1": 1.0, "2": 1.0}
    with pytest.raises(ValueError, match="corpus has no value at 1"):
        uar_by_corpus(y, y, ["one", None, "one", "one"])
    with pytest.raises(ValueError, match="are empty"):
        uar_by_corpus([], [], [])


def test_uar_class_without_weight_is_absent():
    assert unweighted_average_recall(["a", "b"], ["a", "a"], sample_weight=[1, 0]) == 1.0


def brute_concordance(y_true, y_pred, weight):
    total, mean_true, mean_pred = weight.sum(), 0.0, 0.0
    for w, t, p in zip(weight, y_true, y_pred, strict=True):
        mean_true, mean_pred = mean_true + w * t / total, mean_pred + w * p / total
    var_true = var_pred = cov = 0.0
    for w, t, p in zip(weight, y_true, y_pred, strict=True):
        var_true += w * (t - mean_true) ** 2 / total
        var_pred += w * (p - mean_pred) ** 2 / total
        cov += w * (t - mean_true) * (p - mean_pred) / total
    return 2 * cov / (var_true + var_pred + (mean_true - mean_pred) ** 2)


@pytest.mark.parametrize("weighted", [False, True])
def test_concordance_is_lins_formula(rng, weighted):
    y_true = rng.normal(size=(20, 3))
    y_pred = 0.7 * y_true + rng.normal(size=(20, 3)) + 0.2
    weight = rng.integers(0, 4, 20).astype(float) if weighted else np.ones(20)
    expected = [brute_concordance(t, p, weight) for t, p in zip(y_true.T, y_pred.T, strict=True)]
    given = weight if weighted else None
    raw = concordance_correlation(y_true, y_pred, sample_weight=given, multioutput="raw_values")
    assert_allclose(raw, expected)
    mean = concordance_correlation(y_true, y_pred, sample_weight=given)
    assert isinstance(mean, float)
    assert_allclose(mean, np.mean(expected))


def test_concordance_equals_pearson_only_on_the_diagonal(rng):
    y = rng.normal(size=40)
    noisy = y + rng.normal(size=40)
    pearson = np.corrcoef(y, noisy)[0, 1]
    assert_allclose(concordance_correlation(y, y), 1.0)
    assert_allclose(concordance_correlation(y, 2 * y.mean() - y), -1.0)
    assert concordance_correlation(y, noisy) < pearson
    assert concordance_correlation(y, y + 1) < 0.9
    assert concordance_correlation(y, 2 * y) < 0.9


@pytest.mark.parametrize("scale", [1e-160, 1.0, 1e150])
@pytest.mark.parametrize("shift", [0.0, 1e3])
def test_concordance_survives_any_scale_and_shift(rng, scale, shift):
    y_true, y_pred = rng.normal(size=(2, 30))
    expected = concordance_correlation(y_true, y_pred)
    moved = [(y + shift) * scale for y in (y_true, y_pred)]
    assert_allclose(concordance_correlation(*moved), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "expected"),
    [
        ([0.1] * 7, [0.1] * 7, 1.0),
        ([0.1] * 7, [0.3] * 7, 0.0),
        ([0.1] * 3, [0.1, 0.2, 0.3], 0.0),
        ([0.1, 0.2, 0.3], [0.1] * 3, 0.0),
        ([0.1], [0.1], 1.0),
        ([0.1], [0.2], 0.0),
    ],
)
def test_concordance_without_spread(y_true, y_pred, expected):
    assert_allclose(concordance_correlation(y_true, y_pred), expected, atol=1e-15)


@pytest.mark.parametrize("metric", [unweighted_average_recall, concordance_correlation])
@pytest.mark.parametrize(
    ("y_true", "y_pred", "weight", "message"),
    [
        ([0, 1, 2], [0, 1], None, "inconsistent numbers of samples"),
        ([0, 1], [0, 1], [1, 1, 1], "inconsistent numbers of samples"),
        ([], [], None, "at least one clip|minimum of 1 is required"),
        ([0, 1], [0, 1], [0, 0], "zero for every clip|at least one non-zero"),
        ([0, 1], [0, 1], [1, -1], "Negative values"),
    ],
)
def test_bad_input(metric, y_true, y_pred, weight, message):
    with pytest.raises(ValueError, match=message):
        metric(y_true, y_pred, sample_weight=weight)


def test_concordance_refuses_what_it_cannot_measure():
    with pytest.raises(ValueError, match="y_true contains NaN"):
        concordance_correlation([0.0, np.nan], [0.0, 1.0])
    with pytest.raises(ValueError, match="y_pred contains infinity"):
        concordance_correlation([0.0, 1.0], [0.0, np.inf])
    with pytest.raises(ValueError, match="y_pred has 1 targets per clip, but y_true has 2"):
        concordance_correlation([[0, 1], [1, 2]], [0, 1])
    with pytest.raises(ValueError, match="multioutput is 'mean', but expected"):
        concordance_correlation([0, 1], [0, 1], multioutput="mean")


@pytest.mark.parametrize(
    ("scorer", "model", "metric"),
    [
        (uar_scorer, LogisticRegression(), unweighted_average_recall),
        (ccc_scorer, LinearRegression(), concordance_correlation),
    ],
)
class TestScorers:
    @pytest.fixture
    def data(self, rng):
        X = rng.normal(size=(60, 3))
        return X, (X[:, 0] + rng.normal(size=60) > 0.5).astype(int)

    def test_score(self, data, scorer, model, metric):
        X, y = data
        expected = metric(y, model.fit(X, y).predict(X))
        for same in (scorer, pickle.loads(pickle.dumps(scorer)), clone(scorer, safe=False)):
            assert same(model, X, y) == expected

    def test_model_selection(self, data, scorer, model, metric):
        X, y = data
        folds = list(KFold(3).split(X))
        grid = {"fit_intercept": [True, False]}
        search = GridSearchCV(model, grid, scoring=scorer, cv=folds).fit(X, y)
        for i, parameters in enumerate(search.cv_results_["params"]):
            for fold, (train, test) in enumerate(folds):
                fitted = clone(model).set_params(**parameters).fit(X[train], y[train])
                score = search.cv_results_[f"split{fold}_test_score"][i]
                assert score == metric(y[test], fitted.predict(X[test]))

    def test_sample_weight_is_routed(self, data, scorer, model, metric):
        X, y = data
        weight = np.arange(60) % 3
        with config_context(enable_metadata_routing=True):
            asking = clone(model).set_fit_request(sample_weight=True)
            split = [(np.arange(40), np.arange(40, 60))]
            scores = cross_validate(
                asking, X, y, scoring=scorer, cv=split, params={"sample_weight": weight}
            )["test_score"]
        fitted = clone(model).fit(X[:40], y[:40], sample_weight=weight[:40])
        expected = metric(y[40:], fitted.predict(X[40:]), sample_weight=weight[40:])
        assert_allclose(scores, expected)
        assert expected != metric(y[40:], fitted.predict(X[40:]))
