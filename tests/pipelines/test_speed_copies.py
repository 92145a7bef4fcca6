import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone, is_classifier, is_regressor
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from skaudio import (
    AudioClassifier,
    AudioLoader,
    FeatureCache,
    LogMelSpectrogram,
    TemporalStatistics,
)
from skaudio.audio import Waveform
from skaudio.datasets import make_tones
from skaudio.exceptions import AudioFormatError, SkaudioWarning
from skaudio.networks import MTSNet
from skaudio.pipelines import SpeedCopies

RATE = 8000


class Diary(ClassifierMixin, BaseEstimator):
    """Remembers what it was given."""

    def fit(self, X, y=None, **params):
        self.X_, self.y_, self.params_ = X, y, params
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        self.asked_ = X
        return self.classes_[np.zeros(len(X), int)]


def statistics(classifier):
    return make_pipeline(
        LogMelSpectrogram(sample_rate=RATE, n_mels=16), TemporalStatistics(("mean", "std")),
        classifier,
    )  # fmt: skip


@pytest.fixture
def clips():
    return make_tones(24, sample_rate=RATE, duration=0.1, random_state=0)


def frequency(clip, rate):
    return np.abs(np.fft.rfft(clip * np.hanning(len(clip)), 2**18)).argmax() * rate / 2**18


@pytest.mark.parametrize("speed", [0.5, 0.92, 1.08, 2.0])
def test_a_copy_is_shorter_and_higher_by_its_speed(speed):
    tone = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    original, copy = SpeedCopies(Diary(), speeds=[speed]).fit([tone], [0]).estimator_.X_
    np.testing.assert_array_equal(original, tone.astype(np.float32))
    assert len(copy) == pytest.approx(len(tone) / speed, abs=1)
    assert frequency(copy, RATE) == pytest.approx(440 * speed, rel=1e-3)
    assert np.abs(copy[500:-500]).max() == pytest.approx(1, abs=1e-2)


class PolarsSeries:
    """What a Series of polars offers, as far as it matters here."""

    def __init__(self, values):
        self.values = np.asarray(values)
        self.dtype = "String"

    def __len__(self):
        return len(self.values)

    def __array__(self, dtype=None, copy=None):
        return self.values


@pytest.mark.parametrize("kind", [list, np.array, pd.Series, PolarsSeries])
def test_what_is_known_of_a_clip_is_repeated_for_its_copies(clips, kind):
    X, y = clips
    per_clip = kind(np.arange(len(X)))
    model = SpeedCopies(Diary(), speeds=(0.9, 1.1))
    model.fit(list(X), kind(y), sample_weight=per_clip, groups=per_clip, other="abc", scale=2)
    diary = model.estimator_
    assert len(diary.X_) == 3 * len(X)
    np.testing.assert_array_equal(diary.y_, np.tile(y, 3))
    for name in ("sample_weight", "groups"):
        np.testing.assert_array_equal(diary.params_[name], np.tile(np.arange(len(X)), 3))
    assert diary.params_["other"] == "abc"
    assert diary.params_["scale"] == 2
    assert model.n_copies_ == 2 * len(X)


def test_several_targets_and_an_ordered_categorical(clips):
    X, y = clips
    numbers = np.random.default_rng(0).normal(size=(len(X), 2))
    model = SpeedCopies(statistics(Ridge())).fit(X, numbers)
    assert model.predict(X).shape == (len(X), 2)
    ordered = pd.Categorical(y, sorted(set(y)), ordered=True)
    for labels in (ordered, pd.Series(ordered)):
        kept = SpeedCopies(Diary()).fit(X, labels).estimator_.y_
        assert pd.Series(kept).cat.ordered
        assert len(kept) == 3 * len(X)


def test_it_predicts_clips_as_they_are(clips):
    X, y = clips
    model = SpeedCopies(Diary()).fit(X, y)
    assert len(model.predict(X)) == len(X)
    np.testing.assert_array_equal(model.estimator_.asked_, X)


