"""Transfer: what is taken over, what is trained, what is frozen, for every network."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback
from torch import nn

import skaudio
from skaudio import AudioClassifier, AudioRegressor, LogMelSpectrogram, networks
from skaudio.datasets import make_tones
from skaudio.estimators._optimization import count_plateaus
from skaudio.exceptions import DamagedFileError
from skaudio.networks import (
    AdapterResNet,
    AdapterRNN,
    BaseNetwork,
    MTSNet,
    SeparableNet,
    VGG16Net,
)

SMALL = {
    "AdapterResNet": {"n_filters": 2, "n_blocks": 1, "input_norm": True},
    "AdapterRNN": {"n_hidden": 8, "down_pool": 2},
    "DiffResNet": {"backbone": MTSNet(n_filters=(4,))},
    "FusionNet": {"n_filters": 2, "n_blocks": 1, "n_hidden": 8},
    "MTSNet": {"n_filters": (4, 4)},
    "SeparableNet": {"n_filters": (4, 8)},
    "VGG16Net": {"width": 0.05},
}
DESCRIPTIONS = [
    kind(**SMALL.get(kind.__name__, {}))
    for kind in (getattr(networks, name) for name in networks.__all__)
    if issubclass(kind, BaseNetwork) and kind is not BaseNetwork
]
WITH_ADAPTERS = [network for network in DESCRIPTIONS if network.has_adapters]
RESNET = AdapterResNet(n_filters=2, n_blocks=1)
STILL = {"lr": 1e-30, "weight_decay": 0.0, "max_epochs": 1}  # trains, and moves nothing


def classifier(network=None, **parameters):
    return AudioClassifier(
        network,
        **{"max_epochs": 2, "batch_size": 16, "lr": 1e-2, "random_state": 0, **parameters},
    )


def state_of(model):
    return model.net_.module_.network.state_dict()


def head_of(network):
    return network.sets[0].head if hasattr(network, "sets") else network.head


def head_names(model):
    """Names of the weights of the last layers."""
    network = model.net_.module_.network
    prefix = next(name for name, part in network.named_modules() if part is head_of(network))
    return {name for name in network.state_dict() if name.startswith(f"{prefix}.")}


def close(weights, others):
    return weights.shape == others.shape and torch.allclose(weights, others)


def moved(model, before, same=torch.equal):
    """Names of the weights and statistics that are not the same as before, to the last bit."""
    after = state_of(model)
    return {name for name in after if name not in before or not same(after[name], before[name])}


def name_of(network):
    return type(network).__name__


@pytest.fixture
def data(features):
    return features


@pytest.fixture
def other(features):
    """Another corpus, with two labels."""
    X, y = features
    return X[::-1] + 1, np.where(y[::-1] == "dog", "speech", "music")


@pytest.fixture(params=DESCRIPTIONS, ids=name_of)
def big(request, data):
    return classifier(clone(request.param)).fit(*data)


@pytest.fixture
def resnet(data):
    return classifier(clone(RESNET)).fit(*data)


# ------------------------------------------------------------------------------ every network


@pytest.mark.parametrize("mode", ["finetune", "last-layer"])
def test_it_starts_from_the_pretrained_weights(big, other, mode):
    model = classifier(mode=mode, pretrained=FrozenEstimator(big), **STILL).fit(*other)
    statistics = {name for name in state_of(model) if "running" in name or "num_batches" in name}
    assert moved(model, state_of(big), same=close) - statistics == head_names(model) - statistics
    assert repr(model.architecture_.network) == repr(big.network)


def test_only_the_last_layer_moves(big, other):
    before = {name: value.clone() for name, value in state_of(big).items()}
    model = classifier(mode="last-layer", pretrained=FrozenEstimator(big), early_stopping=True)
    model.fit(*other)
    assert moved(model, before) == {n for n in head_names(model) if "num_batches" not in n}
    counted = sum(weight.numel() for weight in head_of(model.net_.module_.network).parameters())
    assert model.n_trained_parameters_ == counted < model.n_parameters_
    assert moved(big, before) == set()


def test_finetuning_moves_everything(big, other):
    model = classifier(mode="finetune", pretrained=big, max_epochs=4).fit(*other)
    weights = {name for name, _ in model.net_.module_.network.named_parameters()}
    assert weights <= moved(model, state_of(big))
    assert model.n_trained_parameters_ == model.n_parameters_


def test_the_head_is_taken_over_with_the_same_labels(big, data):
    model = classifier(mode="last-layer", pretrained=FrozenEstimator(big), **STILL).fit(*data)
    state, before = state_of(model), state_of(big)
    for name in head_names(model):
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(state[name], before[name])


def test_scratch_takes_nothing(big, other):
    plain = classifier(clone(big.network)).fit(*other)
    scratch = classifier(mode="scratch", pretrained=FrozenEstimator(big)).fit(*other)
    assert moved(scratch, state_of(plain)) == set()


def test_kernels_of_frozen_layers_are_not_averaged(data, other):
    network = MTSNet(n_filters=(4, 4), kernel_update="averaged")
    big = classifier(network).fit(*data)
    model = classifier(mode="last-layer", pretrained=FrozenEstimator(big)).fit(*other)
    assert moved(model, state_of(big)) == head_names(model)


def test_what_is_frozen_stays_so_after_saving_and_pickling(big, other, tmp_path):
    model = classifier(
        mode="last-layer", pretrained=FrozenEstimator(big), warm_start=True
    ).fit(*other)  # fmt: skip
    skaudio.save(model, tmp_path / "model.skaudio")
    copies = [skaudio.load(tmp_path / "model.skaudio"), pickle.loads(pickle.dumps(model))]
    for again in copies:
        np.testing.assert_array_equal(again.predict_proba(other[0]), model.predict_proba(other[0]))
        assert again.n_trained_parameters_ == model.n_trained_parameters_
        assert moved(again.fit(*other), state_of(big)) == head_names(model)
        assert moved(again.partial_fit(*other), state_of(big)) == head_names(model)


# ---------------------------------------------------------------------------------- adapters


@pytest.fixture(params=WITH_ADAPTERS, ids=name_of)
def adaptable(request, data):
    return classifier(clone(request.param)).fit(*data)


def test_adapters_leave_the_trunk_alone(adaptable, other):
    model = classifier(mode="adapters", pretrained=FrozenEstimator(adaptable)).fit(*other)
    changed = moved(model, state_of(adaptable))
    assert {name for name in state_of(model) if name.startswith("trunk.")} & changed == set()
    assert all(name.startswith("sets.0.") for name in changed)
    counted = sum(weight.numel() for weight in model.net_.module_.network.sets.parameters())
    assert model.n_trained_parameters_ == counted < model.n_parameters_


def test_norms_start_from_the_only_set_there_is(adaptable, other):
    model = classifier(mode="adapters", pretrained=FrozenEstimator(adaptable), **STILL)
    network = model.fit(*other).net_.module_.network
    before, head = state_of(adaptable), set(head_of(network).modules())
    norms = [
        (name, part) for name, part in network.named_modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part not in head
    ]  # fmt: skip
    assert len(norms) > 0 or "RNN" in type(adaptable.network).__name__
    for name, part in norms:
        torch.testing.assert_close(part.weight.data, before[f"{name}.weight"])


def test_adapters_can_be_adapted_and_finetuned(adaptable, other, data):
    first = classifier(mode="adapters", pretrained=FrozenEstimator(adaptable)).fit(*other)
    for mode in ("adapters", "finetune", "last-layer"):
        second = classifier(mode=mode, pretrained=FrozenEstimator(first)).fit(*data)
        assert state_of(second).keys() == state_of(first).keys()
        assert np.isfinite(second.predict_proba(data[0])).all()


@pytest.mark.parametrize("shared_before", [False, True])
def test_a_shared_pooling_is_part_of_the_trunk(data, other, shared_before):
    network = clone(RESNET).set_params(share_pooling=shared_before)
    before = classifier(network).fit(*data)
    model = classifier(
        clone(network).set_params(share_pooling=True),
        mode="adapters", pretrained=FrozenEstimator(before),
    ).fit(*other)  # fmt: skip
    place = "trunk" if shared_before else "sets.0"
    pooling = {k: v for k, v in state_of(model).items() if k.startswith("trunk.pooling.")}
    assert len(pooling) > 0
    for name, weight in pooling.items():
        assert torch.equal(weight, state_of(before)[name.replace("trunk", place, 1)])


def test_adapters_know_the_number_of_clips(data, other):
    network = clone(RESNET).set_params(adapter_l2="size")
    before = classifier(network).fit(*data)
    assert before.net_.module_.network.n_clips == (48,)
    model = classifier(mode="adapters", pretrained=FrozenEstimator(before)).fit(*other)
    assert model.net_.module_.network.n_clips == (48,)
    kernels = [p for n, p in model.net_.module_.network.sets.named_parameters() if "adapter" in n]
    expected = 5e-3 * sum(weight.detach().square().sum() for weight in kernels)
    assert model.history_["l2_loss"].iloc[-1] == pytest.approx(float(expected), rel=0.1)


class Crash(Callback):
    def on_batch_begin(self, net, training=False, **kwargs):
        if len(net.history) == 3 and training:
            raise RuntimeError("crash")


def test_a_killed_run_with_adapters_ends_with_the_same_bits(resnet, other, tmp_path):
    X, _ = other
    skaudio.save(resnet, tmp_path / "big.skaudio")
    settings = {
        "mode": "adapters", "max_epochs": 6, "early_stopping": True, "validation_fraction": 0.25,
    }  # fmt: skip
    whole = classifier(pretrained=FrozenEstimator(resnet), **settings).fit(*other)
    for pretrained in (FrozenEstimator(resnet), tmp_path / "big.skaudio"):
        folder = tmp_path / "runs"
        model = classifier(pretrained=pretrained, checkpoint_dir=folder, **settings)
        with pytest.raises(RuntimeError, match="crash"):
            model.set_params(callbacks=[Crash()]).fit(*other)
        assert len(list(folder.glob("*/epoch_*.pt"))) == 2
        model.set_params(callbacks=None).fit(*other)
        assert moved(model, state_of(whole)) == set()
        np.testing.assert_array_equal(model.predict_proba(X), whole.predict_proba(X))
        # The file is known by its content: it is the same run as with the estimator.
        assert len(list(folder.iterdir())) == 1


# ------------------------------------------------------------------------------- scikit-learn


def test_a_grid_over_modes_and_networks(resnet, other):
    model = classifier(clone(RESNET), pretrained=FrozenEstimator(resnet), max_epochs=1)
    search = GridSearchCV(
        model,
        [
            {"mode": ["scratch", "finetune", "last-layer", "adapters"]},
            {"network__n_blocks": [1, 2], "mode": ["scratch"]},
        ],
        cv=2,
        error_score="raise",
    ).fit(*other)
    assert len(search.cv_results_["params"]) == 6
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_file_in_cross_validation(resnet, other, tmp_path):
    path = tmp_path / "big.skaudio"
    skaudio.save(resnet, path)
    scores = cross_val_score(classifier(mode="adapters", pretrained=path), *other, cv=2)
    direct = cross_val_score(
        classifier(mode="adapters", pretrained=FrozenEstimator(resnet)), *other, cv=2
    )
    np.testing.assert_array_equal(scores, direct)


def test_a_bare_estimator_is_emptied_by_clone(resnet, other):
    model = classifier(mode="finetune", pretrained=resnet)
    assert model.fit(*other).score(*other) > 0
    with pytest.raises(NotFittedError, match=r"not fitted.*FrozenEstimator\(model\).*clone"):
        clone(model).fit(*other)


def test_a_classifier_teaches_a_regressor_and_the_reverse(resnet, data):
    X, labels = data
    loudness = X.mean(axis=(1, 2))
    numbers = AudioRegressor(
        mode="adapters", pretrained=FrozenEstimator(resnet), max_epochs=2, random_state=0
    ).fit(X, loudness)
    assert moved(numbers, state_of(resnet)).isdisjoint(
        name for name in state_of(resnet) if name.startswith("trunk.")
    )
    back = classifier(mode="last-layer", pretrained=FrozenEstimator(numbers)).fit(X, labels)
    assert back.predict_proba(X).shape == (48, 3)


def test_numbers_are_never_the_same_labels(resnet, data):
    X, _ = data
    first = AudioRegressor(clone(RESNET), max_epochs=1, random_state=0).fit(X, X[:, 0, 0])
    again = AudioRegressor(
        mode="finetune", pretrained=FrozenEstimator(first), random_state=1, **STILL
    ).fit(X, X[:, 0, 0])
    head = next(name for name in head_names(again) if name.endswith("output.weight"))
    assert not torch.allclose(state_of(again)[head], state_of(first)[head])


# ---------------------------------------------------------------------------------- bad input


def test_pretrained_without_a_mode(resnet, other):
    with pytest.raises(ValueError, match="mode is None.*Set mode to one of 'finetune', 'last-"):
        classifier(pretrained=resnet).fit(*other)


@pytest.mark.parametrize("mode", ["finetune", "last-layer", "adapters"])
def test_a_mode_without_pretrained(other, mode):
    with pytest.raises(ValueError, match=f"mode='{mode}'.*pretrained is None.*skaudio.save wrote"):
        classifier(mode=mode).fit(*other)


def test_scratch_without_pretrained(other):
    classifier(MTSNet(n_filters=(2,)), mode="scratch").fit(*other)


def test_scratch_with_a_network_does_not_open_pretrained(other, tmp_path):
    classifier(MTSNet(n_filters=(2,)), mode="scratch", pretrained=tmp_path / "none").fit(*other)


@pytest.mark.parametrize(
    "found", [LogisticRegression(), FrozenEstimator(make_pipeline(LogMelSpectrogram())), 3]
)
def test_a_foreign_object(other, found):
    with pytest.raises(TypeError, match=r"pretrained is a \w+, but expected a model of skaudio"):
        classifier(mode="finetune", pretrained=found).fit(*other)


def test_an_unfitted_estimator(other):
    with pytest.raises(NotFittedError, match="pretrained is a AudioRegressor that is not fitted"):
        classifier(mode="finetune", pretrained=AudioRegressor()).fit(*other)


def test_a_missing_file(other, tmp_path):
    with pytest.raises(FileNotFoundError, match="none.skaudio"):
        classifier(mode="finetune", pretrained=tmp_path / "none.skaudio").fit(*other)


def test_a_pickle_is_refused(resnet, other, tmp_path):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(resnet))
    with pytest.raises(DamagedFileError, match=r"model\.pkl: is no zip file"):
        classifier(mode="finetune", pretrained=tmp_path / "model.pkl").fit(*other)


def test_a_file_of_something_else(other, tmp_path):
    skaudio.save(LogMelSpectrogram(), tmp_path / "features.skaudio")
    with pytest.raises(TypeError, match=r"features\.skaudio' is a LogMelSpectrogram"):
        classifier(mode="finetune", pretrained=str(tmp_path / "features.skaudio")).fit(*other)


def test_adapters_of_a_network_that_has_none(big, other):
    model = classifier(mode="adapters", pretrained=FrozenEstimator(big))
    if big.network.has_adapters:
        model.fit(*other)
        return
    name = type(big.network).__name__
    with pytest.raises(ValueError, match=rf"network is {name}\(.*AdapterResNet.*last-layer"):
        model.fit(*other)


def test_other_bands(resnet, other):
    X, y = other
    with pytest.raises(ValueError, match="other features: n_bands is 5 here, 6 there"):
        classifier(mode="finetune", pretrained=FrozenEstimator(resnet)).fit(X[:, :5], y)


def test_another_front_end():
    X, y = make_tones(12, sample_rate=8000, random_state=0)
    frontend = LogMelSpectrogram(sample_rate=8000, n_fft=256, n_mels=8)
    big = classifier(clone(RESNET), frontend=frontend, max_epochs=1).fit(X, y)
    small = classifier(mode="adapters", pretrained=FrozenEstimator(big), max_epochs=1)
    small.set_params(frontend=clone(frontend).set_params(hop_length=64, fmin=100.0))
    expected = (
        "frontend__hop_length is 64 here, .* there, frontend__fmin is 100.0 here, .* there|"
        "frontend__fmin is 100.0 here, .* there, frontend__hop_length is 64 here, .* there"
    )
    with pytest.raises(ValueError, match=expected):
        small.fit(X, y)
    small.set_params(frontend=clone(frontend)).fit(X, y)


@pytest.mark.parametrize("mode", ["finetune", "last-layer", "adapters"])
def test_another_shape_of_network(resnet, other, mode):
    network = clone(RESNET).set_params(n_filters=3, n_blocks=2, l2=0.0)
    with pytest.raises(
        ValueError,
        match="another network: network__.*n_filters is 3 here, 2 there.*network=None",
    ):
        classifier(network, mode=mode, pretrained=FrozenEstimator(resnet)).fit(*other)


def test_another_kind_of_network(resnet, other):
    model = classifier(MTSNet(), mode="finetune", pretrained=FrozenEstimator(resnet))
    with pytest.raises(ValueError, match=r"network is MTSNet\(\) here, AdapterResNet\(.* there"):
        model.fit(*other)


class Headless(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(6, 3)

    def forward(self, x):
        return self.out(x.mean(dim=(1, 3)))


@pytest.mark.parametrize("mode", ["finetune", "last-layer"])
def test_a_network_that_names_no_head(data, mode):
    X, y = data
    big = classifier(Headless()).fit(X, y)
    model = classifier(mode=mode, pretrained=FrozenEstimator(big))
    with pytest.raises(ValueError, match="Headless has no attribute `head`.*Call its last layer"):
        model.fit(X, np.where(y == "dog", "cow", y) if mode == "finetune" else y)


def test_further_training_in_another_mode(resnet, other):
    model = classifier(mode="last-layer", pretrained=FrozenEstimator(resnet), warm_start=True)
    model.fit(*other)
    with pytest.raises(ValueError, match="mode is 'finetune', but further training goes on"):
        model.set_params(mode="finetune").fit(*other)


class Wrapped(nn.Module):
    """A network whose head has two names."""

    def __init__(self, n_bands, n_outputs, n_frames=None, n_channels=1):
        super().__init__()
        self.body = nn.Module()
        self.body.conv = nn.Linear(n_bands, 8)
        self.body.fc = nn.Linear(8, n_outputs)
        self.head = self.body.fc

    def forward(self, x):
        return self.head(self.body.conv(x.mean(dim=(1, 3))).relu())


def test_a_head_of_two_names_is_new_for_other_labels(data):
    X, y = data
    big = classifier(Wrapped).fit(X, y)
    new = {"dog": "bark", "cat": "meow", "cow": "moo"}
    model = classifier(Wrapped, mode="finetune", pretrained=FrozenEstimator(big), **STILL)
    model.fit(X, np.array([new[label] for label in y]))
    assert not close(state_of(model)["head.weight"], state_of(big)["head.weight"])
    assert close(state_of(model)["body.conv.weight"], state_of(big)["body.conv.weight"])


def test_a_network_of_more_layers_is_not_cut_short(data, other):
    big = classifier(AdapterRNN(n_hidden=4, n_layers=3, down_pool=2)).fit(*data)
    for mode in ("finetune", "adapters"):
        model = classifier(
            AdapterRNN(n_hidden=4, n_layers=2, down_pool=2),
            mode=mode, pretrained=FrozenEstimator(big),
        )  # fmt: skip
        with pytest.raises(ValueError, match="network__n_layers is 2 here, 3 there"):
            model.fit(*other)


def test_weights_of_vgg16_need_no_file_a_second_time(data, other, tmp_path):
    module = VGG16Net(width=0.02).build(6, 3)
    places = iter([0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28])
    weights = {
        f"features.{place}.{name}": part
        for place, conv in zip(places, module.trunk.body.convs, strict=True)
        for name, part in conv.state_dict().items()
    }
    torch.save(weights, tmp_path / "vgg16.pt")
    big = classifier(VGG16Net(width=0.02, weights=str(tmp_path / "vgg16.pt"))).fit(*data)
    assert big.n_trained_parameters_ < big.n_parameters_
    (tmp_path / "vgg16.pt").unlink()
    model = classifier(mode="finetune", pretrained=FrozenEstimator(big)).fit(*other)
    assert model.n_trained_parameters_ == model.n_parameters_


def test_runs_of_other_labels_are_other_runs(data, tmp_path):
    X, y = data
    for labels in (y, np.where(y == "dog", "zebra", y)):
        with pytest.raises(RuntimeError, match="crash"):
            classifier(
                MTSNet(n_filters=(2,)), max_epochs=6, checkpoint_dir=tmp_path, callbacks=[Crash()]
            ).fit(X, labels)
    assert len(list(tmp_path.iterdir())) == 2


# -------------------------------------------------------------------- EmoNet's learning rates


def test_the_rate_decays_within_each_stage(data):
    X, y = data
    model = classifier(
        SeparableNet(n_filters=(4,)), optimizer="sgd", lr=0.1, lr_schedule="staged", lr_decay=0.5,
        patience=2, max_epochs=100, early_stopping=True, validation_fraction=0.3,
    ).fit(X, y)  # fmt: skip
    n_steps = -(-model.n_clips_ // 16)
    for epoch, rate in enumerate(model.history_["lr"]):
        stage, begin = count_plateaus(model.history_["valid_score"][:epoch], 2, 0.005)
        steps = (epoch - begin + 1) * n_steps - 1
        assert rate == pytest.approx(0.1 * 0.1**stage / (1 + 0.5 * steps))
    assert stage == 2


def test_decay_by_size_is_that_of_the_number_of_clips(data):
    X, y = data
    settings = {"lr_schedule": None, "max_epochs": 3}
    by_size = classifier(MTSNet(n_filters=(2,)), lr_decay="size", **settings).fit(X, y)
    by_number = classifier(MTSNet(n_filters=(2,)), lr_decay=5e-3, **settings).fit(X, y)
    np.testing.assert_array_equal(by_size.history_["lr"], by_number.history_["lr"])
    steps = 3 * np.arange(1, 4) - 1
    np.testing.assert_allclose(by_size.history_["lr"], 1e-2 / (1 + 5e-3 * steps))


def test_each_stage_has_a_fresh_optimizer(data):
    seen = []

    class Watch(Callback):
        def on_epoch_begin(self, net, **kwargs):
            seen.append(len(net.optimizer_.state) > 0)

    classifier(
        MTSNet(n_filters=(2,)), optimizer="sgd", lr_schedule="staged", patience=1, max_epochs=50,
        early_stopping=True, validation_fraction=0.3, callbacks=[Watch()],
    ).fit(*data)  # fmt: skip
    assert seen.count(False) == 3  # each stage begins without momenta
