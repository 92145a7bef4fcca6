import numpy as np
import pytest

from skaudio.audio import resample


def tone(frequency, sample_rate, seconds=1.0):
    return np.sin(2 * np.pi * frequency * np.arange(int(seconds * sample_rate)) / sample_rate)


@pytest.mark.parametrize(("from_rate", "to_rate"), [(44100, 16000), (16000, 8000), (8000, 22050)])
def test_a_tone_stays_the_same_tone(from_rate, to_rate):
    converted = resample(tone(1000, from_rate).astype(np.float32), from_rate, to_rate)
    expected = tone(1000, to_rate)
    assert converted.dtype == np.float32
    assert converted.shape == expected.shape
    inside = slice(to_rate // 20, -to_rate // 20)  # the filter rings at the ends
    np.testing.assert_allclose(converted[inside], expected[inside], atol=1e-3)


def test_what_the_new_rate_cannot_hold_is_gone():
    converted = resample(tone(5000, 16000).astype(np.float32), 16000, 8000)
    assert np.abs(converted[400:-400]).max() < 1e-4


def test_equal_rates_change_nothing():
    waveform = np.ones(10, dtype=np.float32)
    assert resample(waveform, 16000, 16000) is waveform


@pytest.mark.parametrize("n_samples", [44100, 44117, 22051, 999])
def test_length_is_the_nearest(n_samples):
    converted = resample(np.zeros(n_samples, dtype=np.float32), 44100, 16000)
    assert abs(len(converted) - n_samples * 16000 / 44100) <= 0.5
