"""What parameters do, alone and together, and what they refuse."""

import copy
import inspect
import pickle
import threading
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
import soundfile
import torch
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.fixes import parse_version
from skorch.callbacks import Callback, EpochScoring
from torch import nn

from skaudio.augmentation import FrequencyMask, TimeMask, make_chain
from skaudio.callbacks import KernelAveraging, NormScaling
from skaudio.datasets import make_tones
from skaudio.estimators import AudioClassifier, AudioRegressor
from skaudio.estimators._data import ArrayClips, Dataset
from skaudio.estimators._split import split_dataset
from skaudio.exceptions import SkaudioWarning
from skaudio.features import MFCC, BandScaler, LogMelSpectrogram, Spectrogram
from skaudio.losses import OrdinalLoss
from skaudio.networks import DiffResNet, MTSNet


def classifier(network, **parameters):
    return AudioClassifier(
        network, **{"max_epochs": 2, "batch_size": 16, "lr": 1e-2, "random_state": 0, **parameters}
    )


# ---------------------------------------------------------------------- what has been learned


def test_all_that_is_learned_can_be_listed(tiny, features):
    X, y = features
    for model, target in [(classifier(tiny), y), (AudioRegressor(tiny, max_epochs=1), X[:, 0, 0])]:
        learned = vars(model.fit(X, target)).keys() - model.get_params(deep=False).keys()
        assert learned == {
            "architecture_", "target_", "net_", "n_clips_", "n_features_in_", "_clip_ndim",
        }  # fmt: skip


