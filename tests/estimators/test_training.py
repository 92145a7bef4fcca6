"""How a training runs: schedules, optimisers, validation, what is passed through pipelines."""

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback, TensorBoard

from skaudio.augmentation import TimeMask
from skaudio.estimators import AudioClassifier, AudioRegressor
from skaudio.estimators._batches import count_epochs, count_rounds
from skaudio.estimators._optimization import cosine, count_plateaus, one_cycle
from skaudio.exceptions import StopTraining
from skaudio.features import BandScaler
from skaudio.networks import MTSNet


def classifier(network, **parameters):
    return AudioClassifier(
        network, **{"max_epochs": 6, "batch_size": 8, "lr": 1e-2, "random_state": 0, **parameters}
    )


# ----------------------------------------------------------------- optimisers and schedules


@pytest.mark.parametrize(
    "optimizer",
    ["adam", "adamw", "sgd", "rmsprop", "adadelta", torch.optim.NAdam],
    ids=lambda optimizer: getattr(optimizer, "__name__", optimizer),
)
def test_every_optimiser_learns(tiny, features, optimizer):
    lr = 1.0 if optimizer == "adadelta" else 1e-2
    model = classifier(tiny, optimizer=optimizer, lr=lr, max_epochs=10).fit(*features)
    losses = model.history_["train_loss"]
    assert losses.iloc[-1] < losses.iloc[0] - 0.1


def test_weight_decay_reaches_the_optimiser(tiny, features):
    for optimizer in ("adamw", "adam", "sgd", "rmsprop", "adadelta", torch.optim.AdamW):
        model = classifier(tiny, optimizer=optimizer, weight_decay=0.25, max_epochs=1)
        groups = model.fit(*features).net_.optimizer_.param_groups
        decays = {p: group["weight_decay"] for group in groups for p in group["params"]}
        assert len(decays) == len(list(model.net_.module_.parameters()))
        for weight in model.net_.module_.parameters():
            assert decays[weight] == (0.25 if weight.ndim > 1 else 0)


@pytest.mark.parametrize(
    ("n_clips", "batch_size", "n_epochs"),
    [(480, 32, 134), (480, 8, 34), (48, 32, 150), (20_000, 32, 10), (1, 32, 150)],
)
def test_epochs_that_2000_steps_take(n_clips, batch_size, n_epochs):
    n_rounds = count_rounds([n_clips], batch_size)
    assert count_epochs(n_rounds, staged=False) == n_epochs
    assert count_epochs(n_rounds, staged=True) == 1000


def test_epochs_left_open_are_fixed_before_the_training(tiny, features):
    model = classifier(tiny, max_epochs=None, batch_size=32).fit(*features)
    numbered = classifier(tiny, max_epochs=150, batch_size=32).fit(*features)
    assert len(model.history_) == 150
    assert model.max_epochs is None
    # The schedule knows the end from the beginning.
    np.testing.assert_array_equal(model.history_["lr"], numbered.history_["lr"])
    assert model.history_["lr"].iloc[-1] < 1e-3 * model.lr
    np.testing.assert_array_equal(
        model.predict_proba(features[0]), numbered.predict_proba(features[0])
    )


def test_further_training_is_one_epoch_however_many_are_left_open(tiny, features):
    model = classifier(tiny, max_epochs=None).partial_fit(*features).partial_fit(*features)
    assert len(model.history_) == 2


