import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from skaudio.layers import DepthwiseConv2d, project_norms
from skaudio.networks import MTSNet, SeparableNet


def n_parameters(module):
    return sum(weight.numel() for weight in module.parameters())


def evaluated(module):
    """Let the batch norms see a batch, then switch to evaluation."""
    shape = (4, module.input_norm.norm.num_features, 13)
    module(torch.randn(shape)[:, None] * 10 - 40)
    return module.eval()


def test_stores_its_parameters_and_builds_fresh_modules():
    network = SeparableNet(n_filters=[4, 8], kernel_size=(3, 5), dropout=0.1)
    twin = clone(network)
    assert twin.get_params() == network.get_params()
    assert repr(SeparableNet()) == "SeparableNet()"
    first, second = twin.build(10, 3), twin.build(10, 3)
    assert not torch.equal(first.head.weight, second.head.weight)
    pickle.loads(pickle.dumps(first)).load_state_dict(second.state_dict())


@pytest.mark.parametrize("n_bands", [1, 2, 5, 40])
@pytest.mark.parametrize("n_frames", [1, 2, 7, 50])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_any_size_goes_through_and_learns(n_bands, n_frames, n_channels):
    network = SeparableNet(n_filters=(4, 8, 8))
    module = network.build(n_bands, 3, n_frames=n_frames, n_channels=n_channels)
    logits = module(20 * torch.randn(2, n_channels, n_bands, n_frames) - 40)
    assert logits.shape == (2, 3)
    logits.square().sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in module.parameters())


@pytest.mark.parametrize("n_bands", [1, 3, 40])
def test_padded_clips_answer_as_if_alone(n_bands):
    module = evaluated(SeparableNet().build(n_bands, 4))
    lengths = torch.tensor([1, 2, 3, 8, 29, 30])
    x = 20 * torch.randn(6, 1, n_bands, 30) - 40
    together = module(x, lengths)
    for i, n in enumerate(lengths):
        alone = module(x[i : i + 1, ..., :n])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-5)


def test_padding_teaches_nothing():
    lengths = torch.tensor([5, 12, 9])
    x = torch.randn(3, 1, 10, 12)
    modules = [SeparableNet(head_dropout=0.0).build(10, 4) for _ in range(2)]
    modules[1].load_state_dict(modules[0].state_dict())
    longer = torch.cat([x, 100 * torch.randn(3, 1, 10, 8)], dim=-1)
    logits = [module(given, lengths) for module, given in zip(modules, (x, longer), strict=True)]
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-5)
    for first, second in zip(modules[0].buffers(), modules[1].buffers(), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_bounds_stand_where_eegnet_has_them():
    module = SeparableNet().build(40, 10)
    depthwise = [layer for layer in module.modules() if isinstance(layer, DepthwiseConv2d)]
    assert [layer.constraint.max_norm for layer in depthwise] == [1.0] * 5
    assert module.head.constraint.max_norm == 0.25
    optimizer = torch.optim.SGD(module.parameters(), lr=100.0)
    module(torch.randn(4, 1, 40, 30)).square().sum().backward()
    optimizer.step()
    project_norms(module)
    for layer in depthwise:
        assert (layer.weight.flatten(1).norm(dim=1) <= 1 + 1e-5).all()
    assert (module.head.weight.norm(dim=1) <= 0.25 * (1 + 1e-5)).all()


def test_bounds_can_be_left_out():
    module = SeparableNet(depth_max_norm=None, dense_max_norm=None).build(40, 10)
    with torch.no_grad():
        module.head.weight.mul_(100)
    before = module.head.weight.detach().clone()
    project_norms(module)
    assert torch.equal(module.head.weight, before)


@pytest.mark.parametrize(("n_bands", "deaf"), [(20, True), (1, False)])
def test_a_gain_does_not_matter_but_to_a_single_band(n_bands, deaf):
    torch.manual_seed(0)
    module = evaluated(SeparableNet(n_filters=(4, 8), level_norm=True).build(n_bands, 4))
    x = 10 * torch.randn(5, 1, n_bands, 17) - 40
    assert torch.allclose(module(x - 15.0), module(x), atol=1e-4) == deaf
    hearing = evaluated(SeparableNet(n_filters=(4, 8)).build(n_bands, 4))
    assert not torch.allclose(hearing(x - 15.0), hearing(x), atol=1e-4)


@pytest.mark.parametrize("n_filters", [SeparableNet().n_filters, (48, 96, 192)])
@pytest.mark.parametrize("block", ["residual", "plain"])
def test_at_least_six_times_fewer_parameters_than_full_convolutions(n_filters, block):
    small = SeparableNet(n_filters=n_filters, block=block).build(64, 10)
    plain = MTSNet(
        n_filters=n_filters, kernel_size=(3, 3), tempo_factors=(), block=block,
        n_frame_features=None,
    ).build(64, 10)  # fmt: skip
    assert n_parameters(plain) >= 6 * n_parameters(small)


def test_learns_to_tell_tones_apart():
    torch.manual_seed(0)
    bands = np.random.default_rng(0).integers(0, 3, 48)
    x = torch.full((48, 1, 12, 10), -60.0) + torch.randn(48, 1, 12, 10)
    x[np.arange(48), 0, 4 * bands + 1] += 40
    target = torch.from_numpy(bands)
    module = SeparableNet(n_filters=(8, 16), level_norm=True).build(12, 3)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x[:32]), target[:32]).backward()
        optimizer.step()
        project_norms(module)
    assert (module.eval()(x[32:]).argmax(1) == target[32:]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_filters": ()}, r"n_filters: got \(\), but expected one or more integers"),
        ({"n_filters": (8, 0)}, r"n_filters: got \(8, 0\), but expected one or more integers"),
        ({"n_filters": 8}, "The 'n_filters' parameter of SeparableNet must be"),
        ({"kernel_size": (3,)}, r"kernel_size: got \(3,\), but expected two integers"),
        ({"kernel_size": (3, 2.5)}, r"kernel_size: got \(3, 2\.5\), but expected two integers"),
        ({"dropout": 1.0}, "The 'dropout' parameter of SeparableNet must be"),
        ({"head_dropout": -0.1}, "The 'head_dropout' parameter of SeparableNet must be"),
        ({"depth_max_norm": 0}, "The 'depth_max_norm' parameter of SeparableNet must be"),
        ({"dense_max_norm": -1.0}, "The 'dense_max_norm' parameter of SeparableNet must be"),
    ],
)
def test_bad_hyperparameters_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SeparableNet(**arguments).build(40, 10)
