from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from torch import nn

from skaudio.layers.resolution.baselines import (
    AvgMaxPool,
    AvgPool,
    ChangeHopSize,
    ConvAvgPool,
    MaxPool,
)
from skaudio.layers.resolution.diffres import DiffRes

GOLDEN = np.load(Path(__file__).parents[2] / "data" / "diffres.npz")
ALL = [AvgPool, MaxPool, AvgMaxPool, ConvAvgPool, ChangeHopSize]


@pytest.mark.parametrize("kind", [AvgPool, AvgMaxPool, ChangeHopSize])
def test_golden(kind):
    model = kind(in_t_dim=97, in_f_dim=128, dimension_reduction_rate=0.6)
    got = model(torch.from_numpy(GOLDEN["baseline/x"]))["feature"]
    expected = torch.from_numpy(GOLDEN[f"baseline_{kind.__name__}/feature"])
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_average_plus_maximum_is_what_it_says():
    x = torch.randn(2, 31, 6)
    mean, largest, both = (
        kind(31, 6, 0.5)(x)["feature"] for kind in (AvgPool, MaxPool, AvgMaxPool)
    )
    assert torch.equal(mean + largest, both)
    assert (largest > mean).any()
    assert (largest >= mean).all()


def test_average_behind_convolutions():
    torch.manual_seed(0)
    model = ConvAvgPool(30, 6, 0.5).eval()
    x = torch.randn(2, 30, 6)
    h = x.transpose(1, 2)
    for block in model.conv.blks:
        a = block.batch_norm1(block.cnn1(h.unsqueeze(2)).relu())
        h = (block.batch_norm2(block.cnn2(a).relu()) + a).squeeze(2)
    expected = nn.functional.adaptive_avg_pool1d(h + x.transpose(1, 2), 15)
    torch.testing.assert_close(model(x)["feature"][:, 0].transpose(1, 2), expected)
    assert len(model.conv.blks) == 3


@pytest.mark.parametrize("n_frames", [1, 2, 9, 100])
def test_a_longer_hop_keeps_whole_frames(n_frames):
    x = torch.arange(float(n_frames))[None, :, None]
    rate = 0.0 if n_frames == 1 else 0.5
    got = ChangeHopSize(n_frames, 1, rate)(x)["feature"].flatten()
    kept = max(1, n_frames // 2)
    np.testing.assert_array_equal(got, np.floor(np.linspace(0, n_frames - 1, kept)))


@pytest.mark.parametrize("kind", ALL)
def test_same_keys_and_sizes_as_diffres(kind):
    x = torch.randn(2, 50, 8)
    ours, theirs = kind(50, 8, 0.75)(x), DiffRes(50, 8, 0.75)(x)
    assert set(ours) == set(theirs)
    assert ours["feature"].shape == (2, 1, 12, 8)
    assert torch.equal(ours["lengths"], theirs["lengths"])
    assert ours["guide_loss"] == ours["activeness"] == 0


@pytest.mark.parametrize("kind", ALL)
def test_clips_of_unequal_length_stand_for_themselves(kind):
    torch.manual_seed(0)
    model = kind(40, 5, 0.5).eval()
    x, lengths = torch.randn(3, 40, 5), torch.tensor([11, 40, 2])
    spoilt = x.clone()
    for clip, length in enumerate(lengths):
        spoilt[clip, length:] = float("nan")
    ret = model(spoilt, lengths)
    for clip, length in enumerate(lengths):
        kept = int(ret["lengths"][clip])
        alone = model(x[clip : clip + 1, :length])["feature"][0, 0]
        torch.testing.assert_close(ret["feature"][clip, 0, :kept], alone)


@pytest.mark.parametrize("kind", ALL)
def test_pictures(kind, tmp_path):
    model = kind(30, 6, 0.5)
    model.visualize(model(torch.randn(1, 30, 6)), savepath=tmp_path)
    picture = imread(tmp_path / "0.png")[..., :3]
    assert (picture.min(axis=2) < 0.9).mean() > 0.3  # covered by spectrograms, not by axes alone


@pytest.mark.parametrize("kind", ALL)
def test_a_rate_that_leaves_no_frame_is_refused(kind):
    with pytest.raises(ValueError, match="Of 3 frames, none"):
        kind(3, 6, 0.75)
