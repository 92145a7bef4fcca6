import pytest
import torch

from skaudio.augmentation import AdditiveNoise


def add(x, seed=0, lengths=None, **parameters):
    generator = torch.Generator().manual_seed(seed)
    return AdditiveNoise(**parameters).apply(x, generator, domain="waveform", lengths=lengths)


@pytest.fixture
def x():
    level = torch.tensor([[1.0], [1e-3], [30.0]])
    return level * torch.randn(3, 4001, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("color", ["white", "pink", "brown"])
@pytest.mark.parametrize("snr_db", [-10, 0, 25])
def test_ratio_is_what_was_asked(x, color, snr_db):
    noise = add(x, snr_db=(snr_db, snr_db), color=color) - x
    measured = 10 * torch.log10(x.square().mean(1) / noise.square().mean(1))
    torch.testing.assert_close(measured, torch.full((3,), float(snr_db)), rtol=0, atol=1e-2)


def test_ratio_is_that_of_the_real_samples(x):
    lengths = torch.tensor([4001, 1000, 10])
    padded = x * (torch.arange(4001) < lengths[:, None])
    noise = add(padded, snr_db=(10, 10), lengths=lengths) - padded
    for clip, added, n in zip(padded, noise, lengths, strict=True):
        ratio = clip[:n].square().mean() / added[:n].square().mean()
        assert 10 * ratio.log10().item() == pytest.approx(10, abs=1e-2)


def test_ratio_is_uniform_over_its_range():
    x = torch.ones(2000, 20)
    noise = add(x, snr_db=(5, 15)) - x
    snr_db = -10 * noise.square().mean(1).log10()
    assert snr_db.min() > 4.99
    assert snr_db.max() < 15.01
    assert (torch.histc(snr_db, bins=4, min=5, max=15) > 400).all()


@pytest.mark.parametrize("color", ["white", "pink"])
def test_silence_stays_silent(color):
    x = torch.zeros(2, 100)
    assert torch.equal(add(x, color=color), x)


@pytest.mark.parametrize(("color", "slope_db"), [("white", 0), ("pink", -3.01), ("brown", -6.02)])
def test_power_falls_with_frequency(color, slope_db):
    x = torch.ones(64, 2**13)
    noise = add(x, snr_db=(0, 0), color=color) - x
    power = torch.fft.rfft(noise).abs().square().mean(0)
    octaves = torch.stack([power[2**i : 2 ** (i + 1)].mean() for i in range(4, 12)])
    slopes = (10 * octaves.log10()).diff()
    torch.testing.assert_close(slopes, torch.full_like(slopes, slope_db), rtol=0, atol=0.6)
    assert slopes.mean().item() == pytest.approx(slope_db, abs=0.15)


def test_noise_of_two_clips_is_unrelated():
    x = torch.ones(2, 10_000)
    first, second = add(x) - x
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 0.05
