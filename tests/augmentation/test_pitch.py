import math

import pytest
import torch

from skaudio.augmentation import PitchShift

RATE = 8000


def shift(x, semitones, lengths=None):
    pitch = PitchShift((semitones, semitones))
    return pitch.apply(x, torch.Generator(), domain="waveform", sample_rate=RATE, lengths=lengths)


def tone(frequency, n_samples=RATE):
    return torch.sin(2 * math.pi * frequency * torch.arange(n_samples) / RATE)[None]


@pytest.mark.parametrize("semitones", [-12, -3.5, -1, 1, 2, 7, 12])
@pytest.mark.parametrize("frequency", [150, 437, 1200])
def test_a_tone_moves_and_keeps_length_and_level(semitones, frequency):
    x = tone(frequency)
    shifted = shift(x, semitones)
    assert shifted.shape == x.shape
    inner = shifted[:, 1000:-1000]
    spectrum = torch.fft.rfft(inner * torch.hann_window(inner.shape[1]), 2**17).abs()[0]
    found = spectrum.argmax().item() * RATE / 2**17
    assert found == pytest.approx(frequency * 2 ** (semitones / 12), rel=2e-3)
    assert inner.square().mean() == pytest.approx(0.5, rel=0.15)


def test_no_semitones_are_identity():
    x = torch.randn(2, 500, generator=torch.Generator().manual_seed(1))
    assert torch.equal(shift(x, 0), x)


@pytest.mark.parametrize("semitones", [-4, 4])
def test_events_stay_in_their_place(semitones):
    burst = torch.zeros(1, RATE)
    burst[:, 5000:5600] = tone(600, 600)
    energy = shift(burst, semitones)[0].square()
    centre = (energy * torch.arange(RATE)).sum() / energy.sum()
    assert abs(centre - 5300) < 100


@pytest.mark.parametrize("semitones", [-4, 4])
def test_nothing_is_aliased(semitones):
    shifted = shift(tone(3700), semitones)[:, 1000:-1000]
    expected = 0.5 if semitones < 0 else 0.0  # 3700 Hz go down to 2937, or up over 4000
    assert shifted.square().mean() == pytest.approx(expected, abs=0.08)


@pytest.mark.parametrize("n_samples", [1, 2])
@pytest.mark.parametrize("semitones", [-24, 24])
def test_the_shortest_clips(n_samples, semitones):
    shifted = shift(torch.ones(1, n_samples), semitones)
    assert shifted.shape == (1, n_samples)
    assert shifted.isfinite().all()
