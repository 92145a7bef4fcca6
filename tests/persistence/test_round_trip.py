"""Every public estimator, transformer and network comes back from its file as it was."""

import inspect
import io
from collections import OrderedDict
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pytest
import skorch
import soundfile
import torch
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import make_scorer, recall_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    RandomizedSearchCV,
    RepeatedStratifiedKFold,
    StratifiedKFold,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import skaudio
from skaudio import (
    MFCC,
    AudioClassifier,
    AudioRegressor,
    LogMelSpectrogram,
    PitchSalience,
    Spectrogram,
    StackedFeatures,
    networks,
)
from skaudio._artifacts import hash_value
from skaudio.augmentation import Gain, RecordedNoise, Reverberation, TimeMask, make_one_of
from skaudio.callbacks import KernelAveraging
from skaudio.exceptions import UntrustedFileError
from skaudio.metrics import uar_scorer, unweighted_average_recall
from skaudio.networks import BaseNetwork, MTSNet

FRONTEND = LogMelSpectrogram(sample_rate=8000, n_fft=128, n_mels=8)
ESTIMATOR = {
    "network": MTSNet(n_filters=(2,)), "frontend": FRONTEND, "max_epochs": 2, "random_state": 0,
    "device": "cpu",
}  # fmt: skip
SMALL = {
    "AdapterRNN": {"n_hidden": 2},
    "MultiCorpusClassifier": {"estimator": AudioClassifier(**ESTIMATOR)},
    "AdapterResNet": {"n_filters": 2, "n_blocks": 1},
    "FusionNet": {"n_filters": 2, "n_blocks": 1, "n_hidden": 2},
    "VGG16Net": {"width": 1 / 64},
    "DiffResNet": {"backbone": MTSNet(n_filters=(2,))},
    "MTSNet": {"n_filters": (2, 2)},
    "SeparableNet": {"n_filters": (2, 4)},
    "AudioLoader": {"sample_rate": 8000},
    "StackedFeatures": {"transformers": [("mel", LogMelSpectrogram()), ("mfcc", MFCC())]},
    "FeatureCache": {"steps": LogMelSpectrogram(sample_rate=8000, n_fft=128), "location": "cache"},
    "NetworkFeatures": {"estimator": AudioClassifier(**ESTIMATOR)},
    "SpeedCopies": {
        "estimator": make_pipeline(FRONTEND, skaudio.TemporalStatistics(), RidgeClassifier()),
        "speeds": (0.9,),
    },
}


def public_classes():
    rooms = [skaudio, skaudio.features, networks]
    found = {
        getattr(room, name) for room in rooms for name in room.__all__ if name != "__version__"
    }
    kinds = [kind for kind in found if inspect.isclass(kind) and issubclass(kind, BaseEstimator)]
    return sorted((k for k in kinds if not inspect.isabstract(k)), key=lambda kind: kind.__name__)


def make(kind):
    parameters = SMALL.get(kind.__name__, ESTIMATOR if hasattr(kind, "predict") else {})
    return kind(**parameters)


def inputs(model, X):
    """Return waveforms, or, to what only reads files, the paths of files that hold them."""
    if not isinstance(model, skaudio.AudioLoader):
        return X
    paths = [f"{i}.wav" for i in range(len(X))]
    for path, clip in zip(paths, X, strict=True):
        soundfile.write(path, clip, 8000)
    return paths


def fit(model, X, y):
    """Fit any public object; a network inside a classifier."""
    if isinstance(model, BaseNetwork):
        model = AudioClassifier(**ESTIMATOR | {"network": model})
    if isinstance(model, AudioRegressor):
        y = X[:, :2].astype(float)
    return model.fit(inputs(model, X), y)


def results(model, X):
    """Return all that a model computes, by method."""
    names = ["predict", "predict_proba", "predict_log_proba", "transform", "decision_function"]
    methods = {name: getattr(model, name) for name in names if hasattr(model, name)}
    return {name: method(inputs(model, X)) for name, method in methods.items()}


def round_trip(model, folder, **keywords):
    skaudio.save(model, folder / "m.skaudio")
    return skaudio.load(folder / "m.skaudio", **keywords)


def pickled(model):
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


def assert_same(loaded, model, X):
    assert type(loaded) is type(model)
    # After joblib, since callbacks that have seen a training are not what they were before.
    assert hash_value(loaded.get_params()) == hash_value(pickled(model).get_params())
    wanted, found = results(model, X), results(loaded, X)
    assert wanted.keys() == found.keys()
    for name in wanted:
        assert hash_value(found[name]) == hash_value(wanted[name]), name
    for name in ("classes_", "n_features_in_", "n_clips_", "target_mean_"):
        if hasattr(model, name):
            np.testing.assert_array_equal(getattr(loaded, name), getattr(model, name))
    if hasattr(model, "history_"):
        assert loaded.history_.equals(model.history_)


