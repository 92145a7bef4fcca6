import pytest
import torch

from skaudio.layers import LevelNorm


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
