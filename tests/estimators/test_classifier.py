import threading
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit, softmax
from sklearn.base import clone
from sklearn.metrics import log_loss, recall_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from skorch.callbacks import Callback
from skorch.callbacks import EarlyStopping as SkorchEarlyStopping
from torch import nn

from skaudio.estimators import AudioClassifier
from skaudio.exceptions import AudioFormatError, DivergedError, SkaudioWarning, StopTraining
from skaudio.features import LogMelSpectrogram
from skaudio.losses import FocalLoss
from skaudio.networks import MTSNet


class StopAfter(Callback):
    def __init__(self, n_epochs):
        self.n_epochs = n_epochs

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.n_epochs:
            raise StopTraining


class Interrupt(Callback):
    def on_batch_end(self, net, training=False, **kwargs):
        if len(net.history) == 3:
            raise KeyboardInterrupt


class Unpicklable(Callback):
    def __init__(self):
        self.lock = threading.Lock()


def classifier(network, **parameters):
    return AudioClassifier(
        network, **{"max_epochs": 8, "batch_size": 8, "lr": 2e-2, "random_state": 0, **parameters}
    )


# ------------------------------------------------------------------------ what comes out


@pytest.mark.parametrize("labels", [["dog", "cat", "cow"], [3, -1, 7], [2.0, 5.0, 1.0]])
def test_labels_that_go_in_come_out(tiny, features, labels):
    X, y = features
    y = np.array(labels)[np.unique(y, return_inverse=True)[1]]
    model = classifier(tiny).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), y)
    np.testing.assert_array_equal(model.classes_, np.unique(y))


def test_probabilities_sum_to_one_and_agree_with_predict(tiny, features):
    X, y = features
    model = classifier(tiny, max_epochs=1).fit(X, y)
    proba = model.predict_proba(X)
    assert proba.shape == (len(X), 3)
    assert proba.dtype == np.float32
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(model.classes_[proba.argmax(axis=1)], model.predict(X))
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), proba, rtol=1e-5)


def test_logits_of_three_classes_are_columns(tiny, features):
    X, y = features
    model = classifier(tiny, max_epochs=1).fit(X, y)
    logits = model.decision_function(X)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(softmax(logits, axis=1), model.predict_proba(X), rtol=1e-5)
    np.testing.assert_array_equal(model.classes_[logits.argmax(axis=1)], model.predict(X))


def test_logits_of_two_classes_are_their_difference(tiny, features):
    X, y = features
    X, y = X[y != "cow"], y[y != "cow"]
    model = classifier(tiny, max_epochs=1).fit(X, y)
    difference = model.decision_function(X)
    assert difference.shape == (len(X),)
    np.testing.assert_allclose(expit(difference), model.predict_proba(X)[:, 1], rtol=1e-5)
    np.testing.assert_array_equal(model.classes_[(difference > 0).astype(int)], model.predict(X))


