import math

import pytest
import torch

from skaudio.augmentation import SpeedChange


def play(x, factors, seed=0, lengths=None):
    generator = torch.Generator().manual_seed(seed)
    return SpeedChange(factors).apply(x, generator, domain="waveform", lengths=lengths)


def tone(frequency, n_samples, phase=0.3, dtype=torch.float32):
    time = torch.arange(n_samples, dtype=torch.float64)
    return torch.sin(2 * math.pi * frequency * time + phase).to(dtype)[None]


def test_speed_one_is_identity():
    x = torch.randn(3, 100, generator=torch.Generator().manual_seed(1))
    assert torch.equal(play(x, (1, 1)), x)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.1, 1.37, 2.0])
def test_a_tone_changes_its_pitch(factor):
    x = tone(0.02, 1000)
    inner = slice(3, min(1000, math.ceil(999 / factor)) - 3)  # all four neighbours are there
    expected = tone(0.02 * factor, 1000)
    changed = play(x, (factor, factor))
    torch.testing.assert_close(changed[:, inner], expected[:, inner], atol=2e-3, rtol=0)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_interpolation_is_better_than_a_straight_line(factor):
    frequency = 0.1
    time = torch.arange(800) * factor
    left, way = time.floor().long(), time.frac()
    x = tone(frequency, 1000)[0]
    straight = (1 - way) * x[left] + way * x[left + 1]
    expected = tone(frequency * factor, 800)[0]
    cubic = play(x[None], (factor, factor))[0, :800]
    assert (cubic - expected).square().mean() < 0.1 * (straight - expected).square().mean()


def test_polynomials_up_to_degree_two_are_exact():
    time = torch.arange(200, dtype=torch.float64)
    x = torch.stack([1 + 0 * time, 3 * time - 2, 0.1 * time**2])
    faster = play(x, (1.25, 1.25))[:, 1:150]
    time = 1.25 * time[1:150]
    expected = torch.stack([1 + 0 * time, 3 * time - 2, 0.1 * time**2])
    torch.testing.assert_close(faster, expected)


def test_long_clips_keep_their_precision():
    x = tone(0.05, 2**21, dtype=torch.float64)
    late = play(x, (0.99, 0.99))[:, -1000:]
    step = round(0.99 * 2**20) / 2**20
    expected = tone(0.05 * step, 2**21, dtype=torch.float64)[:, -1000:]
    torch.testing.assert_close(late, expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize("factor", [1.25, 2.0])
def test_a_faster_clip_ends_in_silence(factor):
    lengths = torch.tensor([100, 41])
    x = torch.ones(2, 100) * (torch.arange(100) < lengths[:, None])
    faster = play(x, (factor, factor), lengths=lengths)
    ends = [math.floor((n - 1) / factor) + 1 for n in (100, 41)]
    assert torch.equal(faster, (torch.arange(100) < torch.tensor(ends)[:, None]).float())


def test_factors_cover_their_range_evenly_in_octaves():
    ramp = torch.arange(10.0).repeat(2000, 1)
    octaves = (play(ramp, (0.5, 2.0))[:, 4] / 4).log2()
    assert octaves.min() > -1.001
    assert octaves.max() < 1.001
    assert (torch.histc(octaves, bins=4, min=-1, max=1) > 400).all()
