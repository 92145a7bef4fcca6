import math

import pytest
import torch

from skaudio.augmentation import SpeedChange


def play(x, factors, seed=0, lengths=None, probability=1.0):
    generator = torch.Generator().manual_seed(seed)
    speed = SpeedChange(factors, probability=probability)
    return speed.apply(x, generator, domain="waveform", lengths=lengths)


def tone(frequency, n_samples, phase=0.3, dtype=torch.float32):
    """Make a tone of `frequency` cycles a sample."""
    time = torch.arange(n_samples, dtype=torch.float64)
    return torch.sin(2 * math.pi * frequency * time + phase).to(dtype)[None]


def test_speed_one_is_identity():
    x = torch.randn(3, 100, generator=torch.Generator().manual_seed(1))
    changed, lengths = play(x, (1, 1))
    assert torch.equal(changed, x)
    assert lengths.tolist() == [100] * 3


@pytest.mark.parametrize("factor", [0.5, 0.8, 0.97, 1.1, 1.37, 2.0])
@pytest.mark.parametrize("frequency", [0.02, 0.2])
def test_a_tone_changes_its_pitch_and_length(factor, frequency):
    x = tone(frequency, 8000)
    changed, lengths = play(x, (factor, factor))
    n = round(8000 / factor)
    assert changed.shape == (1, n)
    assert lengths.tolist() == [n]
    # Away from the ends, where the tone sets in and breaks off. The speed is that of the ratio of
    # two whole sizes: over 8000 samples, its error of 1e-4 at most adds up to a shift.
    inner = slice(n // 20, n // 10)
    expected = tone(frequency * factor, n)
    torch.testing.assert_close(changed[:, inner], expected[:, inner], atol=0.05, rtol=0)
    power = changed[:, n // 10 : -n // 10].square().mean()
    assert power == pytest.approx(0.5, abs=0.005)


@pytest.mark.parametrize("factor", [1.25, 1.8])
def test_nothing_is_aliased(factor):
    # Faster, these tones would be above half the sample rate, and come back mirrored.
    changed, _ = play(tone(0.45, 8000), (factor, factor))
    assert changed[:, 200:-200].square().mean() < 1e-4


def test_slower_sounds_have_nothing_at_high_frequencies():
    noise = torch.randn(1, 8000, generator=torch.Generator().manual_seed(1))
    changed, _ = play(noise, (0.5, 0.5))
    power = torch.fft.rfft(changed)[0].abs().square()
    half = len(power) // 2
    assert power[int(1.05 * half) :].sum() < 1e-3 * power[:half].sum()


def test_there_and_back():
    x = tone(0.05, 4000) * torch.hann_window(4000)
    there, _ = play(x, (0.8, 0.8))
    back, lengths = play(there, (1.25, 1.25))
    assert lengths.tolist() == [4000]
    torch.testing.assert_close(back, x, atol=5e-3, rtol=0)


def test_an_impulse_stays_in_its_place():
    x = torch.zeros(1, 4000)
    x[0, 1000] = 1
    for factor in (0.8, 1.25):
        changed, _ = play(x, (factor, factor))
        assert abs(changed[0].argmax() - 1000 / factor) <= 1


def test_long_clips_keep_their_precision():
    x = tone(0.05, 2**20, dtype=torch.float64)
    changed, lengths = play(x, (0.99, 0.99))
    assert lengths.tolist() == [round(2**20 / 0.99)]
    spectrum = torch.fft.rfft(changed[0]).abs()
    assert spectrum.argmax() / len(changed[0]) == pytest.approx(0.05 * 0.99, rel=1e-5)


def test_each_clip_has_its_length():
    lengths = torch.tensor([1000, 410, 0, 1])
    x = torch.ones(4, 1200)
    changed, ends = play(x, (1.25, 1.25), lengths=lengths)
    assert ends.tolist() == [800, 328, 0, 1]
    assert changed.shape == (4, 800)
    assert (changed * (torch.arange(800) >= ends[:, None]) == 0).all()
    assert (changed[0, 20:-20] - 1).abs().max() < 0.05


def test_untouched_clips_keep_their_length():
    x = torch.ones(50, 300)
    changed, ends = play(x, (0.5, 0.5), probability=0.5)
    slow = ends == 600
    assert 10 < slow.sum() < 40
    assert (ends[~slow] == 300).all()
    assert torch.equal(changed[~slow, :300], x[~slow])
    assert (changed[~slow, 300:] == 0).all()
    assert changed.shape == (50, 600)


@pytest.mark.parametrize("factor", [1e-2, 50.0])
def test_extreme_speeds(factor):
    changed, lengths = play(tone(0.001, 3000), (factor, factor))
    assert lengths.tolist() == [round(3000 / factor)]
    assert changed.isfinite().all()


def test_factors_cover_their_range_evenly_in_octaves():
    _, lengths = play(torch.zeros(2000, 400), (0.5, 2.0))
    octaves = (400 / lengths).log2()
    assert octaves.min() > -1.01
    assert octaves.max() < 1.01
    assert (torch.histc(octaves, bins=4, min=-1, max=1) > 400).all()
