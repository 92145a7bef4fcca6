import math

import pytest
import torch

from skaudio.augmentation import RandomFilter

RATE = 16000


def apply(x, seed=0, **params):
    generator = torch.Generator().manual_seed(seed)
    return RandomFilter(**params).apply(x, generator, domain="waveform", sample_rate=RATE)


def responses(n_clips=50, **params):
    """Measure frequency responses in dB, (clip, frequency)."""
    impulse = torch.zeros(n_clips, RATE)
    impulse[:, RATE // 2] = 1
    return 20 * torch.fft.rfft(apply(impulse, **params)).abs().clamp(min=1e-9).log10()


@pytest.mark.parametrize("max_gain_db", [3.0, 12.0])
def test_gains_stay_within_bounds_and_use_them(max_gain_db):
    found = responses(max_gain_db=max_gain_db)
    assert found.abs().max() < 1.05 * max_gain_db
    assert found.max() > 0.8 * max_gain_db
    assert found.min() < -0.8 * max_gain_db
    assert found.mean(0).abs().max() < 0.35 * max_gain_db


@pytest.mark.parametrize("n_points", [2, 6, 10])
def test_the_response_is_smooth(n_points):
    max_gain_db = 6.0
    found = responses(n_points=n_points, max_gain_db=max_gain_db)
    # Half a cosine from one bound to the other has the slope pi / 2 times that of a line.
    octaves_between = math.log2(RATE / 2 / 60) / (n_points - 1)
    steepest = math.pi / 2 * 2 * max_gain_db / octaves_between  # dB per octave
    bins = torch.arange(found.shape[1])
    high = bins[:-1] >= 200
    per_octave = found.diff(dim=1).abs()[:, high] / (bins[1:] / bins[:-1]).log2()[high]
    assert per_octave.max() < 1.1 * steepest


def test_nothing_is_delayed():
    impulse = torch.zeros(20, 4000)
    impulse[:, 2000] = 1
    found = apply(impulse)
    torch.testing.assert_close(found[:, 1001:], found[:, 1:3000].flip(1), atol=1e-5, rtol=0)
    assert (found.argmax(1) == 2000).all()


def test_a_tone_stays_a_tone():
    x = torch.sin(2 * math.pi * 1000 * torch.arange(RATE) / RATE)[None]
    found = apply(x, max_gain_db=12.0)[:, 1000:-1000]
    inner = x[:, 1000:-1000]
    scale = (found * inner).sum() / inner.square().sum()
    assert (found - scale * inner).square().mean() < 1e-3 * found.square().mean()


def test_low_sample_rates():
    x = torch.randn(2, 50, generator=torch.Generator().manual_seed(1))
    for rate in (50, 100, 120, 150):
        found = RandomFilter().apply(x, torch.Generator(), domain="waveform", sample_rate=rate)
        assert found.isfinite().all()