@pytest.mark.parametrize("kind", public_classes(), ids=lambda kind: kind.__name__)
def test_every_public_class(kind, clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    unfitted = make(kind)
    loaded = round_trip(unfitted, tmp_path)
    assert type(loaded) is kind
    assert hash_value(loaded.get_params()) == hash_value(unfitted.get_params())
    model = fit(unfitted, *clips)
    assert_same(round_trip(model, tmp_path), model, clips[0])


@pytest.mark.parametrize(
    "frontend",
    [LogMelSpectrogram(), MFCC(deltas=1), PitchSalience(), Spectrogram(), StackedFeatures(
        [("mel", LogMelSpectrogram(hop_length=160)), ("pitch", PitchSalience())], average=2)],
    ids=lambda frontend: type(frontend).__name__,
)  # fmt: skip
def test_every_front_end(frontend, clips, tmp_path):
    model = AudioClassifier(**ESTIMATOR | {"frontend": frontend, "max_epochs": 1}).fit(*clips)
    assert_same(round_trip(model, tmp_path), model, clips[0])


def test_classes_are_found():
    names = {kind.__name__ for kind in public_classes()}
    assert {"AudioClassifier", "AudioLoader", "BandScaler", "MTSNet", "MFCC"} <= names


OPTIONS = {
    "class weights": {"class_weight": {"high": 2.0, "low": 1.0}, "label_smoothing": 0.1},
    "balanced": {"class_weight": "balanced", "loss": "focal"},
    "ordinal": {"loss": "ordinal", "class_order": ["low", "middle", "high"]},
    "augmented": {"augmentation": [Gain(), TimeMask()], "mixup": 0.2},
    "augmented by recordings": {
        "augmentation": make_one_of(RecordedNoise([np.ones(9)]), Reverberation([np.ones(3)]))
    },
    "augmented in a word": {"augmentation": "voice"},
    "validated": {"early_stopping": True, "validation_fraction": 0.5, "patience": 1},
    "callback": {"callbacks": [KernelAveraging(every="epoch")]},
    "folder": {"checkpoint_dir": Path("checkpoints")},
    "crop": {"crop": 0.02, "crop_aggregation": "mean"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_options_of_an_estimator(options, clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = AudioClassifier(**ESTIMATOR | options).fit(*clips)
    assert_same(round_trip(model, tmp_path), model, clips[0])


FRONTENDS = [
    LogMelSpectrogram(sample_rate=8000),
    LogMelSpectrogram(sample_rate=8000, win_length=300),
    skaudio.MFCC(sample_rate=8000),
    skaudio.Spectrogram(sample_rate=8000),
]


@pytest.mark.parametrize("frontend", FRONTENDS, ids=repr)
def test_front_ends_with_defaults(frontend, clips, tmp_path):
    model = AudioClassifier(**ESTIMATOR | {"frontend": frontend}).fit(*clips)
    assert_same(round_trip(model, tmp_path), model, clips[0])


def test_generator_goes_on_where_it_was(tmp_path):
    generator = np.random.RandomState(3)
    generator.normal()  # draws two numbers and keeps one
    loaded = round_trip(AudioClassifier(random_state=generator), tmp_path).random_state
    assert np.array_equal(loaded.normal(size=700), generator.normal(size=700))


@pytest.mark.parametrize("labels", [[0, 1, 2], [0.0, 1.0, 2.0], [True, False, True]])
def test_labels_keep_their_type(labels, clips, tmp_path):
    model = AudioClassifier(**ESTIMATOR).fit(clips[0], np.array(labels * 4))
    loaded = round_trip(model, tmp_path)
    assert loaded.classes_.dtype == model.classes_.dtype
    assert_same(loaded, model, clips[0])


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("kind", [AudioClassifier, AudioRegressor])
def test_further_training_is_that_after_joblib(kind, method, clips, tmp_path):
    X, y = clips
    y = y if kind is AudioClassifier else X[:, 0]
    model = kind(**ESTIMATOR, warm_start=True).fit(X, y)
    loaded, other = round_trip(model, tmp_path), pickled(model)
    getattr(loaded, method)(X, y)
    getattr(other, method)(X, y)
    assert len(loaded.history_) > len(model.history_)
    assert hash_value(results(loaded, X)) == hash_value(results(other, X))


def test_loading_leaves_global_generators_alone(clips, tmp_path):
    model = AudioClassifier(**ESTIMATOR).fit(*clips)
    skaudio.save(model, tmp_path / "m")
    before = torch.random.get_rng_state(), hash_value(np.random.get_state())  # noqa: NPY002
    skaudio.load(tmp_path / "m")
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1] == hash_value(np.random.get_state())  # noqa: NPY002


def test_one_object_stays_one(clips, tmp_path):
    model = AudioClassifier(**ESTIMATOR).fit(*clips)
    loaded = round_trip(model, tmp_path)
    assert loaded.architecture_ is loaded.net_.architecture
    assert loaded.target_ is loaded.net_.targets[0]
    twice = make_pipeline(FrozenEstimator(model), FrozenEstimator(model))
    loaded = round_trip(twice, tmp_path)
    assert loaded[0].estimator.net_ is loaded[1].estimator.net_


def test_one_model_makes_one_file(clips, tmp_path):
    model = AudioClassifier(**ESTIMATOR).fit(*clips)
    skaudio.save(model, tmp_path / "a")
    skaudio.save(skaudio.load(tmp_path / "a"), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_pipeline_with_steps_of_sklearn(clips, tmp_path):
    model = make_pipeline(
        FunctionTransformer(np.tanh), clone(FRONTEND), skaudio.TemporalStatistics(),
        StandardScaler(), LogisticRegression(),
    ).fit(*clips)  # fmt: skip
    assert_same(round_trip(model, tmp_path), model, clips[0])


VALUES = {
    "none": None, "numbers": [True, 3, -0.5, float("inf")], "text": "größer", "bytes": b"ab",
    "nested": {"a": [{}, (), {1: (2, [3])}]}, "sets": [{1, 2}, frozenset({3})],
    "numpy": [np.float32(2.5), np.int64(3), np.bool_(True), np.str_("x"), np.dtype("f4")],
    "arrays": [np.arange(6.0).reshape(2, 3).T, np.array(["a", None], object), np.array([])],
    "order": OrderedDict(b=1, a=2), "slice": slice(1, None, 2), "path": Path("a/b"),
    "function": [np.exp, unweighted_average_recall, partial(recall_score, average="macro")],
    "words of the format": {"json": 1, "same": 2, "list": [3], "dict": {"tuple": (4,)}, "__id__": 5,
                            "__loader__": "x"},
    "types": [float, np.ndarray, LogMelSpectrogram],
}  # fmt: skip


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_parameters_of_all_types(value, tmp_path):
    loaded = round_trip(FunctionTransformer(kw_args={"value": value}), tmp_path).kw_args["value"]
    assert type(loaded) is type(value)
    assert hash_value(loaded) == hash_value(value)


SEARCHES = {
    "grid": lambda model: GridSearchCV(
        model, {"network__n_filters": [(2,), (3,)]}, cv=StratifiedKFold(2), scoring="f1_macro"
    ),
    "several scores": lambda model: GridSearchCV(
        model, {"lr": [1e-3, 1e-2]}, cv=RepeatedStratifiedKFold(n_splits=2, n_repeats=1),
        scoring={"uar": make_scorer(unweighted_average_recall), "recall": make_scorer(
            recall_score, average="macro")}, refit="uar",
    ),
    "own score": lambda model: GridSearchCV(model, {"lr": [1e-3]}, cv=2),
    "scorer of ours": lambda model: GridSearchCV(model, {"lr": [1e-3]}, cv=2, scoring=uar_scorer),
    "random": lambda model: RandomizedSearchCV(
        model, {"lr": [1e-3, 1e-2], "network": [MTSNet(n_filters=(2,))]}, n_iter=1, cv=GroupKFold(2)
    ),
}  # fmt: skip


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_finished_search(search, clips, tmp_path):
    X, y = clips
    search = search(AudioClassifier(**ESTIMATOR | {"max_epochs": 1}))
    groups = {"groups": np.arange(len(y)) // 3} if isinstance(search.cv, GroupKFold) else {}
    model = search.fit(X, y, **groups)
    loaded = round_trip(model, tmp_path)
    assert_same(loaded, model, X)
    assert hash_value(loaded.best_params_) == hash_value(model.best_params_)
    assert loaded.cv_results_.keys() == model.cv_results_.keys()
    assert loaded.score(X, y) == model.score(X, y)
    clone(loaded).fit(X, y, **groups)


def test_metadata_requests(clips, tmp_path):
    X, y = clips
    weight = np.arange(len(y))
    with config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        model = make_pipeline(scaler, FunctionTransformer()).fit(X)
        loaded = round_trip(model, tmp_path)
        assert_same(loaded, model, X)
        for step in (model[0], loaded[0]):
            assert step._metadata_request.owner is step._metadata_request.fit.owner is step
        loaded.fit(X, sample_weight=weight)
    expected = StandardScaler().fit(X, sample_weight=weight).mean_
    np.testing.assert_array_equal(loaded[0].mean_, expected)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibrated_probabilities(method, clips, tmp_path):
    estimator = AudioClassifier(**ESTIMATOR)
    model = CalibratedClassifierCV(estimator, method=method, cv=2).fit(*clips)
    loaded = round_trip(model, tmp_path)
    assert hash_value(results(loaded, clips[0])) == hash_value(results(model, clips[0]))


def test_trees_are_loaded_when_trusted(clips, tmp_path):
    model = RandomForestClassifier(3, random_state=0).fit(*clips)
    with pytest.raises(UntrustedFileError, match=r"sklearn\.tree\._tree\.Tree"):
        round_trip(model, tmp_path)
    loaded = round_trip(model, tmp_path, trusted=["sklearn.tree._tree.Tree"])
    assert np.array_equal(loaded.predict_proba(clips[0]), model.predict_proba(clips[0]))


class Squash(BaseEstimator):
    """A transformer of the user."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.tanh(X)

    def __sklearn_is_fitted__(self):
        return True


class LinearNet(BaseNetwork):
    def _build(self, n_bands, n_outputs, n_frames, n_channels):
        return linear(n_bands, n_outputs, n_frames, n_channels)


def linear(n_bands, n_outputs, n_frames=None, n_channels=1):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(n_bands * n_frames, n_outputs))


def squared(logits, target):
    return (torch.nn.functional.one_hot(target, logits.shape[1]) - logits).square().mean(1)


class Margin:
    def __init__(self, margin):
        self.margin = margin

    def __call__(self, logits, target):
        return squared(logits, target) + self.margin


OWN = {
    "network class": {"network": LinearNet()},
    "network function": {"network": linear},
    "loss function": {"loss": squared},
    "loss object": {"loss": Margin(0.5)},
    "optimizer": {"optimizer": torch.optim.SGD},
    "callback that holds the optimizer": {
        "callbacks": [skorch.callbacks.LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=1)],
        "lr_schedule": None,
    },
    "callback": {"callbacks": [("stop", skorch.callbacks.EarlyStopping("train_loss", patience=9))]},
}


@pytest.mark.parametrize("options", OWN.values(), ids=OWN)
def test_code_of_the_user_is_loaded_when_trusted(options, importable, clips, tmp_path):
    importable(LinearNet, linear, squared, Margin)
    X, y = clips
    model = AudioClassifier(**ESTIMATOR | options).fit(X, y)
    with pytest.raises(UntrustedFileError, match="pass trusted=") as caught:
        round_trip(model, tmp_path)
    names = eval(str(caught.value).partition("trusted=")[2].rstrip("."))
    others = "torch.optim.", "skorch.", "builtins.print"
    assert all(name.startswith(("users_own.", *others)) for name in names)
    loaded = round_trip(model, tmp_path, trusted=names)
    assert hash_value(results(loaded, X)) == hash_value(results(model, X))
    loaded.partial_fit(X, y)


def test_transformer_of_the_user(importable, clips, tmp_path):
    importable(Squash)
    model = make_pipeline(Squash(), StandardScaler()).fit(*clips)
    with pytest.raises(UntrustedFileError, match=r"users_own\.Squash"):
        round_trip(model, tmp_path)
    loaded = round_trip(model, tmp_path, trusted=[Squash])
    assert np.array_equal(loaded.transform(clips[0]), model.transform(clips[0]))


@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_device_that_is_not_here(device, clips, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model = AudioClassifier(**ESTIMATOR).fit(*clips)
    expected = model.predict_proba(clips[0])
    model.net_.device = device
    loaded = round_trip(model, tmp_path)
    assert loaded.net_.device == "cpu"
    assert np.array_equal(loaded.predict_proba(clips[0]), expected)


@pytest.mark.gpu
def test_model_of_a_gpu_loads_without_one(clips, tmp_path, monkeypatch):
    model = AudioClassifier(**ESTIMATOR | {"device": "cuda"}).fit(*clips)
    skaudio.save(model, tmp_path / "m")
    on_gpu = skaudio.load(tmp_path / "m")
    assert str(on_gpu.net_.device).startswith("cuda")
    assert_same(on_gpu, model, clips[0])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    loaded = skaudio.load(tmp_path / "m")
    assert loaded.net_.device == "cpu"
    expected = model.predict_proba(clips[0])
    np.testing.assert_allclose(loaded.predict_proba(clips[0]), expected, atol=1e-4)
