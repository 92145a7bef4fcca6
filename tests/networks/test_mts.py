import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch.nn import functional as F

from skaudio.layers import MultiscaleConv2d
from skaudio.networks import MTSNet

PAPER = {
    "first_stride": None, "block": "plain", "padding": "valid", "n_frame_features": None,
    "pooling": "flatten", "n_hidden": 200, "head_dropout": 0.0,
    "input_norm": False, "batch_norm": False, "kernel_update": "averaged",
}  # fmt: skip


def decibels(*shape, seed=0):
    return 20 * torch.randn(shape, generator=torch.Generator().manual_seed(seed)) - 40


def evaluated(module, n_bands):
    """Let the batch norms see a batch, then switch to evaluation."""
    module(decibels(4, 1, n_bands, 13))
    return module.eval()


def test_stores_its_parameters_and_builds_fresh_modules():
    network = MTSNet(n_filters=[4, 8], tempo_factors=(0.5,), dropout=0.1)
    twin = clone(network)
    assert twin.get_params() == network.get_params()
    assert repr(MTSNet()) == "MTSNet()"
    first, second = twin.build(10, 3), twin.build(10, 3)
    assert not torch.equal(first.head.weight, second.head.weight)
    pickle.loads(pickle.dumps(first)).load_state_dict(second.state_dict())


@pytest.mark.parametrize("n_bands", [1, 2, 5, 40])
@pytest.mark.parametrize("n_frames", [1, 2, 7, 50])
@pytest.mark.parametrize("pooling", ["statistics", "attention", "flatten"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kernel_size": (4, 6), "n_hidden": 5, "first_stride": None},
        {"block": "plain", "first_stride": (2, 3), "n_frame_features": None},
    ],
    ids=str,
)
def test_any_size_goes_through_and_learns(n_bands, n_frames, pooling, options):
    network = MTSNet(n_filters=(4, 8, 8), pooling=pooling, **options)
    module = network.build(n_bands, 3, n_frames=n_frames, n_channels=2)
    logits = module(decibels(2, 2, n_bands, n_frames))
    assert logits.shape == (2, 3)
    logits.square().sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in module.parameters())


@pytest.mark.parametrize("n_bands", [1, 3, 40])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kernel_size": (2, 4), "pool_size": (1, 3), "n_hidden": 7, "block": "plain"},
        {"batch_norm": False, "first_stride": None},
    ],
    ids=str,
)
def test_padded_clips_answer_as_if_alone(n_bands, options):
    module = evaluated(MTSNet(**options).build(n_bands, 4), n_bands)
    lengths = torch.tensor([1, 2, 3, 8, 29, 30])
    x = decibels(6, 1, n_bands, 30)
    together = module(x, lengths)
    for i, n in enumerate(lengths):
        alone = module(x[i : i + 1, ..., :n])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-5)


def test_padding_teaches_nothing():
    lengths = torch.tensor([5, 12, 9])
    x = decibels(3, 1, 10, 12)
    noisy = x.clone()
    for i, n in enumerate(lengths):
        noisy[i, ..., n:] = 99.0
    module = MTSNet(head_dropout=0.0).build(10, 4)
    torch.testing.assert_close(module(x, lengths), module(noisy, lengths))


def test_permuting_clips_permutes_answers():
    module = evaluated(MTSNet().build(20, 4), 20)
    x, order = decibels(5, 1, 20, 17), torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(module(x)[order], module(x[order]))


def test_a_gain_does_not_matter():
    module = evaluated(MTSNet(level_norm=True).build(20, 4), 20)
    x = decibels(5, 1, 20, 17)
    torch.testing.assert_close(module(x - 15.0), module(x), rtol=0, atol=1e-4)
    other = evaluated(MTSNet().build(20, 4), 20)
    assert not torch.allclose(other(x - 15.0), other(x), atol=1e-2)


def test_the_level_of_a_single_band_matters():
    module = evaluated(MTSNet(level_norm=True).build(1, 4), 1)
    x = decibels(5, 1, 1, 17)
    assert not torch.allclose(module(x - 15.0), module(x), atol=1e-2)


def test_tempo_factors_add_branches_but_no_parameters():
    plain, stretched = (MTSNet(tempo_factors=factors).build(20, 4) for factors in ((), (0.5, 2.0)))
    stretched.load_state_dict(plain.state_dict())
    x = decibels(2, 1, 20, 17)
    assert not torch.allclose(plain.eval()(x), stretched.eval()(x))


def test_a_stride_takes_the_place_of_pooling():
    sizes = []
    for stride in (None, (2, 2), (1, 4)):
        module = MTSNet(n_filters=(4, 6, 8), first_stride=stride).build(20, 4)
        x, mask = module.blocks(decibels(2, 1, 20, 40), torch.tensor([40, 20]))
        sizes.append((x.shape[2:], mask.sum((1, 2, 3)).tolist()))
    assert sizes == [((5, 10), [10, 5]), ((5, 10), [10, 5]), ((10, 5), [5, 3])]


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({}, "pooling='flatten', block='plain', first_stride=None"),
        ({"pooling": "flatten", "block": "plain"}, "first_stride=None"),
        ({"pooling": "flatten", "first_stride": None}, "block='plain'"),
    ],
    ids=str,
)
def test_what_needs_padding(options, remedy):
    with pytest.raises(ValueError, match=f"padding: got 'valid', but .* Set {remedy} for clips"):
        MTSNet(padding="valid", **options).build(20, 2, n_frames=40)


