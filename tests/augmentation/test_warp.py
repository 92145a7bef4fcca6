import pytest
import torch

from skaudio.augmentation import VocalTractWarp


def warp(x, factor):
    return VocalTractWarp((factor, factor)).apply(x, torch.Generator(), domain="feature")


def peak(band, n_bands=81):
    x = torch.zeros(1, 1, n_bands, 3)
    x[:, :, band] = 1
    return x


def test_factor_one_is_identity():
    x = torch.randn(2, 3, 40, 10, generator=torch.Generator().manual_seed(1))
    assert torch.equal(warp(x, 1), x)


@pytest.mark.parametrize("factor", [0.8, 0.9, 1.1, 1.25])
@pytest.mark.parametrize("band", [10, 20, 40])
def test_bands_move_by_the_factor(factor, band):
    warped = warp(peak(band), factor)[0, 0, :, 0]
    assert abs(warped.argmax() - factor * band) <= 1
    centre = (warped * torch.arange(81)).sum() / warped.sum()
    assert centre == pytest.approx(factor * band, abs=0.5)


@pytest.mark.parametrize("factor", [0.7, 0.9, 1.1, 1.5])
def test_the_order_of_bands_and_both_ends_stay(factor):
    bands = torch.arange(81.0).view(1, 1, 81, 1).expand(1, 2, 81, 4)
    warped = warp(bands, factor)
    assert (warped.diff(dim=2) > 0).all()
    assert (warped[:, :, 0] == 0).all()
    assert (warped[:, :, -1] == 80).all()


def test_frames_and_channels_are_warped_alike():
    x = torch.randn(1, 2, 30, 5, generator=torch.Generator().manual_seed(1))
    warped = warp(x, 1.2)
    for channel in range(2):
        for frame in range(5):
            part = x[:, channel : channel + 1, :, frame : frame + 1]
            found = warped[:, channel : channel + 1, :, frame : frame + 1]
            assert torch.equal(found, warp(part, 1.2))


def test_a_constant_stays_constant():
    x = torch.full((1, 1, 20, 4), -30.0)
    assert torch.equal(warp(x, 1.3), x)


@pytest.mark.parametrize("n_bands", [1, 2, 3])
def test_few_bands(n_bands):
    x = torch.randn(4, 1, n_bands, 6, generator=torch.Generator().manual_seed(1))
    assert warp(x, 1.3).isfinite().all()
    assert torch.equal(warp(x, 1.3)[:, :, 0], x[:, :, 0])
