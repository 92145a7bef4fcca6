"""What happens inside a training run, and what it does not let happen."""

import re
import warnings

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import (
    BatchScoring,
    Callback,
    EarlyStopping,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    LRScheduler,
    PrintLog,
)  # fmt: skip
from torch import nn

from skaudio.estimators import AudioClassifier, AudioRegressor
from skaudio.exceptions import DivergedError, SkaudioWarning
from skaudio.layers import ConstrainedLinear
from skaudio.networks import DiffResNet, MTSNet


class Dense(nn.Module):
    """As little as possible: no norm that would catch what grows."""

    def __init__(self, n_outputs=3):
        super().__init__()
        self.head = nn.Linear(6, n_outputs)
        nn.init.zeros_(self.head.weight)

    def forward(self, x):
        return self.head(x.mean((1, 3)))


def one_wild_step(estimator, n_outputs, **options):
    """One step of such a size that no weight stays finite, at the end of an epoch."""
    return estimator(
        Dense(n_outputs), optimizer="sgd", lr=1e38, lr_schedule=None, weight_decay=0.0,
        clip_norm=None, batch_size=100, random_state=0, **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    "options", [{"max_epochs": 1}, {"max_epochs": 5}, {"early_stopping": True}]
)
def test_weights_that_break_in_an_epochs_last_step_are_not_kept(features, options):
    X, y = features
    model = one_wild_step(AudioClassifier, 3, **options)
    with pytest.raises(DivergedError, match=r"no longer finite at the end of epoch|became"):
        model.fit(X * 1e3, y)
    assert np.isfinite(model.predict_proba(X)).all()


def test_a_regressor_that_diverges_says_so(features):
    X, _ = features
    model = one_wild_step(AudioRegressor, 1, early_stopping=True)
    with pytest.raises(DivergedError):
        model.fit(X * 1e3, X.mean((1, 2)))
    assert np.isfinite(model.predict(X)).all()


def test_concordance_is_validated_over_all_clips_of_unequal_length():
    rng = np.random.default_rng(0)
    level = rng.normal(size=48)
    X = [0.3 * rng.normal(size=(4, 10 + i)) + level[i] for i in range(48)]
    model = AudioRegressor(
        MTSNet(n_filters=(4,), kernel_size=(3, 3), tempo_factors=(), level_norm=False, dropout=0.0),
        loss="concordance", early_stopping=True, validation_fraction=0.25, patience=5,
        max_epochs=20, batch_size=16, lr=1e-2, random_state=0,
    ).fit(X, level)  # fmt: skip
    assert model.history_.valid_loss.iloc[-1] < 0.5
    assert model.score(X, level) > 0.8


