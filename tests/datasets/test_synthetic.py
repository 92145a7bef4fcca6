import numpy as np
import pytest

from skaudio.datasets import make_chirps, make_tones

MAKERS = [make_tones, make_chirps]


@pytest.mark.parametrize("make", MAKERS)
def test_one_duration_gives_an_array_and_a_range_gives_a_list(make):
    X, y = make(11, duration=0.25, random_state=0)
    assert X.shape == (11, 2000)
    assert X.dtype == np.float32
    assert y.shape == (11,)
    ragged, _ = make(200, duration=(0.1, 0.3), sample_rate=1000 * 8, random_state=0)
    lengths = np.array([len(clip) for clip in ragged])
    assert isinstance(ragged, list)
    assert 800 <= lengths.min() < 900
    assert 2300 < lengths.max() <= 2400


@pytest.mark.parametrize("make", MAKERS)
def test_seeded(make):
    X, y = make(7, random_state=3)
    again, y_again = make(7, random_state=3)
    other, _ = make(7, random_state=4)
    np.testing.assert_array_equal(X, again)
    np.testing.assert_array_equal(y, y_again)
    assert not np.array_equal(X, other)


@pytest.mark.parametrize("make", MAKERS)
def test_the_global_generator_is_left_alone(make):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make(3, random_state=0)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("make", MAKERS)
def test_classes_are_even_and_mixed(make):
    _, y = make(101, random_state=0)
    _, counts = np.unique(y, return_counts=True)
    assert counts.max() - counts.min() <= 1
    assert len(set(y[:20].tolist())) > 1


@pytest.mark.parametrize("make", MAKERS)
def test_samples_stay_in_range_however_loud_the_noise(make):
    X, _ = make(5, noise=3.0, random_state=0)
    assert np.abs(X).max() <= 1


def peak_frequency(clip, sample_rate):
    power = np.abs(np.fft.rfft(clip * np.hanning(len(clip)))) ** 2
    return np.argmax(power) * sample_rate / len(clip)


@pytest.mark.parametrize("sample_rate", [8000, 16000])
def test_a_tone_has_the_frequency_of_its_label(sample_rate):
    X, y = make_tones(12, frequencies=(250, 440.5, 3000), sample_rate=sample_rate, random_state=0)
    assert set(y) == {"250 Hz", "440.5 Hz", "3000 Hz"}
    for clip, label in zip(X, y, strict=True):
        assert peak_frequency(clip, sample_rate) == pytest.approx(float(label.split()[0]), abs=2)


def test_a_chirp_runs_from_its_first_frequency_to_its_last():
    X, y = make_chirps(20, duration=(0.4, 1.2), noise=0.01, random_state=0)
    for clip, label in zip(X, y, strict=True):
        first, last = (float(part) for part in label.removesuffix(" Hz").split("-"))
        part = len(clip) // 8  # the middle of an eighth is a sixteenth of the way
        step = (last - first) / 16
        assert peak_frequency(clip[:part], 8000) == pytest.approx(first + step, abs=100)
        assert peak_frequency(clip[-part:], 8000) == pytest.approx(last - step, abs=100)


def test_noise_is_what_was_asked_for():
    quiet, _ = make_tones(4, noise=0.0, random_state=5)
    noisy, _ = make_tones(4, noise=0.1, random_state=5)
    assert np.abs(quiet).max() <= 0.5
    # Amplitude and phase of the first clip are drawn before its noise.
    assert (noisy[0] - quiet[0]).std() == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize(
    ("make", "kwargs", "message"),
    [
        (make_tones, {"n_clips": 0}, "n_clips is 0, but expected at least 1"),
        (make_tones, {"frequencies": ()}, "There are no classes, but expected at least one"),
        (make_tones, {"frequencies": (4000,)}, "A frequency is 4000 Hz.*half of sample_rate=8000"),
        (make_chirps, {"sweeps": ((0, 100),)}, "A frequency is 0 Hz, but expected one between 0"),
        (make_tones, {"duration": 0}, "duration is from 0.0 to 0.0, but expected seconds over 0"),
        (make_chirps, {"duration": (2, 1)}, "duration is from 2.0 to 1.0.*the shortest first"),
        (make_tones, {"noise": -1}, "noise is -1, but expected 0 or more"),
    ],
)
def test_refusals(make, kwargs, message):
    with pytest.raises(ValueError, match=message):
        make(**kwargs)