def test_epochs_are_counted_without_the_clips_held_back(tiny, features):
    settings = {"batch_size": 1, "early_stopping": True, "validation_fraction": 0.5}
    stop = Stop()
    classifier(tiny, max_epochs=None, callbacks=[stop], **settings).fit(*features)
    assert stop.n_epochs == -(-2000 // 24)


class Stop(Callback):
    """Ends a training at once, and notes for how many epochs its schedule was made."""

    def on_epoch_end(self, net, **kwargs):
        self.n_epochs = dict(net.callbacks_)["skaudio_lr_schedule"].n_epochs
        raise StopTraining


def test_norms_and_biases_do_not_decay(tiny, features):
    still = classifier(tiny, lr=1e-3, lr_schedule=None, weight_decay=100.0, max_epochs=4)
    free = still.fit(*features).net_.module_.network
    # Kernels shrink by lr * weight_decay = 10% in each step, norms move by about lr.
    kernel = free.blocks[0].conv.weight
    assert kernel.abs().max() < 0.1
    assert (free.blocks[0].norm.weight - 1).abs().max() < 0.05


def test_cosine_falls_to_zero(tiny, features):
    rates = classifier(tiny, lr_schedule="cosine").fit(*features).history_["lr"]
    assert rates.is_monotonic_decreasing
    assert 0 < rates.iloc[-1] < 0.02 * rates.iloc[0]
    assert (cosine(0), cosine(0.5), cosine(1)) == pytest.approx((1, 0.5, 0))


def test_one_cycle_rises_then_falls(tiny, features):
    rates = classifier(tiny, lr_schedule="one_cycle", max_epochs=20).fit(*features).history_["lr"]
    assert 4 <= rates.argmax() <= 7
    assert rates.max() == pytest.approx(1e-2, rel=0.05)
    assert (one_cycle(0), one_cycle(0.3), one_cycle(1)) == pytest.approx((0.04, 1, 0))


def test_constant_rate(tiny, features):
    rates = classifier(tiny, lr_schedule=None).fit(*features).history_["lr"]
    assert set(rates) == {1e-2}


@pytest.mark.parametrize("decay", [0.0, 0.1, "size"])
def test_partial_fit_trains_at_the_full_rate_after_fit(tiny, features, decay):
    model = classifier(tiny, lr_schedule="cosine", lr_decay=decay).fit(*features)
    assert model.partial_fit(*features).history_["lr"].iloc[-1] == 1e-2


def test_plateau_lowers_the_rate_when_nothing_improves(tiny, features):
    X, y = features
    model = classifier(tiny, lr_schedule="plateau", patience=4, max_epochs=30, lr=3e-2)
    rates = model.fit(X, np.random.default_rng(0).permutation(y)).history_["lr"]
    assert set(np.round(np.log10(rates / 3e-2), 6)) >= {0.0, -1.0}


@pytest.mark.parametrize(
    ("scores", "plateaus"),
    [([], 0), ([0.5, 0.6, 0.7], 0), ([0.5, 0.5, 0.5], 1), ([0.5, 0.5, 0.5, 0.9, 0.9, 0.9], 2)],
)
def test_count_plateaus(scores, plateaus):
    begin = 3 * plateaus  # each of them took three epochs
    assert count_plateaus(scores, patience=2, min_delta=0.005) == (plateaus, begin)


def test_stages_lower_the_rate_and_end_the_training(tiny, features):
    X, y = features
    model = classifier(
        tiny, optimizer="sgd", lr=0.1, lr_schedule="staged", patience=2, max_epochs=100,
        early_stopping=True, validation_fraction=0.3,
    ).fit(X, y)  # fmt: skip
    rates = model.history_["lr"]
    assert len(rates) < 100
    np.testing.assert_allclose(rates.unique(), [0.1, 0.01, 0.001])


def test_stages_end_with_the_best_score(tiny, features):
    X, y = features
    noisy = X + np.random.default_rng(1).normal(scale=4, size=X.shape).astype(np.float32)
    model = classifier(
        tiny, lr=0.1, lr_schedule="staged", patience=2, max_epochs=30, early_stopping=True
    ).fit(X[:24], y[:24], X_val=noisy, y_val=y)
    assert model.score(noisy, y) == pytest.approx(model.history_["valid_score"].max())


def test_clip_norm_bounds_a_step(tiny, features):
    X, y = features

    def moved(clip_norm):
        parameters = {
            "optimizer": "sgd", "lr": 1.0, "lr_schedule": None, "max_epochs": 1, "batch_size": 48,
        }  # fmt: skip
        model = classifier(tiny, clip_norm=clip_norm, weight_decay=0.0, **parameters).fit(X, y)
        start = classifier(tiny, clip_norm=1e-12, weight_decay=0.0, **parameters).fit(X, y)
        pairs = zip(model.net_.module_.parameters(), start.net_.module_.parameters(), strict=True)
        return sum((after - before).square().sum() for after, before in pairs).sqrt().item()

    assert moved(0.05) == pytest.approx(0.05, rel=1e-3)
    assert moved(None) > 0.06


def test_amp_is_off_without_a_gpu(tiny, features):
    X, y = features
    plain = classifier(tiny, device="cpu").fit(X, y).predict_proba(X)
    for amp in ("bfloat16", "float16"):
        model = classifier(tiny, amp=amp, device="cpu").fit(X, y)
        np.testing.assert_array_equal(model.predict_proba(X), plain)


@pytest.mark.parametrize("loss", ["focal", "ordinal"])
def test_losses_by_name_learn(tiny, features, loss):
    order = {"class_order": ["cat", "cow", "dog"]} if loss == "ordinal" else {}
    model = classifier(tiny, loss=loss, max_epochs=25, lr=3e-2, **order).fit(*features)
    losses = model.history_["train_loss"]
    assert losses.iloc[-1] < losses.iloc[0]


def test_label_smoothing_holds_back_certainty(tiny, features):
    X, y = features
    sure, smooth = (
        classifier(tiny, label_smoothing=amount, max_epochs=30, lr=3e-2).fit(X, y)
        for amount in (0.0, 0.3)
    )
    assert smooth.predict_proba(X).max(axis=1).mean() < sure.predict_proba(X).max(axis=1).mean()


# ----------------------------------------------------------------------- in training only


def test_augmentation_acts_in_training_only(tiny, features):
    X, y = features
    plain = classifier(tiny, max_epochs=2).fit(X, y)
    masked = classifier(tiny, max_epochs=2, augmentation=TimeMask(max_width=0.5)).fit(X, y)
    assert not np.array_equal(plain.predict_proba(X), masked.predict_proba(X))
    np.testing.assert_array_equal(masked.predict_proba(X), masked.predict_proba(X))
    again = classifier(tiny, max_epochs=2, augmentation=TimeMask(max_width=0.5)).fit(X, y)
    np.testing.assert_array_equal(masked.predict_proba(X), again.predict_proba(X))


def test_augmentation_is_reached_by_a_grid(tiny, features):
    grid = {"augmentation__max_width": [0.1, 0.4], "mixup": [0.0, 0.3]}
    model = classifier(tiny, max_epochs=1, augmentation=TimeMask())
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(*features)
    best = search.best_estimator_
    assert (
        best.net_.module_.augmentation.max_width == search.best_params_["augmentation__max_width"]
    )
    assert best.net_.settings.mixup == search.best_params_["mixup"]


def test_mixup_learns_with_unequal_lengths_and_weights(ragged):
    X, y = ragged
    model = classifier(MTSNet(n_filters=(8,), tempo_factors=()), mixup=0.3, max_epochs=10)
    losses = model.fit(X, y, sample_weight=np.linspace(0.5, 1.5, len(y))).history_["train_loss"]
    assert losses.iloc[-1] < losses.iloc[0]


# ------------------------------------------------------------------------------- validation


class SeenClips(Callback):
    """Notes the number that each clip has in its first cell, for training and validation."""

    def __init__(self):
        self.training, self.validation = set(), set()

    def on_batch_end(self, net, batch, training, **kwargs):
        numbers = batch[0]["x"][:, 0, 0].tolist()
        (self.training if training else self.validation).update(numbers)


def numbered_clips(n_clips):
    X = np.zeros((n_clips, 2, 3), dtype=np.float32)
    X[:, 0, 0] = np.arange(n_clips)
    return X


@pytest.mark.parametrize("seed", range(20))
def test_a_speaker_is_never_on_both_sides_inside_fit(tiny, seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(2 + seed % 7, size=40)
    y = np.arange(40) % 3
    weight = rng.integers(2, size=40).astype(float)  # clips of weight zero are left out
    seen = SeenClips()
    classifier(
        tiny, early_stopping=True, validation_fraction=0.2, max_epochs=1, batch_size=20,
        callbacks=[seen], random_state=seed,
    ).fit(numbered_clips(40), y, sample_weight=weight, groups=groups)  # fmt: skip
    assert seen.training | seen.validation == set(np.flatnonzero(weight))
    speakers = [{groups[int(i)] for i in part} for part in (seen.training, seen.validation)]
    assert not speakers[0] & speakers[1]
    assert all(speakers)


def test_groups_and_weights_pass_through_search_and_pipeline(tiny, features):
    X, y = features
    rng = np.random.default_rng(0)
    # Labels that cannot be learned, so that the weights of clips matter for the score, too.
    y, groups, weight = rng.permutation(y), rng.integers(8, size=48), rng.uniform(0.1, 2, size=48)
    model = classifier(tiny, max_epochs=2, early_stopping=True)
    grid = {"audioclassifier__lr": [1e-2, 1e-3]}
    search = GridSearchCV(make_pipeline(BandScaler(), model), grid, cv=GroupKFold(2))
    with sklearn.config_context(enable_metadata_routing=True):
        results = cross_validate(
            search, X, y, cv=GroupKFold(2), error_score="raise", return_estimator=True,
            params={"groups": groups, "sample_weight": weight},
        )  # fmt: skip
    folds = GroupKFold(2).split(X, y, groups)
    for (train, test), search, score in zip(
        folds, results["estimator"], results["test_score"], strict=True
    ):
        scaler = BandScaler().fit(X[train])
        by_hand = clone(model).set_params(lr=search.best_params_["audioclassifier__lr"])
        by_hand.fit(
            scaler.transform(X[train]), y[train], sample_weight=weight[train], groups=groups[train]
        )
        X_test = scaler.transform(X[test])
        np.testing.assert_array_equal(search.predict_proba(X[test]), by_hand.predict_proba(X_test))
        assert score == by_hand.score(X_test, y[test], sample_weight=weight[test])


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"groups": np.zeros(3)}, "groups has shape"),
        ({"groups": [*range(47), np.nan]}, "groups has no value at 47"),
        ({"groups": ["a", None] * 24}, "groups has no value at 1, and at 23 more"),
        ({"X_val": np.zeros((2, 6, 12))}, "X_val and y_val go together"),
        ({"X_val": np.zeros((2, 6, 12)), "y_val": ["dog"]}, "X_val has 2 clips, but y_val has 1"),
        ({"sample_weight": np.zeros(48)}, "at least one non-zero"),
        ({"sample_weight": -np.ones(48)}, "[Nn]egative"),
    ],
)
def test_bad_arguments_of_fit(tiny, features, keywords, message):
    with pytest.raises(ValueError, match=message):
        classifier(tiny).fit(*features, **keywords)