def test_the_validation_loss_is_that_of_the_predictions(tiny, ragged):
    X, y = ragged
    model = AudioClassifier(tiny, label_smoothing=0.0, max_epochs=2, random_state=0)
    model.fit(X, y, X_val=X, y_val=y)
    right = model.predict_proba(X)[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    np.testing.assert_allclose(model.history_.valid_loss.iloc[-1], -np.log(right).mean(), rtol=1e-5)


class Stop(Callback):
    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise KeyboardInterrupt


def test_an_interrupt_at_an_epochs_end_is_one(tiny, features, tmp_path):
    model = AudioClassifier(
        tiny, max_epochs=4, callbacks=[Stop()], checkpoint_dir=tmp_path, random_state=0
    )
    with pytest.raises(KeyboardInterrupt), pytest.warns(SkaudioWarning, match="in epoch 2"):
        model.fit(*features)
    assert len(model.history_) == 2
    assert not list(tmp_path.rglob("finished"))


def test_skorch_early_stopping_ends_a_run_without_a_warning(tiny, features):
    stopping = EarlyStopping(monitor="train_loss", patience=1, threshold=10.0, sink=lambda *_: None)
    model = AudioClassifier(tiny, max_epochs=8, callbacks=[stopping], random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(*features)
    assert 1 < len(model.history_) < 8


def trained(network, features, *callbacks, **parameters):
    """Train for two epochs of two steps, of 32 and 16 clips."""
    settings = {"max_epochs": 2, "batch_size": 32, "lr_schedule": None, "random_state": 0}
    model = AudioClassifier(network, callbacks=list(callbacks), **{**settings, **parameters})
    return model.fit(*features)


class Documented(Callback):
    """The signatures of skorch's manual."""

    def __init__(self):
        self.sizes = []

    def on_train_begin(self, net, X, y, **kwargs):
        self.sizes.append((len(X), len(y)))

    on_train_end = on_train_begin


def test_callbacks_are_given_the_clips(tiny, features):
    callback = Documented()
    trained(tiny, features, callback)
    assert callback.sizes == [(48, 48)] * 2


class Outputs(Callback):
    """Collects all that the module returns, by epoch."""

    def __init__(self):
        self.epochs = []

    def on_train_begin(self, net, **kwargs):
        net.module_.register_forward_hook(self.collect)

    def on_epoch_begin(self, net, **kwargs):
        self.epochs.append([])

    def collect(self, module, inputs, output):
        self.epochs[-1].append(output.detach().numpy())


def mean_logit(net, X, y):
    return float(np.concatenate([part.cpu().numpy() for part in net.forward_iter(X)]).mean())


@pytest.mark.parametrize("scoring", [EpochScoring, BatchScoring])
def test_skorch_scores_the_outputs_of_the_training_steps(tiny, features, scoring):
    seen = Outputs()
    model = trained(tiny, features, seen, scoring(mean_logit, name="mean_logit", on_train=True))
    means = [np.concatenate(epoch).mean() for epoch in seen.epochs]
    np.testing.assert_allclose(model.history_["mean_logit"], means, rtol=1e-4)


def test_skorch_freezes_parameters(tiny, features):
    # AdamW moves a weight by about lr a step, here by next to nothing.
    start = dict(trained(tiny, features, lr=1e-30).net_.module_.named_parameters())
    frozen = trained(tiny, features, Freezer(lambda name: "norm" in name), lr=1e-2)
    for name, weight in frozen.net_.module_.named_parameters():
        moved = (weight - start[name]).abs().max() > 1e-20
        assert moved != ("norm" in name), name
    assert any("norm" in name for name in start)


def test_skorch_clips_gradients(tiny, features):
    X, _ = features
    sgd = {"optimizer": "sgd", "lr": 1.0}
    by_callback = trained(tiny, features, GradientNormClipping(0.05), **sgd).predict_proba(X)
    by_parameter = trained(tiny, features, clip_norm=0.05, **sgd).predict_proba(X)
    np.testing.assert_array_equal(by_callback, by_parameter)
    assert not np.array_equal(by_callback, trained(tiny, features, **sgd).predict_proba(X))


def test_skorch_schedules_the_learning_rate(tiny, features):
    schedule = LRScheduler(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    model = trained(tiny, features, schedule, lr=1e-2)
    np.testing.assert_allclose(model.history_["lr"], [1e-2, 5e-3])


def test_skorch_prints_the_history(tiny, features):
    lines = []
    model = trained(tiny, features, PrintLog(sink=lines.append))
    plain = [re.sub(r"\x1b\[\d+m", "", line) for line in lines]  # without colours
    names, rows = plain[0].split(), [line.split() for line in plain[2:]]
    for name in ("train_loss", "lr"):
        printed = [float(row[names.index(name)]) for row in rows]
        np.testing.assert_allclose(printed, model.history_[name], atol=1e-4)


@pytest.mark.parametrize("n_outputs", [2, 5])
def test_an_output_of_the_wrong_width_is_named(features, n_outputs):
    with pytest.raises(ValueError, match=rf"shape \(8, {n_outputs}\).*expected \(8, 3\)"):
        AudioClassifier(Dense(n_outputs)).fit(*features)


class Flat(Dense):
    def forward(self, x):
        return super().forward(x)[:, 0]


def test_a_regressors_output_needs_an_axis_for_targets(features):
    X, _ = features
    with pytest.raises(ValueError, match=r"shape \(8,\).*expected \(8, 1\)"):
        AudioRegressor(Flat()).fit(X, X.mean((1, 2)))


def test_further_training_obeys_new_settings(tiny, features):
    X, y = features
    model = AudioClassifier(
        tiny, lr=1e-2, lr_schedule=None, warm_start=True, max_epochs=2, random_state=0
    ).fit(X, y)
    before = model.net_.optimizer_
    model.fit(X, y)
    assert model.net_.optimizer_ is before
    model.set_params(lr=1e-5, loss="focal", optimizer="sgd", mixup=0.3).fit(X, y)
    assert model.history_["lr"].tolist() == [1e-2] * 4 + [1e-5] * 2
    assert isinstance(model.net_.optimizer_, torch.optim.SGD)
    assert model.net_.settings.mixup == 0.3
    assert "FocalLoss" in repr(model.net_.criterion_)


class Lowest(nn.Module):
    """Remembers the lowest value of each band that it is given, padding included."""

    def __init__(self, n_outputs):
        super().__init__()
        self.head = nn.Linear(2, n_outputs)
        self.register_buffer("lowest", torch.full((2,), torch.inf))

    def forward(self, x):
        self.lowest = torch.minimum(self.lowest, x.amin((0, 1, 3)))
        return self.head(x.mean((1, 3)))


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_padding_is_the_silence_of_each_band(mixup):
    def build(n_bands, n_outputs, n_frames=None, n_channels=1):
        return Lowest(n_outputs)

    rng = np.random.default_rng(0)
    X = [  # decibels above, saliences below
        np.stack([rng.uniform(-80, -20, n), rng.uniform(-0.3, 1, n)]).astype(np.float32)
        for n in range(5, 25)
    ]
    model = AudioClassifier(build, max_epochs=1, mixup=mixup, random_state=0)
    model.fit(X, np.arange(20) % 2)
    lowest = model.net_.module_.network.lowest.cpu()
    expected = np.concatenate(X, axis=1).min(axis=1)
    assert (lowest.numpy() >= expected - 1e-5).all()


class LearnedScale(nn.Module):
    """A loss with a weight of its own."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, output, target):
        losses = nn.functional.cross_entropy(output * self.scale, target, reduction="none")
        return losses + 0.1 * self.scale**2


def test_a_loss_goes_on_learning(tiny, features):
    model = AudioClassifier(tiny, loss=LearnedScale(), lr=1e-2, lr_schedule=None, random_state=0)
    scales = [1.0]
    for _ in range(3):
        model.partial_fit(*features)
        scales.append(model.net_.criterion_[0].loss.scale.item())
    assert len({round(scale, 6) for scale in scales}) == 4
    assert model.loss.scale == 1
    model.set_params(loss="focal").partial_fit(*features)
    groups = model.net_.optimizer_.param_groups
    assert sum(len(group["params"]) for group in groups) == len(
        list(model.net_.module_.parameters())
    )


class ValidationClips(Callback):
    """Notes which clips each epoch is validated on."""

    def __init__(self):
        self.epochs = []

    def on_epoch_begin(self, net, **kwargs):
        self.epochs.append(set())

    def on_batch_end(self, net, batch, training, **kwargs):
        if not training:
            self.epochs[-1] |= {clip.numpy().tobytes() for clip in batch[0]["x"]}


def test_further_training_holds_the_same_clips_back(tiny, features):
    seen = ValidationClips()
    model = AudioClassifier(
        tiny, early_stopping=True, warm_start=True, max_epochs=1, callbacks=[seen]
    )
    model.fit(*features).fit(*features)
    assert len(seen.epochs[0]) == 5
    assert seen.epochs[0] == seen.epochs[1]


def test_a_gpu_that_is_missing_is_done_without(tiny, features, monkeypatch):
    X, y = features
    model = AudioClassifier(tiny, loss="focal", max_epochs=1, random_state=0).fit(X, y)
    state = model.net_.__getstate__() | {"device": "cuda:7"}
    loaded = model.net_.__class__.__new__(model.net_.__class__)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    loaded.__setstate__(state)
    assert loaded.device == "cpu"
    assert {tensor.device.type for tensor in loaded.module_.state_dict().values()} == {"cpu"}


def test_the_default_network_can_be_searched(features):
    grid = {"network__n_filters": [(2,), (4,)], "network__kernel_size": [(3, 3)]}
    search = GridSearchCV(AudioClassifier(max_epochs=1, random_state=0), grid, cv=2)
    search.fit(*features)
    assert search.best_estimator_.network.kernel_size == (3, 3)
    grid = {"network__backbone__n_filters": [(2,), (4,)]}
    model = AudioClassifier(DiffResNet(), max_epochs=1, random_state=0)
    search = GridSearchCV(model, grid, cv=2).fit(*features)
    assert search.best_estimator_.network.backbone.n_filters in [(2,), (4,)]


class Halfway(nn.Module):
    """One layer that moves halfway to its bound after each step."""

    def __init__(self):
        super().__init__()
        self.head = ConstrainedLinear(6, 3, max_norm=1.0, min_norm=0.5, minmax_rate=0.5)
        with torch.no_grad():
            self.head.weight.mul_(9.0 / self.head.weight.norm(dim=1, keepdim=True))

    def forward(self, x):
        return self.head(x.mean((1, 3)))


def test_norms_are_bounded_after_each_step(features):
    model = AudioClassifier(
        Halfway(), lr=1e-9, lr_schedule=None, weight_decay=0.0, batch_size=16, max_epochs=1,
        random_state=0,
    ).fit(*features)  # fmt: skip
    norms = model.net_.module_.network.head.weight.detach().norm(dim=1)
    torch.testing.assert_close(norms, torch.full((3,), 1 + 8 / 2**3), rtol=1e-4, atol=0)
