import pickle

import numpy as np
import pytest
import torch
from torch import nn

import skaudio
from skaudio import AudioClassifier
from skaudio.datasets import make_tones
from skaudio.networks import DiffResNet, VGG16Net
from skaudio.networks.building import skip_initial_weights, wants_initial_weights

PLAN = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]
WIDTH = 1 / 64


def torchvision_features(width):
    """The convolutions of torchvision's vgg16, in layers of its numbering."""
    layers, n_in = [], 3
    for step in PLAN:
        if step == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            n_out = max(1, round(step * width))
            layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU()]
            n_in = n_out
    return nn.Sequential(*layers)


@pytest.fixture
def weights(tmp_path):
    """A file with torchvision's names, the top included, of narrow convolutions."""
    torch.manual_seed(0)
    features = torchvision_features(WIDTH)
    state = {f"features.{name}": values for name, values in features.state_dict().items()}
    path = tmp_path / "vgg16.pth"
    torch.save(state | {"classifier.0.weight": torch.zeros(2, 2)}, path)
    return path, features


def frozen(module):
    return [not conv.weight.requires_grad for conv in module.trunk.body.convs]


def test_the_map_is_that_of_torchvision(weights):
    path, features = weights
    module = VGG16Net(WIDTH, path, pooling="average").build(70, 3).double().eval()
    x = torch.randn(2, 1, 70, 101, dtype=torch.float64)
    body = module.trunk.body
    expected = features.double()(body.norm(body.colours(body.input_norm(x)).relu()))
    ours, _ = body(x, None, None)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(module(x), module.head(expected.mean((2, 3))))


def test_parameters_are_those_of_vgg16():
    with torch.device("meta"):
        module = VGG16Net().build(128, 7)
    n_parameters = sum(weight.numel() for weight in module.trunk.body.convs.parameters())
    assert n_parameters == 14_714_688
    assert module.head.hidden.in_features == 512


@pytest.mark.parametrize(
    ("freeze_up_to", "n_frozen"),
    [(None, 13), (0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (17, 12), (18, 13), (19, 13)],
)
def test_layers_are_counted_as_keras_does(weights, freeze_up_to, n_frozen):
    module = VGG16Net(WIDTH, weights[0], freeze_up_to).build(64, 3)
    assert frozen(module) == [True] * n_frozen + [False] * (13 - n_frozen)
    for conv in module.trunk.body.convs:
        assert conv.weight.requires_grad == conv.bias.requires_grad
    assert all(weight.requires_grad for weight in module.trunk.body.colours.parameters())


def test_all_of_it_trains_without_weights():
    assert not any(frozen(VGG16Net(WIDTH).build(64, 3)))
    with pytest.raises(ValueError, match="freeze_up_to: got 5, but without weights"):
        VGG16Net(WIDTH, freeze_up_to=5).build(64, 3)


@pytest.mark.parametrize("shape", [(1, 1), (31, 40), (40, 31), (32, 32)])
def test_small_inputs_are_lengthened_by_zeros(shape):
    module = VGG16Net(WIDTH, input_norm=False).build(shape[0], 3).eval()
    x = torch.randn(2, 1, *shape)
    larger = torch.zeros(2, 1, max(32, shape[0]), max(32, shape[1]))
    larger[:, :, : shape[0], : shape[1]] = x
    torch.testing.assert_close(module(x), module(larger))


def test_what_is_frozen_stays_while_the_rest_learns(weights):
    X, y = make_tones(12, duration=0.05, random_state=0)
    model = AudioClassifier(VGG16Net(WIDTH, weights[0], 8), max_epochs=2, random_state=0)
    model.fit(X[:, :40], y)
    body = model.net_.module_.network.trunk.body
    convs = [layer for layer in weights[1] if isinstance(layer, nn.Conv2d)]
    kept = [
        torch.equal(ours.weight.cpu(), theirs.weight)
        for ours, theirs in zip(body.convs, convs, strict=True)
    ]
    assert kept == frozen(model.net_.module_.network)
    assert sum(kept) == 5


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_file_is_not_needed_once_the_model_is_stored(weights, tmp_path, wrapped):
    path, _ = weights
    X, y = make_tones(12, duration=0.05, random_state=0)
    X = X[:, :40]
    network = VGG16Net(WIDTH, str(path))
    network = DiffResNet(backbone=network) if wrapped else network
    model = AudioClassifier(network, max_epochs=1, random_state=0).fit(X, y)
    expected = model.predict_proba(X)
    skaudio.save(model, tmp_path / "model.skaudio")
    content = pickle.dumps(model)
    path.unlink()
    for stored in (skaudio.load(tmp_path / "model.skaudio"), pickle.loads(content)):
        assert np.array_equal(stored.predict_proba(X), expected)
        network = stored.net_.module_.network
        assert all(frozen(network.backbone if wrapped else network))
    with pytest.raises(FileNotFoundError, match=r"weights: there is no file .*vgg16\.pth"):
        model.fit(X, y)


def test_initial_weights_are_wanted_outside_of_the_context_only():
    assert wants_initial_weights()
    with skip_initial_weights():
        assert not wants_initial_weights()
    assert wants_initial_weights()


class Code:
    """Something that no file of tensors may hold."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"features.0.weight": torch.zeros(1, 3, 3, 3), "other": Code()}, "is no file of tensors"),
        ([torch.zeros(2)], "holds a list, but expected a dictionary of tensors"),
        ({"epoch": 3}, "holds a dict, but expected a dictionary of tensors"),
        ({}, r"has nothing for features\.0\.weight, but expected \(1, 3, 3, 3\)"),
        (
            {"features.0.weight": torch.zeros(64, 3, 3, 3)},
            r"has \(64, 3, 3, 3\) for features\.0\.weight, but expected \(1, 3, 3, 3\).*width=1\.0",
        ),
    ],
)
def test_other_files_are_refused(content, message, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(ValueError, match=message):
        VGG16Net(WIDTH, path).build(64, 3)


def test_a_file_of_anything_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="is no file of tensors"):
        VGG16Net(WIDTH, path).build(64, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "The 'width' parameter of VGG16Net must be"),
        ({"weights": 3}, "The 'weights' parameter of VGG16Net must be"),
        ({"freeze_up_to": 20}, "The 'freeze_up_to' parameter of VGG16Net must be"),
        ({"pooling": "max"}, "The 'pooling' parameter of VGG16Net must be"),
        ({"rnn_dropout": 1.0}, "The 'rnn_dropout' parameter of VGG16Net must be"),
    ],
)
def test_bad_hyperparameters_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        VGG16Net(**arguments).build(40, 10)