@pytest.mark.parametrize(
    "frontend",
    [LogMelSpectrogram(sample_rate=8000), MFCC(sample_rate=8000), Spectrogram(sample_rate=8000)],
    ids=lambda frontend: type(frontend).__name__,
)
def test_the_record_and_the_weights_are_the_network(tiny, frontend):
    X, y = make_tones(24, sample_rate=8000, duration=(0.1, 0.2), random_state=0)
    model = classifier(tiny, frontend=frontend).fit(X, y)
    record = pickle.loads(pickle.dumps(model.architecture_))
    model.set_params(network__n_filters=(7,), frontend__sample_rate=4000)  # must not reach it
    module = record.build()
    module.load_state_dict(model.net_.module_.state_dict())
    rebuilt = copy.deepcopy(model)
    rebuilt.net_.module_ = module
    np.testing.assert_array_equal(rebuilt.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("estimator", [AudioClassifier, AudioRegressor])
def test_every_parameter_is_documented(estimator):
    for name in inspect.signature(estimator).parameters:
        assert f"\n    {name} : " in estimator.__doc__
    assert "<" not in estimator.__doc__.split("Examples")[0]


# -------------------------------------------------------------------------- callbacks and seeds


class CountCalls(nn.Module):
    """Counts the calls that callbacks make of its layer."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 3)
        self.n_updates = self.n_scalings = 0

    def update_kernels(self):
        self.n_updates += 1

    def scale_norm(self):
        self.n_scalings += 1

    def forward(self, x):
        return self.head(x.mean((1, 3)))


@pytest.mark.parametrize(
    ("callbacks", "updates", "scalings"),
    [
        (None, 6, 6),
        ([KernelAveraging(every="epoch")], 2, 6),
        ([("mine", KernelAveraging(every="epoch")), NormScaling()], 2, 6),
    ],
)
def test_a_callback_of_the_users_takes_the_place_of_the_built_in(
    features, callbacks, updates, scalings
):
    model = classifier(CountCalls(), callbacks=callbacks).fit(*features)  # 2 epochs of 3 batches
    network = model.net_.module_.network
    assert (network.n_updates, network.n_scalings) == (updates, scalings)


@pytest.mark.parametrize("weighted", [False, True])
def test_scoring_by_skorch(tiny, features, weighted):
    X, y = features
    scores = [
        EpochScoring("accuracy", name="train_accuracy", on_train=True, lower_is_better=False),
        EpochScoring("accuracy", name="valid_accuracy", lower_is_better=False),
    ]
    model = classifier(tiny, callbacks=scores, max_epochs=8).fit(
        X, y, X_val=X, y_val=y, sample_weight=1 + np.arange(48) % 2 if weighted else None
    )
    assert model.history_["train_accuracy"].iloc[-1] > 0.8
    assert model.history_["valid_accuracy"].iloc[-1] == model.score(X, y)


def test_scoring_of_probabilities_by_skorch(tiny, features):
    X, y = features
    scores = [EpochScoring("neg_log_loss", lower_is_better=False)]
    model = classifier(tiny, callbacks=scores, max_epochs=2).fit(X, y, X_val=X, y_val=y)
    found = model.history_["neg_log_loss"].iloc[-1]
    assert found == pytest.approx(-log_loss(y, model.predict_proba(X)), rel=1e-5)


def test_threads_are_set_for_the_time_of_a_call(tiny, features):
    seen = []

    class Threads(Callback):
        def on_batch_end(self, net, **kwargs):
            seen.append(torch.get_num_threads())

    before = torch.get_num_threads()
    model = classifier(tiny, n_threads=before + 1, callbacks=[Threads()]).fit(*features)
    model.predict(features[0])
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before
    with pytest.raises(RuntimeError, match="stop"):
        model.set_params(callbacks=[Fail()]).fit(*features)
    assert torch.get_num_threads() == before


class Fail(Callback):
    def on_batch_end(self, net, **kwargs):
        raise RuntimeError("stop")


def test_the_same_threads_give_the_same_bits_in_workers(tiny, features):
    X, y = features
    grid = {"lr": [1e-3, 1e-2]}
    scores = []
    for n_jobs in (1, 2):
        search = GridSearchCV(
            classifier(tiny, n_threads=1), grid, cv=2, scoring="neg_log_loss", n_jobs=n_jobs
        )
        scores.append(search.fit(X, y).cv_results_["mean_test_score"])
    np.testing.assert_array_equal(*scores)


def test_an_interrupt_stops_a_search(tiny, features):
    fits = []

    class Interrupt(Callback):
        def on_train_begin(self, net, **kwargs):
            fits.append(0)

        def on_batch_end(self, net, **kwargs):
            raise KeyboardInterrupt

    model = classifier(tiny, callbacks=[Interrupt()])
    with pytest.raises(KeyboardInterrupt), pytest.warns(SkaudioWarning, match="interrupted"):
        GridSearchCV(model, {"lr": [1e-3, 1e-2]}, cv=2).fit(*features)
    assert len(fits) == 1


class Tasks:
    """A callback of scikit-learn that counts what it is told of."""

    max_propagation_depth = None

    def __init__(self, stop_at=None):
        self.names, self.stop_at = [], stop_at

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.names.append(context.task_name)

    def on_fit_task_end(self, estimator, context):
        return len(self.names) == self.stop_at


@pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.9"), reason="no callbacks"
)
def test_callbacks_of_scikit_learn_are_told_of_every_epoch(tiny, features):
    search = GridSearchCV(classifier(tiny), {}, cv=2, refit=False)
    tasks = Tasks()
    search.set_callbacks(tasks).fit(*features)
    assert tasks.names.count("epoch") == 4  # two folds of two epochs
    stopped = classifier(tiny, max_epochs=9).set_callbacks(Tasks(stop_at=4)).fit(*features)
    assert len(stopped.history_) == 3


# ----------------------------------------------------------------------------- combinations


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"class_order": ["cat", "cow", "dog"]}, "class_order=.* for loss='ordinal' only"),
        ({"loss": "ordinal"}, r"order of the classes \['cat', 'cow', 'dog'\]. Pass class_order="),
        ({"loss": "ordinal", "class_order": ["cat", "cow"]}, "does not list each of the classes"),
        ({"loss": "ordinal", "class_order": ["cat", "cow", "dog", "cat"]}, "each .* once"),
        ({"device": "cuda:9"}, "torch finds . CUDA devices here. Set device='auto'"),
        ({"device": "xpu:0"}, "device is 'xpu:0', which torch cannot use here .* device='auto'"),
        ({"device": "gpu"}, "device is 'gpu', but expected 'auto', 'cpu'"),
        ({"frontend": make_pipeline(LogMelSpectrogram())}, "'frontend' parameter|expected one of"),
        ({"augmentation": [TimeMask(), 3]}, "(?i)augmentation"),
    ],
)
def test_combinations_without_sense(tiny, features, parameters, message):
    with pytest.raises((ValueError, TypeError), match=message):
        classifier(tiny, **parameters).fit(*features)


def test_a_transformer_that_no_layer_computes(tiny, features):
    with pytest.raises((ValueError, TypeError), match="frontend"):
        classifier(tiny, frontend=BandScaler()).fit(*features)


def test_a_list_of_augmentations_is_a_chain(tiny, features):
    X, y = features
    steps = [TimeMask(max_width=0.3), FrequencyMask(max_width=0.3)]
    in_list = classifier(tiny, augmentation=steps).fit(X, y)
    chain = classifier(tiny, augmentation=make_chain(*steps)).fit(X, y)
    none = classifier(tiny, augmentation=[]).fit(X, y)
    np.testing.assert_array_equal(in_list.predict_proba(X), chain.predict_proba(X))
    assert not np.array_equal(in_list.predict_proba(X), none.predict_proba(X))


def test_further_training_refuses_another_network(tiny, features):
    model = classifier(tiny, warm_start=True).fit(*features)
    model.set_params(network=MTSNet(**tiny.get_params())).fit(*features)  # the same in effect
    assert len(model.history_) == 4
    model.set_params(network__n_filters=(5,))
    with pytest.raises(ValueError, match=r"network is MTSNet\(.*n_filters=\(5,\).*warm_start=Fal"):
        model.fit(*features)
    with pytest.raises(ValueError, match="goes on with the network of the first fit"):
        model.partial_fit(*features)


def test_further_training_takes_another_augmentation(tiny, features):
    X, y = features
    model = classifier(tiny, warm_start=True).fit(X, y)
    plain = copy.deepcopy(model).fit(X, y).predict_proba(X)
    masked = model.set_params(augmentation=TimeMask(max_width=0.5)).fit(X, y).predict_proba(X)
    assert not np.array_equal(plain, masked)


def test_rows_of_a_list_that_are_as_long_as_waveforms(tiny):
    X = [np.zeros(5000), np.zeros(300)]
    with pytest.warns(SkaudioWarning, match="clips of 5000 values.* look like waveforms"):
        classifier(tiny, max_epochs=1).fit(X, [0, 1])


def test_one_line_an_epoch(tiny, features, capsys):
    classifier(tiny, verbose=2).fit(*features)
    assert len(capsys.readouterr().out.splitlines()) == 4  # two of them a heading


# ----------------------------------------------------------------------------- validation


def test_groups_that_a_search_keeps_to_itself_draw_a_warning(tiny, features):
    X, y = features
    groups = np.arange(48) // 6
    model = classifier(tiny, early_stopping=True, max_epochs=1)
    search = GridSearchCV(model, {}, cv=GroupKFold(2), refit=False)
    with pytest.warns(SkaudioWarning, match=r"set_config\(enable_metadata_routing=True\)"):
        search.fit(X, y, groups=groups)
    with pytest.warns(SkaudioWarning, match="The search has groups, but fit has none"):
        cross_val_score(model, X, y, groups=groups, cv=GroupKFold(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GridSearchCV(model, {}, cv=2, refit=False).fit(X, y)
        with sklearn.config_context(enable_metadata_routing=True):
            search.fit(X, y, groups=groups)


def test_groups_of_validation_clips_need_these(tiny, features):
    with pytest.raises(ValueError, match="groups_val came without X_val and y_val"):
        classifier(tiny).fit(*features, groups_val=np.arange(48))


class Constant(nn.Module):
    """Answers alike for all clips; its loss is known beforehand."""

    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([0.0, 1.0, 3.0]))

    def forward(self, x):
        return self.logits.expand(len(x), -1)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_class_weights_count_in_the_validation_loss(features, early_stopping):
    X, y = features
    weights = {"cat": 1.0, "cow": 2.0, "dog": 5.0}
    model = classifier(
        Constant(), lr=1e-12, class_weight=weights, early_stopping=early_stopping, max_epochs=1,
        validation_fraction=0.25, label_smoothing=0.0,
    )  # fmt: skip
    own = {} if early_stopping else {"X_val": X[:12], "y_val": y[:12]}
    loss = model.fit(X, y, **own).history_["valid_loss"].iloc[0]
    # All parts hold a third of each class.
    log_prob = torch.log_softmax(torch.tensor([0.0, 1.0, 3.0]), 0).numpy()
    expected = -np.average(log_prob, weights=list(weights.values()))
    assert loss == pytest.approx(expected, rel=1e-4)


def test_stages_without_early_stopping_end_with_the_best_score(tiny, features):
    X, y = features
    noisy = X + np.random.default_rng(5).normal(scale=12, size=X.shape).astype(np.float32)
    model = classifier(tiny, lr=0.3, batch_size=8, lr_schedule="staged", patience=2, max_epochs=30)
    model.fit(X[:24], y[:24], X_val=noisy, y_val=y)
    assert model.history_["valid_score"].iloc[-1] < model.history_["valid_score"].max()
    assert model.score(noisy, y) == pytest.approx(model.history_["valid_score"].max())


# ------------------------------------------------------------------------- ordered classes


LEVELS = ["low", "medium", "high"]


def levels(features):
    X, y = features
    return X, np.array(LEVELS)[np.unique(y, return_inverse=True)[1]]


@pytest.mark.parametrize(
    ("forms", "order"),
    [
        (lambda y: y, LEVELS),
        (lambda y: pd.Categorical(y, LEVELS, ordered=True), None),
        (lambda y: pd.Series(pd.Categorical(y, [*LEVELS, "extreme"], ordered=True)), None),
        (lambda y: [LEVELS.index(label) for label in y], None),
        (lambda y: [f"{9 + LEVELS.index(label)}" for label in y], None),
    ],
    ids=["class_order", "Categorical", "Series", "numbers", "numbers-as-text"],
)
def test_the_ordinal_loss_knows_the_order(tiny, features, forms, order):
    X, y = levels(features)
    model = classifier(tiny, loss="ordinal", class_order=order).fit(X, forms(y))
    assert list(model.classes_) == sorted(set(forms(y)))
    ranks = [LEVELS.index(label) for label in y]  # numbers in the right order
    expected = classifier(tiny, loss=OrdinalLoss()).fit(X, ranks)
    columns = [list(model.classes_).index(forms([label])[0]) for label in LEVELS]
    # The order of the outputs decides about the initial weights, so that only the loss agrees.
    if order is None and columns == [0, 1, 2]:
        np.testing.assert_array_equal(model.predict_proba(X), expected.predict_proba(X))
    assert model.history_["train_loss"].iloc[0] == pytest.approx(
        expected.history_["train_loss"].iloc[0], rel=0.05
    )


@pytest.mark.parametrize("text", [["1", "1.0", "2"], ["1", "2", "nan"]], ids=["equal", "no-number"])
def test_text_that_has_no_order_as_numbers(tiny, features, text):
    X, y = levels(features)
    labels = [text[LEVELS.index(label)] for label in y]
    with pytest.raises(ValueError, match="needs to know the order of the classes"):
        classifier(tiny, loss="ordinal").fit(X, labels)


@pytest.mark.parametrize(
    ("forms", "message"),
    [
        (lambda y: y, r"needs to know the order of the classes \['high', 'low', 'medium'\]"),
        (
            lambda y: pd.Categorical(y, LEVELS, ordered=True),
            r"in the order of the columns, \['high",
        ),
        (lambda y: [f"{9 + LEVELS.index(label)}" for label in y], "Set loss='ordinal'"),
    ],
    ids=["text", "Categorical", "numbers-as-text"],
)
def test_an_ordinal_loss_that_does_not_know_the_order(tiny, features, forms, message):
    X, y = levels(features)
    with pytest.raises(ValueError, match=message):
        classifier(tiny, loss=OrdinalLoss()).fit(X, forms(y))


def test_probability_falls_with_the_distance_in_rank(tiny, features):
    X, y = levels(features)
    model = classifier(
        tiny, loss="ordinal", class_order=LEVELS, max_epochs=40, lr=3e-2
    ).fit(X, y)  # fmt: skip
    low = model.predict_proba(X[y == "low"]).mean(axis=0)
    by_level = dict(zip(model.classes_, low, strict=True))
    assert by_level["low"] > by_level["medium"] > by_level["high"]


# ---------------------------------------------------------------------- labels and numbers


@pytest.mark.parametrize(
    "form",
    [
        lambda y: np.array(y, dtype=object),
        lambda y: pd.Series(y, dtype="Int64"),
        lambda y: pd.Series(y, dtype="category"),
        lambda y: [np.int8(label) for label in y],
    ],
    ids=["object", "Int64", "category", "int8"],
)
def test_numbers_in_any_object_are_labels(tiny, features, form):
    y = [3 + label for label in np.arange(48) % 3]
    model = classifier(tiny).fit(features[0], form(y))
    assert model.classes_.tolist() == [3, 4, 5]
    assert set(model.predict(features[0]).tolist()) <= {3, 4, 5}


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (pd.Series([True, False] * 24, dtype="boolean"), [False, True]),
        (pd.Series([True, False] * 24, dtype="category"), [False, True]),
        (pd.Series([1, 2] * 24, dtype="Int64"), [1, 2]),
        (pd.Series(["b", "a"] * 24, dtype="string"), ["a", "b"]),
        (pd.DataFrame({"y": pd.Series([1, 2] * 24, dtype="Int64")}), [1, 2]),
    ],
    ids=["boolean", "categories of truth", "Int64", "string", "table of one column"],
)
def test_labels_of_pandas_stay_what_they_are(tiny, features, y, classes):
    model = classifier(tiny).fit(features[0], y)
    assert [type(label) for label in model.classes_.tolist()] == [type(c) for c in classes]
    assert model.classes_.tolist() == classes
    predicted = model.predict(features[0]).tolist()
    assert {type(label) for label in predicted} == {type(classes[0])}
    assert set(predicted) <= set(classes)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            ["dog", 1] * 24,
            "y mixes text and other labels, such as 'dog' of clip 0 and 1 of clip 1",
        ),
        (("dog", 1) * 24, "y mixes text and other labels"),
        ([1, None] * 24, "y has no label for clip 1, but None"),
        (pd.Series(["dog", pd.NA] * 24, dtype="string"), "y has no label for clip 1, but <NA>"),
        (pd.Series([1, pd.NA] * 24, dtype="Int64"), "y has no label for clip 1, but <NA>"),
    ],
    ids=["mixed", "mixed-tuple", "None", "NA", "Int64"],
)
def test_labels_that_are_none(tiny, features, labels, message):
    y = np.array(labels, dtype=object) if isinstance(labels, list) else labels
    with pytest.raises(ValueError, match=message):
        classifier(tiny).fit(features[0], y)


def test_weights_and_targets_that_overflow(tiny, features):
    X, y = features
    with pytest.raises(ValueError, match=r"weights up to 1e\+308, whose sum overflows. Divide"):
        classifier(tiny).fit(X, y, sample_weight=np.full(48, 1e308))
    with pytest.raises(ValueError, match=r"y holds values up to 1e\+200, whose squares"):
        AudioRegressor(tiny).fit(X, np.arange(48) * 1e200 / 47)


# ------------------------------------------------------------------- ends, changes, and threads


def test_class_order_holds_where_labels_are_numbered_beforehand(tiny, features):
    X, y = levels(features)
    model = classifier(tiny, loss="ordinal", class_order=LEVELS, max_epochs=1)
    numbers = np.unique(y, return_inverse=True)[1]  # as cross_val_predict and voting do it
    np.testing.assert_array_equal(
        model.fit(X, numbers).predict_proba(X), model.fit(X, y).predict_proba(X)
    )
    cross_val_predict(model, X, y, cv=2, method="predict_proba")
    with pytest.raises(ValueError, match=r"holds the numbers \[0, 1\] .* Use folds that have each"):
        model.fit(X[numbers < 2], numbers[numbers < 2])


def test_predictions_use_the_front_end_of_the_fit(tiny):
    X, y = make_tones(24, sample_rate=8000, duration=(0.1, 0.2), random_state=0)
    model = classifier(tiny, frontend=LogMelSpectrogram(sample_rate=8000), crop=0.1).fit(X, y)
    expected = model.predict_proba(X)
    model.set_params(frontend=LogMelSpectrogram(sample_rate=16000))
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    np.testing.assert_array_equal(model.set_params(frontend=None).predict_proba(X), expected)


def test_threads_of_calls_that_overlap_are_put_back(tiny, features):
    before = torch.get_num_threads()
    inner = threading.Barrier(2, timeout=60)

    class Meet(Callback):
        """Both are in their training at one time; which ends first is open."""

        def on_epoch_begin(self, net, **kwargs):
            inner.wait()

    models = [classifier(tiny, n_threads=n, callbacks=[Meet()]) for n in (before + 1, before + 2)]
    workers = [threading.Thread(target=model.fit, args=features) for model in models]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seen = []
    late = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    late.start()
    late.join()
    assert seen == [before]


@pytest.mark.parametrize("verbose", [0, 2])
def test_callbacks_see_the_epoch_at_which_a_training_stops(tiny, features, verbose, capsys):
    X, y = features
    seen = []

    class See(Callback):
        def on_epoch_end(self, net, **kwargs):
            seen.append(len(net.history))

    scores = EpochScoring("accuracy", lower_is_better=False)
    model = classifier(
        tiny, early_stopping=True, patience=1, max_epochs=50, lr=0.1, callbacks=[scores, See()],
        verbose=verbose,
    ).fit(X, y)  # fmt: skip
    assert len(model.history_) < 50
    assert seen == [*range(1, len(model.history_) + 1)]
    assert model.history_["accuracy"].notna().all()
    assert len(capsys.readouterr().out.splitlines()) == (2 + len(seen) if verbose else 0)


class Raise(Callback):
    def __init__(self, error, method="on_batch_end"):
        setattr(self, method, self.fail)
        self.error = error

    def fail(self, net, **kwargs):
        raise self.error


@pytest.mark.filterwarnings("ignore:Training interrupted")
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("broken")])
def test_a_first_epoch_that_does_not_end(tiny, features, error):
    X, y = features
    model = classifier(tiny, callbacks=[Raise(error)])
    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        model.fit(X, y)
    assert len(model.history_) == 0
    assert model.predict(X).shape == y.shape


def test_an_interrupt_is_one_where_warnings_are_errors(tiny, features):
    model = classifier(tiny, callbacks=[Raise(KeyboardInterrupt)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(KeyboardInterrupt):
            model.fit(*features)


def test_best_weights_survive_a_callback_that_fails_at_the_end(tiny, features):
    X, y = features
    noise = np.random.default_rng(0).permutation(y)
    options = {"early_stopping": True, "max_epochs": 12, "lr": 0.05}
    whole = classifier(tiny, **options).fit(X, noise)
    assert whole.history_["valid_loss"].idxmin() < 12
    failing = classifier(tiny, callbacks=[Raise(RuntimeError("end"), "on_train_end")], **options)
    with pytest.raises(RuntimeError, match="end"):
        failing.fit(X, noise)
    np.testing.assert_array_equal(failing.predict_proba(X), whole.predict_proba(X))


def small_backbone(n_bands, n_outputs, n_frames=None, n_channels=1):
    return MTSNet(n_filters=(2,), tempo_factors=()).build(n_bands, n_outputs, n_frames, n_channels)


def test_further_training_of_networks_that_have_no_name(features):
    network = DiffResNet(backbone=lambda *args, **kwargs: small_backbone(*args, **kwargs))
    model = classifier(network)
    model.partial_fit(*features).partial_fit(*features)
    assert len(model.history_) == 2


def test_a_network_that_never_trained_can_be_replaced(tiny, features):
    model = classifier(nn.Sequential(nn.Flatten(), nn.Linear(72, 5)))
    with pytest.raises(ValueError, match="returned an output of shape"):
        model.partial_fit(*features)
    assert len(model.set_params(network=tiny).partial_fit(*features).history_) == 1


def test_warnings_point_to_the_users_line(tiny, features):
    X, y = features
    long = [np.zeros(5000), np.zeros(300)]
    model = classifier(tiny, early_stopping=True, max_epochs=1)
    calls = [
        lambda: classifier(tiny, max_epochs=1).fit(long, [0, 1]),
        lambda: classifier(tiny, max_epochs=1).partial_fit(long, [0, 1]),
        lambda: model.fit(X, y, groups=[0] * 48, X_val=X, y_val=y, groups_val=[0] * 48),
        lambda: GridSearchCV(model, {}, cv=GroupKFold(2), refit=False).fit(
            X, y, groups=np.arange(48) // 6
        ),
    ]
    for call in calls:
        with pytest.warns(SkaudioWarning) as caught:
            call()
        assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.parametrize("groups", [None, np.arange(48) // 3])
def test_both_parts_of_a_validation_have_weights_of_mean_one(features, groups):
    clips = ArrayClips(features[0])
    weight = np.where(np.arange(48) < 12, 10.0, 0.1)
    dataset = Dataset(clips, np.arange(48) % 3, weight, groups)
    for part in split_dataset(dataset, 0.3, seed=1, stratify=True):
        assert part.weight.mean() == pytest.approx(1)


def test_files_after_features(tiny, features, tmp_path):
    X, y = make_tones(6, sample_rate=8000, random_state=0)
    paths = [tmp_path / f"{i}.wav" for i in range(6)]
    for path, clip in zip(paths, X, strict=True):
        soundfile.write(path, clip, 8000)
    model = classifier(tiny).fit(*features)
    model.set_params(frontend=LogMelSpectrogram(sample_rate=8000)).fit(paths, y)
    np.testing.assert_array_equal(model.predict(list(X)), model.predict(paths))


def test_numbers_that_validation_and_later_calls_cannot_hold(tiny, features):
    X, y = features
    model = AudioRegressor(tiny, max_epochs=1, random_state=0)
    with pytest.raises(ValueError, match=r"y_val holds 1e\+200, which is too far from"):
        model.fit(X, np.arange(48), X_val=X[:2], y_val=[0, 1e200])
    model.fit(X, np.arange(48))
    with pytest.raises(ValueError, match=r"y holds 1e\+200, which is too far from"):
        model.partial_fit(X[:2], [0, 1e200])
    with pytest.raises(ValueError, match=r"weights up to 1e\+300, whose sum overflows"):
        classifier(tiny).fit(X, y).partial_fit(X, y, sample_weight=np.full(48, 1e300))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "needs at least two labels|0 sample|empty"),
        (["cat"], r"classes is \['cat'\], but a classifier needs at least two"),
        (["cat", None], "classes has no label for clip 1, but None"),
        (["cat", 3], "classes mixes text and other labels"),
    ],
)
def test_bad_classes_of_partial_fit(tiny, features, classes, message):
    with pytest.raises(ValueError, match=message):
        classifier(tiny).partial_fit(*features, classes=classes)


def test_validation_clips_of_classes_that_weigh_nothing(tiny, features):
    X, y = features
    model = classifier(tiny, class_weight={"cat": 0, "dog": 1, "cow": 1})
    with pytest.raises(ValueError, match="so that y_val would say nothing"):
        model.fit(X, y, X_val=X[y == "cat"], y_val=y[y == "cat"])
