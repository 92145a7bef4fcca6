import librosa
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skaudio.features import Spectrogram


def noise(n_clips=3, n_samples=16000):
    rng = np.random.default_rng(0)
    return (0.1 * rng.standard_normal((n_clips, n_samples))).astype(np.float32)


def test_energy_is_kept():
    # Parseval: the bins' energy, mirrored ones included, is that of the windowed samples.
    clip = noise(1, 512)
    power = Spectrogram(window="boxcar", center=False, power=2.0).fit_transform(clip)[0, :, 0]
    mirrored = power[0] + 2 * power[1:-1].sum() + power[-1]
    assert_allclose(mirrored / 512, np.square(clip).sum(), rtol=1e-6)


@pytest.mark.parametrize("bin_", [3, 64, 200])
def test_a_tone_lights_its_own_bin(bin_):
    clip = np.sin(2 * np.pi * bin_ / 512 * np.arange(4000))
    magnitude = Spectrogram(center=False).fit_transform([clip])[0]
    assert_array_equal(magnitude.argmax(axis=0), bin_)


@pytest.mark.parametrize("power", [0.5, 2 / 3, 1.0, 2.0, 3.0])
def test_twice_the_amplitude_is_scaled_by_the_power(power):
    transformer = Spectrogram(power=power)
    assert_allclose(
        transformer.fit_transform(2 * noise()), 2**power * transformer.fit_transform(noise()),
        rtol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_fft": 1024, "hop_length": 512},
        {"n_fft": 513, "hop_length": 100},
        {"n_fft": 512, "win_length": 400},
        {"center": False, "window": "blackman"},
        {"pad_mode": "reflect"},
    ],
    ids=str,
)
@pytest.mark.parametrize("power", [2 / 3, 1.0, 2.0])
def test_numbers_are_those_of_librosa(settings, power):
    expected = np.abs(librosa.stft(noise(), **{"n_fft": 512, **settings})) ** power
    magnitude = Spectrogram(power=power, **settings).fit_transform(noise())
    assert magnitude.dtype == np.float32
    assert_allclose(magnitude, expected, rtol=1e-5, atol=1e-5 * expected.max())


def test_silence_is_zero():
    assert_array_equal(Spectrogram(power=2 / 3).fit_transform(np.zeros((1, 1000))), 0)


def test_list_in_list_out():
    features = Spectrogram(n_jobs=2).fit_transform([noise(1, n)[0] for n in (1, 700)])
    assert [f.shape for f in features] == [(257, 1), (257, 6)]


def test_names_are_those_of_bins():
    names = Spectrogram(n_fft=6).fit(noise()).get_feature_names_out()
    assert names.tolist() == ["bin_0", "bin_1", "bin_2", "bin_3"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"power": 0}, "'power' parameter"),
        ({"n_fft": 1}, "'n_fft' parameter"),
        ({"win_length": 600, "n_fft": 512}, "win_length=600 is longer than n_fft=512"),
    ],
)
def test_wrong_parameters(settings, message):
    with pytest.raises(ValueError, match=message):
        Spectrogram(**settings).fit(noise())