@pytest.mark.parametrize("labels", ["ab", "abcd"])
def test_decisions_over_crops_are_those_of_the_mean_probability(labels):
    X = np.random.default_rng(0).normal(size=(8, 800)).astype(np.float32)
    X[:, 400:] *= 0.01
    model = classifier(
        MTSNet(n_filters=(4,)), frontend=LogMelSpectrogram(sample_rate=8000, n_mels=8),
        crop=0.05, crop_aggregation="mean", max_epochs=5,
    ).fit(X, list(labels * (8 // len(labels))))  # fmt: skip
    decisions, p = model.decision_function(X), model.predict_proba(X)
    expected = softmax(decisions, axis=1) if len(labels) > 2 else expit(decisions)
    np.testing.assert_allclose(expected, p if len(labels) > 2 else p[:, 1], rtol=1e-5)


class Certain(nn.Module):
    """Returns logits far apart, which say more the louder a clip is."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.0, 200.0, 400.0]))

    def forward(self, x):
        return x.mean(dim=(1, 2, 3))[:, None] * self.scale


def test_log_probability_is_finite_where_the_probability_is_zero():
    X, y = np.ones((6, 1, 4), dtype=np.float32), np.arange(6) % 3
    model = classifier(Certain(), max_epochs=1, lr=1e-9).fit(X, y)
    assert model.predict_proba(X).min() == 0
    np.testing.assert_allclose(model.predict_log_proba(X[:1]), [[-400, -200, 0]], rtol=1e-5)


def test_log_probability_of_windows_is_that_of_their_mean(tiny):
    rng = np.random.default_rng(0)
    X = [rng.uniform(-1, 1, size=n) for n in (4000, 9000, 12500, 6000)]
    model = classifier(
        tiny, frontend=LogMelSpectrogram(sample_rate=8000), crop=0.5, max_epochs=1,
        crop_aggregation="mean",
    ).fit(X, [0, 1, 0, 1])  # fmt: skip
    np.testing.assert_allclose(
        model.predict_log_proba(X), np.log(model.predict_proba(X)), rtol=1e-4, atol=1e-6
    )


def test_untrained_network_predicts_the_shares_of_the_classes(features):
    X, y = features
    keep = np.flatnonzero((y != "cow") | (np.arange(len(y)) % 4 == 0))
    model = classifier(None, max_epochs=1, lr=1e-9, lr_schedule=None).fit(X[keep], y[keep])
    expected = [np.mean(y[keep] == label) for label in model.classes_]
    np.testing.assert_allclose(model.predict_proba(X).mean(axis=0), expected, atol=0.15)


# ------------------------------------------------------------------- data in any form


@pytest.mark.parametrize(
    "form",
    [
        lambda X: X.astype(np.float64),
        lambda X: X.tolist(),
        lambda X: list(X),
        lambda X: np.asfortranarray(X),
        lambda X: np.repeat(X, 2, axis=0)[::2],
        lambda X: pd.Series(list(X)),
    ],
    ids=["float64", "nested-lists", "list-of-arrays", "fortran", "strided", "series"],
)
def test_any_form_of_the_same_features_gives_the_same_model(tiny, features, form):
    X, y = features
    expected = classifier(tiny, max_epochs=2).fit(X, y).predict_proba(X)
    model = classifier(tiny, max_epochs=2).fit(form(X), y)
    np.testing.assert_array_equal(model.predict_proba(form(X)), expected)


def test_read_only_memmap(tiny, features, tmp_path):
    X, y = features
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    expected = classifier(tiny, max_epochs=2).fit(X, y).predict_proba(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = classifier(tiny, max_epochs=2).fit(mapped, y)
    np.testing.assert_array_equal(model.predict_proba(mapped), expected)


def test_unequal_lengths(tiny, ragged):
    X, y = ragged
    model = classifier(tiny).fit(X, y)
    assert model.score(X, y) > 0.95


def test_prediction_does_not_depend_on_the_batch(ragged):
    X, y = ragged
    model = classifier(MTSNet(n_filters=(4, 6)), max_epochs=2, batch_size=16).fit(X, y)
    together = model.predict_proba(X)
    alone = np.concatenate([model.predict_proba([clip]) for clip in X])
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(
        model.predict_proba([X[i] for i in order]), together[order], atol=1e-6
    )


def test_one_band_sequences_as_plain_rows(tiny):
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    X = rng.normal(size=(40, 16)) + 4 * y[:, None]
    model = classifier(tiny, max_epochs=15)
    assert model.fit(X, y).score(X, y) > 0.9
    assert model.n_features_in_ == 16


# -------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X, y[:-1]), "X has 48 clips, but y has 47 entries"),
        (lambda X, y: (X, np.full(len(y), "dog")), "one class only"),
        (lambda X, y: (np.where(np.arange(48)[:, None, None] == 5, np.nan, X), y), "NaN.*clip 5"),
        (lambda X, y: ([*X[:3], X[3][:2], *X[4:]], y), r"Clip 3 has shape \(2, 12\)"),
        (lambda X, y: ([*X[:3], X[3][:, :0], *X[4:]], y), "Clip 3 is empty"),
        (lambda X, y: (["a.wav"] * 48, y), "got paths, but expected features"),
        (lambda X, y: (X, None), "requires y"),
    ],
)
def test_bad_data_is_named(tiny, features, change, message):
    with pytest.raises(ValueError, match=message):
        classifier(tiny).fit(*change(*features))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"lr": -1}, "'lr' parameter"),
        ({"loss": "crossentropy"}, "'loss' parameter"),
        ({"optimizer": "sdg"}, "'optimizer' parameter"),
        ({"crop": 1.0}, "crop=1.0 is in seconds"),
        ({"lr_schedule": "staged"}, "ends its stages by validation"),
        ({"frontend": 3}, "'frontend' parameter"),
        ({"network": 3}, "'network' parameter"),
    ],
)
def test_bad_parameters_are_named(tiny, features, parameters, message):
    with pytest.raises(ValueError, match=message):
        classifier(**{"network": tiny, **parameters}).fit(*features)


def test_other_bands_than_in_fit(tiny, features):
    X, y = features
    model = classifier(tiny, max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match="X has 5 features, but AudioClassifier is expecting 6"):
        model.predict(X[:, :5])
    with pytest.raises(ValueError, match="5 bands, but AudioClassifier is expecting 6"):
        model.predict(list(X[:, :5]))
    with pytest.raises(AudioFormatError, match="was fitted on clips with two axes"):
        model.predict(X[:, 0])


def test_width_of_a_2d_array_is_kept(tiny):
    X, y = np.random.default_rng(0).normal(size=(20, 8)), np.arange(20) % 2
    model = classifier(tiny, max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match="clips of other lengths as a list"):
        model.predict(X[:, :5])
    assert model.predict(list(X[:, :5])).shape == (20,)


def test_rows_as_long_as_waveforms_draw_a_warning(tiny):
    X, y = np.zeros((4, 4001)), [0, 1, 0, 1]
    with pytest.warns(SkaudioWarning, match="look like waveforms"):
        classifier(tiny, max_epochs=1).fit(X, y)


def test_frames_that_a_fixed_size_head_was_not_built_for(features):
    X, y = features
    network = MTSNet(n_filters=(2,), tempo_factors=(), pooling="flatten")
    model = classifier(network, max_epochs=1).fit(X, y)
    with pytest.raises(AudioFormatError, match=r"Clip 0 has 9 frames, but .* built for 12"):
        model.predict(X[..., :9])


# --------------------------------------------------------------- randomness


def test_same_seed_same_bits(features):
    X, y = features
    parameters = {"network": MTSNet(n_filters=(4,), dropout=0.5), "max_epochs": 3, "mixup": 0.2}
    first = classifier(**parameters).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(classifier(**parameters).fit(X, y).predict_proba(X), first)
    other = classifier(**parameters, random_state=1).fit(X, y).predict_proba(X)
    assert not np.array_equal(other, first)


def test_global_generators_are_left_alone(features):
    X, y = features
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)
    states = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    model = classifier(MTSNet(n_filters=(4,), dropout=0.5), max_epochs=2).fit(X, y)
    model.predict(X)
    np.testing.assert_array_equal(np.random.get_state()[1], states[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[1])


def test_two_fits_in_two_threads_do_not_disturb_each_other(features):
    X, y = features
    network = MTSNet(n_filters=(4,), dropout=0.5)
    expected = [
        classifier(network, max_epochs=4, random_state=seed).fit(X, y).predict_proba(X)
        for seed in range(2)
    ]
    results = [None, None]

    def work(seed):
        model = classifier(network, max_epochs=4, random_state=seed).fit(X, y)
        results[seed] = model.predict_proba(X)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(results, expected)


def test_grid_search_gives_the_same_bits_with_one_and_two_jobs(tiny, features):
    X, y = features
    grid = {"network__n_filters": [(2,), (4,)], "lr": [1e-3, 1e-2]}
    scores = [
        GridSearchCV(classifier(tiny, max_epochs=2), grid, cv=StratifiedKFold(2), n_jobs=n_jobs)
        .fit(X, y)
        .cv_results_["mean_test_score"]
        for n_jobs in (1, 2)
    ]
    np.testing.assert_array_equal(*scores)


# ------------------------------------------------------------------------ weights


def test_equal_weights_change_nothing(tiny, features):
    X, y = features
    plain = classifier(tiny, max_epochs=2).fit(X, y).predict_proba(X)
    ones = classifier(tiny, max_epochs=2).fit(X, y, sample_weight=np.ones(len(y)))
    np.testing.assert_array_equal(ones.predict_proba(X), plain)


def test_weight_zero_leaves_a_clip_out(tiny, features):
    X, y = features
    weight = (np.arange(len(y)) % 4 > 0).astype(float)
    kept = weight > 0
    weighted = classifier(tiny, max_epochs=2).fit(X, y, sample_weight=weight)
    fewer = classifier(tiny, max_epochs=2).fit(X[kept], y[kept])
    np.testing.assert_array_equal(weighted.predict_proba(X), fewer.predict_proba(X))


def test_class_weight_draws_predictions_to_a_class(tiny):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 2, 6)), np.arange(60) % 2
    shares = [
        classifier(tiny, class_weight=weight, max_epochs=3).fit(X, y).predict_proba(X)[:, 1].mean()
        for weight in ({0: 20, 1: 1}, None, {0: 1, 1: 20})
    ]
    assert shares[0] < 0.2 < shares[1] < 0.8 < shares[2]


def test_balanced_class_weight_is_the_one_scikit_learn_computes(tiny, features):
    X, y = features
    keep = np.flatnonzero((y != "cow") | (np.arange(len(y)) % 4 == 0))
    X, y = X[keep], y[keep]
    counts = {label: np.sum(y == label) for label in np.unique(y)}
    by_hand = {label: len(y) / (3 * count) for label, count in counts.items()}
    proba = [
        classifier(tiny, class_weight=weight, max_epochs=2).fit(X, y).predict_proba(X)
        for weight in ("balanced", by_hand)
    ]
    np.testing.assert_array_equal(*proba)


# ----------------------------------------------------------------------- validation


def test_early_stopping_restores_the_best_weights(tiny, features):
    X, y = features
    y = np.random.default_rng(0).permutation(y)  # nothing to learn: validation loss must rise
    model = classifier(
        tiny, early_stopping=True, validation_fraction=0.3, patience=3, max_epochs=60, lr=3e-2
    ).fit(X, y)
    history = model.history_
    assert len(history) < 60
    assert history["valid_loss"].idxmin() == history.index[-1] - 3
    best = classifier(
        tiny, early_stopping=True, validation_fraction=0.3, patience=60, lr=3e-2,
        max_epochs=60, callbacks=[StopAfter(history["valid_loss"].idxmin())],
    ).fit(X, y)  # fmt: skip
    np.testing.assert_array_equal(model.predict_proba(X), best.predict_proba(X))


def test_validation_clips_of_the_users_own(tiny, features):
    X, y = features
    # Some labels are wrong and the classes differ in size, so that the recalls differ as well.
    y_val = np.where(np.arange(12) < 5, "dog", y[36:])
    model = classifier(tiny, label_smoothing=0.0, max_epochs=3)
    model.fit(X[:36], y[:36], X_val=X[36:], y_val=y_val)
    recalls = recall_score(y_val, model.predict(X[36:]), average=None)
    assert len(set(recalls)) > 1
    assert model.history_["valid_score"].iloc[-1] == pytest.approx(recalls.mean())
    loss = log_loss(y_val, model.predict_proba(X[36:]))
    assert model.history_["valid_loss"].iloc[-1] == pytest.approx(loss, rel=1e-5)


def test_a_group_on_both_sides_draws_a_warning(tiny, features):
    X, y = features
    groups = np.arange(48) // 12
    with pytest.warns(SkaudioWarning, match="1 group.* such as"):
        classifier(tiny, max_epochs=1).fit(
            X[:30], y[:30], groups=groups[:30], X_val=X[30:], y_val=y[30:], groups_val=groups[30:]
        )


# ---------------------------------------------------------------- networks of one's own


class Mean(nn.Module):
    def __init__(self, n_bands=6, n_outputs=3):
        super().__init__()
        self.norm = nn.BatchNorm1d(n_bands)
        self.linear = nn.Linear(n_bands, n_outputs)

    def forward(self, x):
        return self.linear(self.norm(x.mean(dim=(1, 3))))


def build_mean(n_bands, n_outputs, n_frames=None, n_channels=1):
    return Mean(n_bands, n_outputs)


@pytest.mark.parametrize("network", [Mean(), build_mean], ids=["module", "callable"])
def test_network_of_the_users_own(features, network):
    X, y = features
    model = classifier(network, max_epochs=20, lr=3e-2).fit(X, y)
    assert model.score(X, y) > 0.95
    np.testing.assert_array_equal(clone(model).fit(X, y).predict(X), model.predict(X))


def test_a_module_is_copied_not_trained_in_place(features):
    module = Mean()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    classifier(module, max_epochs=1).fit(*features)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_loss_module_is_copied_not_kept(tiny, features):
    loss = FocalLoss(gamma=1.0)
    model = classifier(tiny, loss=loss, max_epochs=1).fit(*features)
    kept = list(model.net_.criterion_.modules())
    assert any(isinstance(module, FocalLoss) for module in kept)
    assert all(module is not loss for module in kept)
    assert model.get_params()["loss"] is loss


def test_loss_of_the_users_own(tiny, features):
    X, y = features

    def per_clip(output, target):
        return nn.functional.cross_entropy(output, target, reduction="none")

    def mean(output, target):
        return nn.functional.cross_entropy(output, target)

    known = classifier(tiny, max_epochs=2, label_smoothing=0.0)
    expected = known.fit(X, y).predict_proba(X)
    for loss in (per_clip, mean):
        model = classifier(tiny, max_epochs=2, loss=loss).fit(X, y)
        np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-6)
    with pytest.raises(ValueError, match="one loss per clip"):
        classifier(tiny, loss=mean).fit(X, y, sample_weight=np.arange(len(y)) + 1)


# ------------------------------------------------------------------- keeping models


def test_joblib_round_trip_predicts_the_same(tiny, features, tmp_path):
    X, y = features
    model = classifier(tiny, max_epochs=2, callbacks=[Unpicklable()]).fit(X, y)
    joblib.dump(model.set_params(callbacks=None), tmp_path / "model.joblib")
    loaded = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    loaded.partial_fit(X, y)


def test_a_pickle_is_about_as_large_as_the_weights(features, tmp_path):
    X, y = features
    model = classifier(MTSNet(n_filters=(32, 64)), max_epochs=2).fit(X, y)
    joblib.dump(model, tmp_path / "model.joblib")
    weights = sum(value.nbytes for value in model.net_.module_.state_dict().values())
    assert (tmp_path / "model.joblib").stat().st_size < 1.2 * weights + 50_000


# --------------------------------------------------------------- more than one call


def test_warm_start_goes_on(tiny, features):
    X, y = features
    model = classifier(tiny, max_epochs=3, warm_start=True).fit(X, y).fit(X, y)
    assert len(model.history_) == 6
    foxes = np.where(y == "dog", "fox", y)
    with pytest.raises(ValueError, match=r"label 'fox'.* not one of the classes"):
        model.fit(X, foxes)
    with pytest.raises(ValueError, match=r"y_val holds the label 'fox'.* Leave such clips out"):
        clone(model).fit(X, y, X_val=X, y_val=foxes)


def test_partial_fit_trains_one_epoch_at_a_time(tiny, features):
    X, y = features
    model = classifier(tiny, lr=2e-2)
    for _ in range(12):
        model.partial_fit(X[y != "cow"], y[y != "cow"], classes=["cat", "cow", "dog"])
        model.partial_fit(X, y)
    assert len(model.history_) == 24
    assert model.score(X, y) > 0.95


@pytest.mark.parametrize("known", [["cat"], ["cat", "dog"]])
def test_a_first_chunk_says_nothing_of_classes_it_lacks(tiny, features, known):
    X, y = features
    chunk = np.isin(y, known)
    model = classifier(tiny, lr=1e-9, label_smoothing=0.0)
    model.partial_fit(X[chunk], y[chunk], classes=["cat", "cow", "dog"])
    bias = model.net_.module_.network.head.bias.detach().cpu()
    np.testing.assert_allclose(bias, bias.mean(), atol=1e-6)


def test_a_second_fit_begins_anew(tiny, features):
    X, y = features
    model = classifier(tiny, max_epochs=2)
    first = model.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(model.fit(X, y).predict_proba(X), first)
    assert model.fit(X[:, :4, :9], y).n_features_in_ == 4


def test_diverged_training_keeps_the_best_weights(features):
    X, y = features
    model = classifier(Mean(), optimizer="sgd", lr=1e30, max_epochs=5)
    with pytest.raises(DivergedError, match="Lower lr"):
        model.fit(X, y)
    assert np.isfinite(model.predict_proba(X)).all()


def test_interrupt_leaves_a_usable_estimator(tiny, features):
    X, y = features
    model = classifier(tiny, callbacks=[Interrupt()])
    with pytest.raises(KeyboardInterrupt), pytest.warns(SkaudioWarning, match="interrupted"):
        model.fit(X, y)
    assert model.predict(X).shape == y.shape
    assert len(model.history_) == 2
    assert model.history_["train_loss"].notna().all()


def test_skorch_early_stopping_is_no_interrupt(tiny, features):
    X, y = features
    stop = SkorchEarlyStopping("train_loss", patience=1, threshold=1e9, threshold_mode="abs")
    stop.sink = str
    model = classifier(tiny, callbacks=[("stop", stop)]).fit(X, y)
    assert len(model.history_) < 8


def test_progress_is_shown_on_request(tiny, features, capsys):
    X, y = features
    classifier(tiny, max_epochs=2, verbose=0).fit(X, y)
    assert capsys.readouterr() == ("", "")
    classifier(tiny, max_epochs=2, verbose=1).fit(X, y)
    assert "2/2" in capsys.readouterr().err