def test_chosen_blocks_are_multiscale():
    module = MTSNet((4, 4, 4), multiscale_blocks=(1,), tempo_factors=(0.5,)).build(20, 4)
    factors = [m.scale_factors for m in module.modules() if isinstance(m, MultiscaleConv2d)]
    stretched = ((1.0, 0.5),)
    assert factors == [(), stretched, stretched, (), ()]  # one, and two in each of two blocks


@pytest.mark.parametrize(
    ("options", "n_parameters"),
    [
        # kernels, dense layer on the flattened map of 124 x 51 positions, answer
        ({"n_filters": (1,), "pool_size": (1, 1)}, 51 + (124 * 51 + 1) * 200 + 201 * 7),
        ({"n_filters": (10,), "pool_size": (1, 1)}, 510 + (1240 * 51 + 1) * 200 + 201 * 7),
        (
            {"n_filters": (10, 10), "pool_size": ((2, 2), (1, 1))},
            510 + 5010 + (10 * 58 * 17 + 1) * 200 + 201 * 7,
        ),
    ],
    ids=["A1", "A2", "A3"],
)
def test_the_networks_of_the_paper(options, n_parameters):
    network = MTSNet(kernel_size=(5, 10), **PAPER, **options)
    module = network.build(128, 7, n_frames=60)
    assert sum(weight.numel() for weight in module.parameters()) == n_parameters
    assert module(torch.rand(2, 1, 128, 60)).shape == (2, 7)
    assert module.n_frames == 60


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_filters": ()}, r"n_filters: got \(\), but expected one or more integers >= 1"),
        ({"n_filters": (4, 0)}, r"n_filters: got \(4, 0\), but expected"),
        ({"kernel_size": (3,)}, r"kernel_size: got \(3,\), but expected two integers >= 1"),
        ({"pool_size": ((2, 2), (1, 1))}, "pool_size: got .* each of the 4 blocks"),
        ({"tempo_factors": (0.0,)}, r"tempo_factors: got \(0.0,\), but expected positive"),
        ({"multiscale_blocks": (4,)}, r"multiscale_blocks: got \(4,\), but expected positions"),
        ({"pooling": "flatten"}, "pooling: got 'flatten', which needs clips of one length"),
        ({"first_stride": (2,)}, r"first_stride: got \(2,\), but expected two integers >= 1"),
        ({"dropout": 1.0}, "The 'dropout' parameter of MTSNet must be"),
        ({"kernel_update": "mean"}, "The 'kernel_update' parameter of MTSNet must be"),
    ],
)
def test_bad_hyperparameters(options, message):
    with pytest.raises(ValueError, match=message):
        MTSNet(**options).build(10, 2)


def test_too_few_frames_for_kernels_without_padding():
    with pytest.raises(ValueError, match="8 frames are too few for these kernels"):
        MTSNet(n_filters=(1,), kernel_size=(5, 10), **PAPER).build(64, 7, n_frames=8)


def test_other_lengths_than_the_head_was_built_for():
    module = MTSNet(pooling="flatten").build(10, 2, n_frames=12)
    with pytest.raises(ValueError, match="got clips of 13 frames, but .* built for 12"):
        module(torch.zeros(1, 1, 10, 13))


@pytest.mark.slow
@pytest.mark.parametrize("kernel_update", ["tied", "averaged"])
def test_it_learns_a_chirp_at_tempi_it_has_not_heard(kernel_update):
    """Rising against falling ridges, trained at one speed and tested at others."""

    def ridges(slopes, seed):
        rng = np.random.default_rng(seed)
        x = decibels(len(slopes), 1, 24, 40, seed=seed) / 4
        for clip, slope in zip(x, slopes, strict=True):
            frames = np.arange(40)
            bands = np.clip(12 + slope * (frames - 20) + rng.integers(-3, 4), 0, 23).astype(int)
            clip[0, bands, frames] += 40.0
        return x

    torch.manual_seed(0)
    signs = np.resize([1.0, -1.0], 64)
    module = MTSNet(kernel_update=kernel_update).build(24, 2)
    optimizer = torch.optim.AdamW(module.parameters(), lr=2e-3)
    y = torch.from_numpy(signs < 0).long()
    for step in range(60):
        optimizer.zero_grad()
        F.cross_entropy(module(ridges(0.4 * signs, step)), y).backward()
        optimizer.step()
        for layer in module.modules():
            if isinstance(layer, MultiscaleConv2d):
                layer.update_kernels()
    for speed in (0.3, 0.4, 0.6):
        found = module.eval()(ridges(speed * signs, 1000)).argmax(1)
        assert (found == y).float().mean() > 0.9