def test_without_speeds_it_is_the_estimator(clips):
    X, y = clips
    alone = statistics(RidgeClassifier()).fit(X, y)
    wrapped = SpeedCopies(statistics(RidgeClassifier()), speeds=()).fit(X, y)
    np.testing.assert_allclose(
        wrapped.decision_function(X), alone.decision_function(X), rtol=1e-3, atol=1e-5
    )
    assert wrapped.n_copies_ == 0


def test_training_on_copies_is_training_on_changed_clips(clips):
    X, y = clips
    model = SpeedCopies(statistics(RidgeClassifier()), speeds=(0.9,)).fit(X, y)
    by_hand = SpeedCopies(Diary(), speeds=(0.9,)).fit(X, y).estimator_
    expected = statistics(RidgeClassifier()).fit(by_hand.X_, by_hand.y_)
    np.testing.assert_allclose(
        model.decision_function(X), expected.decision_function(list(X)), rtol=1e-5
    )


def test_weights_reach_a_step(clips):
    X, y = clips
    weight = np.where(np.arange(len(X)) < 16, 1.0, 0.0)
    model = SpeedCopies(statistics(RidgeClassifier()))
    weighted = clone(model).fit(X, y, ridgeclassifier__sample_weight=weight)
    without = clone(model).fit(X[:16], y[:16])
    np.testing.assert_allclose(
        weighted.decision_function(X), without.decision_function(X), rtol=1e-2, atol=1e-3
    )


@pytest.mark.parametrize("classifier", [RidgeClassifier(), LogisticRegression(), SVC()])
def test_it_has_the_methods_of_its_estimator(clips, classifier):
    X, y = clips
    inner = statistics(classifier)
    model = SpeedCopies(inner)
    names = ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform")
    for state in (model, clone(model).fit(X, y)):
        for name in names:
            assert hasattr(state, name) == hasattr(inner, name)
    model.fit(X, y)
    np.testing.assert_array_equal(model.classes_, np.unique(y))
    for name in names:
        if hasattr(model, name):
            expected = getattr(model.estimator_, name)(list(X))
            np.testing.assert_array_equal(getattr(model, name)(X), expected)
    assert model.score(X, y) == model.estimator_.score(list(X), y)


def test_it_is_what_its_estimator_is():
    assert is_classifier(SpeedCopies(statistics(RidgeClassifier())))
    assert is_regressor(SpeedCopies(statistics(Ridge())))
    transformer = SpeedCopies(make_pipeline(LogMelSpectrogram(), TemporalStatistics()))
    assert hasattr(transformer, "transform")
    assert not hasattr(transformer, "predict")


def test_copies_of_loaded_clips_remember_their_rate(clips):
    X = [Waveform(clip, RATE) for clip in clips[0][:2]]
    seen = SpeedCopies(Diary()).fit(X, [0, 1]).estimator_.X_
    assert {clip.sample_rate for clip in seen} == {RATE}


def test_files_are_read_at_one_rate(clips, tmp_path):
    X, y = clips
    paths = [tmp_path / f"{i}.wav" for i in range(len(X))]
    for path, clip in zip(paths, X, strict=True):
        soundfile.write(path, clip, RATE, subtype="FLOAT")
    model = SpeedCopies(statistics(RidgeClassifier()), sample_rate=RATE)
    from_files, from_arrays = clone(model).fit(paths, y), clone(model).fit(X, y)
    np.testing.assert_allclose(
        from_files.decision_function(paths), from_arrays.decision_function(X), rtol=1e-4, atol=1e-5
    )
    with pytest.warns(SkaudioWarning, match="converted to 16000"):
        seen = SpeedCopies(Diary()).fit(paths[:1], [0]).estimator_.X_
    assert seen[0].sample_rate == 16000
    with pytest.raises(AudioFormatError, match=r"missing\.wav"):
        model.fit([tmp_path / "missing.wav"], [0])


def test_only_training_clips_of_a_fold_are_copied(clips, monkeypatch):
    X, y = clips
    trained_on = []
    fit = RidgeClassifier.fit

    def watched(self, X, y, sample_weight=None):
        trained_on.append(len(X))
        return fit(self, X, y, sample_weight)

    monkeypatch.setattr(RidgeClassifier, "fit", watched)
    groups = np.arange(len(X)) % 3
    model = SpeedCopies(statistics(RidgeClassifier()))
    cross_val_predict(model, X, y, groups=groups, cv=GroupKFold(3))
    assert trained_on == [3 * 16] * 3


