import pytest
import torch
from torch import nn

from skaudio.layers import BandNorm, LevelNorm, MaskedBatchNorm2d, frame_mask


@pytest.mark.parametrize("gain", [-30.0, 0.0, 12.0])
def test_a_gain_does_not_matter(gain):
    x = torch.randn(3, 2, 5, 7)
    y = LevelNorm()(x + gain)
    torch.testing.assert_close(y, LevelNorm()(x), rtol=0, atol=1e-4)
    torch.testing.assert_close(y.mean((2, 3)), torch.zeros(3, 2), rtol=0, atol=1e-5)


def test_channels_have_means_of_their_own():
    x = torch.randn(3, 2, 5, 7)
    louder = x + torch.tensor([-30.0, 0.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(LevelNorm()(louder), LevelNorm()(x), rtol=0, atol=1e-4)


def test_differences_within_a_clip_stay():
    x = torch.randn(2, 1, 5, 7)
    torch.testing.assert_close(LevelNorm()(x).diff(dim=2), x.diff(dim=2))


def test_padding_is_not_counted_even_where_it_is_nan():
    x = torch.randn(2, 1, 5, 7)
    x[1, ..., 4:] = torch.nan
    mask = torch.arange(7) < torch.tensor([[7], [4]])
    y = LevelNorm()(x, mask[:, None, None])
    torch.testing.assert_close(y[1, ..., :4], LevelNorm()(x[1:, ..., :4])[0])
    torch.testing.assert_close(y[0], LevelNorm()(x[:1])[0])


def ragged(n_channels=3, n_bands=5):
    x = 4 * torch.randn(4, n_channels, n_bands, 9) - 30
    return x, frame_mask(torch.tensor([9, 2, 5, 1]), 9)


def real_values(x, mask):
    """Values of the real frames, of shape (n_values, channels)."""
    return x.permute(0, 3, 2, 1)[mask[:, 0, 0]].flatten(0, 1)


def test_statistics_are_those_of_the_real_frames():
    x, mask = ragged()
    norm, plain = MaskedBatchNorm2d(3), nn.BatchNorm1d(3)
    got, expected = norm(x, mask), plain(real_values(x, mask))
    torch.testing.assert_close(real_values(got, mask), expected, rtol=1e-5, atol=1e-5)
    for mine, theirs in zip(norm.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_gradients_are_those_of_the_real_frames():
    x, mask = ragged()
    norm = MaskedBatchNorm2d(3).double()
    x = x.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: norm(x, mask) * mask, (x, *norm.parameters()))


def test_a_mask_of_ones_changes_nothing():
    x, _ = ragged()
    one, other = MaskedBatchNorm2d(3), MaskedBatchNorm2d(3)
    everything = torch.ones(4, 1, 1, 9, dtype=torch.bool)
    torch.testing.assert_close(one(x, everything), other(x), rtol=1e-5, atol=1e-5)
    for mine, theirs in zip(one.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_evaluation_is_plain_batch_norm():
    x, mask = ragged()
    norm, plain = MaskedBatchNorm2d(3), nn.BatchNorm2d(3)
    norm(x, mask)
    plain.load_state_dict(norm.state_dict())
    assert torch.equal(norm.eval()(x), plain.eval()(x))
    assert torch.equal(norm(x, mask), plain(x) * mask)


@pytest.mark.parametrize("training", [False, True])
def test_padding_comes_out_as_zero(training):
    x, mask = ragged()
    norm = MaskedBatchNorm2d(3).train(training)
    nn.init.ones_(norm.bias)
    y = norm(x, mask)
    assert not y.masked_select(~mask).any()
    assert y.masked_select(mask).any()


def test_padding_gets_no_gradient():
    x, mask = ragged()
    x.requires_grad_()
    MaskedBatchNorm2d(3)(x, mask).square().sum().backward()
    assert not x.grad.masked_select(~mask).any()
    assert x.grad.masked_select(mask).any()


def test_constant_decibels_stay_finite_and_small():
    norm = MaskedBatchNorm2d(2)
    _, mask = ragged()
    x = torch.full((4, 2, 5, 9), -83.7)
    assert norm(x, mask).abs().max() < 0.05


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_normalised_in_single(dtype):
    x, mask = ragged()
    x = x.to(dtype)
    y = MaskedBatchNorm2d(3)(x, mask)
    assert y.dtype == dtype
    expected = MaskedBatchNorm2d(3)(x.float(), mask)
    torch.testing.assert_close(y.float(), expected, atol=0.02, rtol=0.01)


def test_second_derivatives_are_refused():
    x, mask = ragged()
    y = MaskedBatchNorm2d(3)(x.requires_grad_(), mask).sum()
    with pytest.raises(NotImplementedError, match="MaskedBatchNorm2d: asked for a second"):
        torch.autograd.grad(y, x, create_graph=True)


@pytest.mark.parametrize("masked", [False, True])
def test_a_single_value_is_normalised_by_running_statistics(masked):
    norm = MaskedBatchNorm2d(3)
    mask = torch.ones(1, 1, 1, 1, dtype=torch.bool) if masked else None
    y = norm(torch.full((1, 3, 1, 1), 2.0), mask)
    torch.testing.assert_close(y, torch.full((1, 3, 1, 1), 2.0))
    assert norm.num_batches_tracked == 0


def test_every_band_has_statistics_of_its_own():
    x, mask = ragged(n_channels=2)
    x = x * torch.arange(1.0, 6.0)[:, None] + torch.arange(2.0)[:, None, None]
    y = BandNorm(5, n_channels=2)(x, mask)
    bands = real_values(y.flatten(1, 2).unsqueeze(2), mask)
    torch.testing.assert_close(bands.mean(0), torch.zeros(10), rtol=0, atol=1e-5)
    torch.testing.assert_close(bands.std(0, correction=0), torch.ones(10), rtol=1e-4, atol=0)