# ------------------------------------------------------------------------------- regression


def make_loudness(n_clips=60, seed=0):
    rng = np.random.default_rng(seed)
    level = rng.uniform(-3, 3, size=n_clips)
    X = rng.normal(size=(n_clips, 4, 10)) + level[:, None, None]
    return X.astype(np.float32), 100 + 20 * level


def regressor(network, **parameters):
    # The loudness itself is asked for, which the network would otherwise take out.
    return AudioRegressor(
        network.set_params(level_norm=False),
        **{"max_epochs": 40, "batch_size": 8, "lr": 1e-2, "random_state": 0, **parameters},
    )


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "concordance"])
def test_regression_in_the_targets_own_units(tiny, loss):
    X, y = make_loudness()
    model = regressor(tiny, loss=loss).fit(X, y)
    assert model.predict(X).shape == y.shape
    assert model.score(X, y) > 0.7


def test_several_targets_keep_their_axes(tiny):
    X, y = make_loudness()
    Y = np.column_stack([y, -1e3 * y])
    model = regressor(tiny).fit(X, Y, X_val=X, y_val=Y)
    assert model.predict(X).shape == Y.shape
    assert model.score(X, Y) > 0.7
    assert model.history_["valid_score"].iloc[-1] > 0.7
    assert regressor(tiny, max_epochs=1).fit(X, y[:, None]).predict(X).shape == (60, 1)
    with pytest.raises(ValueError, match="2 targets, but the first fit had 1"):
        regressor(tiny, max_epochs=1).partial_fit(X, y).partial_fit(X, Y)


def test_untrained_regressor_answers_with_the_mean(tiny):
    X, y = make_loudness()
    model = regressor(tiny, max_epochs=1, lr=1e-12, lr_schedule=None).fit(X, y)
    assert abs(model.predict(X).mean() - y.mean()) < y.std()


def test_tensorboard_in_one_line(tiny, features):
    class Writer:
        """What a SummaryWriter is asked to write."""

        def __init__(self):
            self.curves = {}

        def add_scalar(self, tag, scalar_value, global_step):
            self.curves.setdefault(tag, {})[global_step] = scalar_value

        def close(self):
            pass

    writer = Writer()
    model = classifier(tiny, max_epochs=2, callbacks=[TensorBoard(writer)]).fit(*features)
    for tag, column in [("Loss/train_loss", "train_loss"), ("lr", "lr")]:
        assert writer.curves[tag] == model.history_[column].to_dict()