def test_groups_keep_a_clip_and_its_copies_on_one_side(clips):
    X, y = clips
    groups = np.repeat(np.arange(6), 4)

    class Watched(GroupKFold):
        def split(self, X, y=None, groups=None):
            for train, test in super().split(X, y, groups):
                assert not set(groups[train]) & set(groups[test])
                assert len(test) % 3 == 0
                yield train, test

    search = GridSearchCV(
        statistics(RidgeClassifier()), {"ridgeclassifier__alpha": [1, 10]}, cv=Watched(3)
    )
    model = SpeedCopies(search).fit(X, y, groups=groups)
    assert model.score(X, y) > 0.8


def test_routed_metadata_reach_the_estimator(clips):
    X, y = clips
    weight = np.where(np.arange(len(X)) < 16, 1.0, 0.0)
    with config_context(enable_metadata_routing=True):
        ridge = RidgeClassifier().set_fit_request(sample_weight=True)
        ridge.set_score_request(sample_weight=True)
        model = SpeedCopies(statistics(ridge))
        routed = clone(model).fit(X, y, sample_weight=weight)
        scores = cross_validate(model, X, y, params={"sample_weight": weight + 1}, cv=2)
    by_name = SpeedCopies(statistics(RidgeClassifier()))
    by_name.fit(X, y, ridgeclassifier__sample_weight=weight)
    np.testing.assert_array_equal(routed.decision_function(X), by_name.decision_function(X))
    assert len(scores["test_score"]) == 2


def test_a_network_validates_on_groups_and_reads_waveforms(clips):
    X, y = clips
    network = AudioClassifier(
        MTSNet(n_filters=(4,)), frontend=LogMelSpectrogram(sample_rate=RATE, n_mels=16),
        max_epochs=2, early_stopping=True, validation_fraction=0.3, random_state=0,
    )  # fmt: skip
    model = SpeedCopies(network).fit(X, y, groups=np.arange(len(X)))
    assert model.predict_proba(X).shape == (len(X), len(set(y)))
    assert model.estimator_.n_clips_ % 3 == 0


def test_a_search_reaches_all_parameters(clips):
    X, y = clips
    grid = {"speeds": [(), (0.9, 1.1)], "estimator__ridgeclassifier__alpha": [0.1, 1.0]}
    search = GridSearchCV(SpeedCopies(statistics(RidgeClassifier())), grid, cv=2).fit(X, y)
    assert set(search.best_params_) == set(grid)


def test_features_of_copies_are_kept(clips, tmp_path):
    X, y = clips
    cache = FeatureCache(
        make_pipeline(AudioLoader(sample_rate=RATE), LogMelSpectrogram(sample_rate=RATE)), tmp_path
    )
    model = SpeedCopies(make_pipeline(cache, TemporalStatistics(), RidgeClassifier()))
    first = clone(model).fit(X, y).decision_function(X)
    entries = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert len(entries) == 3 * len(X)
    np.testing.assert_array_equal(clone(model).fit(X, y).decision_function(X), first)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")} == entries


@pytest.mark.parametrize("speed", [0.4, 2.1, "fast", float("nan")])
def test_impossible_speeds(clips, speed):
    with pytest.raises(ValueError, match=r"speeds holds .*, but expected numbers from 0.5 to 2.0"):
        SpeedCopies(Diary(), speeds=[speed]).fit(*clips)


def test_labels_of_other_clips(clips):
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[24, 23\]"):
        SpeedCopies(Diary()).fit(clips[0], clips[1][1:])


def test_the_shortest_clips():
    seen = SpeedCopies(Diary(), speeds=(0.5, 2.0)).fit([[0.5], [0.1, 0.2]], [0, 1]).estimator_.X_
    assert [len(clip) for clip in seen] == [1, 2, 2, 4, 1, 1]
    assert np.isfinite(np.concatenate(seen)).all()


def test_features_are_refused():
    with pytest.raises(AudioFormatError, match="SpeedCopies expected"):
        SpeedCopies(Diary()).fit(np.zeros((2, 4, 9)), [0, 1])
