import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import get_window

from skaudio.audio import Waveform
from skaudio.exceptions import SampleRateError
from skaudio.features import LogMelSpectrogram, PitchSalience

RATE = 16000
PITCHES = np.geomspace(60, 600, 60)


def tone(frequency, n_samples=RATE, amplitude=0.3):
    return amplitude * np.sin(2 * np.pi * frequency / RATE * np.arange(n_samples))


def noise(n_samples=RATE, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(n_samples)


def inner(picture):
    """Frames that lie within the clip as a whole."""
    return picture[:, 2:-2]


@pytest.mark.parametrize("frequency", [65, 120.0, 333.3, 590])
def test_a_tone_is_as_salient_as_the_cosine_of_its_phase_at_each_lag(frequency):
    picture = inner(PitchSalience().fit_transform([tone(frequency)])[0])
    expected = np.cos(2 * np.pi * frequency / PITCHES)
    assert_allclose(picture, np.repeat(expected[:, np.newaxis], picture.shape[1], 1), atol=0.05)


@pytest.mark.parametrize("f0", [70, 110, 180, 260, 400])
def test_a_voice_is_most_salient_at_its_pitch(vowel, f0):
    picture = inner(PitchSalience(n_lags=240).fit_transform([vowel(f0)])[0])
    best = np.geomspace(60, 600, 240)[picture.argmax(axis=0)]
    # The pitch itself, or one of its subharmonics, which are as good.
    assert_allclose(f0 / best, np.round(f0 / best), rtol=0.01)
    assert picture.max(axis=0).min() > 0.95


def test_noise_is_hardly_salient():
    assert inner(PitchSalience().fit_transform([noise()])[0]).max() < 0.6


def test_numbers_are_those_of_the_definition():
    # Lags of 160, 80 and 40 samples.
    clip, window = noise(4000).astype(np.float32), get_window("hann", 640)
    picture = PitchSalience(fmin=100, fmax=400, n_lags=3).fit_transform([clip])[0]
    for frame in (3, 10, 20):
        part = clip[160 * frame - 320 : 160 * frame + 320].astype(np.float64)
        part = window * (part - (window * part).sum() / window.sum())
        for row, lag in enumerate((160, 80, 40)):
            correlation = (part[lag:] * part[:-lag]).sum() / np.square(part).sum()
            taper = (window[lag:] * window[:-lag]).sum() / np.square(window).sum()
            assert picture[row, frame] == pytest.approx(correlation / taper, abs=1e-5)


def test_loudness_and_offset_do_not_count():
    pictures = PitchSalience().fit_transform([x * (noise() + tone(200)) for x in (0.1, 1)])
    assert_allclose(pictures[0], pictures[1], atol=1e-5)
    moved = PitchSalience().fit_transform([noise() + tone(200) + 0.5])[0]
    assert_allclose(inner(moved), inner(pictures[1]), atol=1e-4)


def test_silence_has_no_pitch():
    assert_array_equal(PitchSalience().fit_transform(np.zeros((2, 4000))), 0)


@pytest.mark.parametrize("n_samples", [1, 100, 639, 640, 641, 4000])
def test_every_clip_is_finite_and_in_range(n_samples):
    clips = [noise(n_samples), np.eye(1, n_samples)[0], np.ones(n_samples),
             np.clip(50 * noise(n_samples), -1, 1)]  # fmt: skip
    for picture in PitchSalience().fit_transform(clips):
        assert np.abs(picture).max() <= 1


@pytest.mark.parametrize("hop_length", [160, 128, 80])
def test_frames_are_those_of_a_centred_log_mel_spectrogram(hop_length):
    log_mel, pitch = (kind(hop_length=hop_length) for kind in (LogMelSpectrogram, PitchSalience))
    for n_samples in (1, hop_length - 1, hop_length, 1000, 16000, 16001):
        shapes = [kind.fit_transform(np.zeros((1, n_samples))).shape for kind in (log_mel, pitch)]
        assert shapes[0][2] == shapes[1][2] == 1 + n_samples // hop_length


def test_frame_is_centred_where_that_of_the_log_mel_spectrogram_is():
    click = np.zeros(8000)
    click[4000] = 1
    log_mel = LogMelSpectrogram(hop_length=160).fit_transform([click])[0]
    pitch = PitchSalience().fit_transform([click + 1e-3 * tone(100, 8000)])[0]
    where = np.flatnonzero(np.abs(pitch - np.cos(2 * np.pi * 100 / PITCHES)[:, None]).max(0) > 0.5)
    inside = where[(where > 5) & (where < 45)]
    assert inside.mean() == np.flatnonzero(log_mel.max(axis=0) > -60).mean() == 25


def test_a_higher_rate_gives_the_same_picture():
    pictures = []
    for rate in (16000, 44100, 48000):
        clip = np.cos(2 * np.pi * 180 * np.arange(rate) / rate)
        pictures.append(inner(PitchSalience(rate).fit_transform([clip])[0]))
    for picture in pictures[1:]:
        assert_allclose(picture, pictures[0], atol=0.02)


def test_alone_in_company_and_in_threads_the_same_bits():
    clips = [noise(n, seed=n) for n in (700, 40_000, 16_000, 300_000)]
    together = PitchSalience(n_jobs=2).fit_transform(clips)
    for clip, picture in zip(clips, together, strict=True):
        assert_array_equal(PitchSalience().fit_transform([clip])[0], picture)


def test_names():
    names = PitchSalience(n_lags=3).fit(np.zeros((1, 9))).get_feature_names_out()
    assert names.tolist() == ["pitch_0", "pitch_1", "pitch_2"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sample_rate": 8000}, r"sample_rate=8000 Hz, but PitchSalience expected at least 16000 "
                                r"Hz\. Convert the clips, as AudioLoader\(sample_rate=16000\)"),
        ({"fmin": 600, "fmax": 60}, "fmin=600 and fmax=60 Hz, but expected fmin < fmax"),
        ({"fmax": 2001}, "fmax at most 2000 Hz"),
        ({"win_length": 500}, "win_length=500 is shorter than two periods of fmin=60 Hz, .* 533"),
        ({"n_lags": 1}, "'n_lags' parameter"),
    ],
)  # fmt: skip
def test_wrong_parameters(settings, message):
    with pytest.raises(ValueError, match=message):
        PitchSalience(**settings).fit(np.zeros((1, 9)))


def test_clips_of_another_rate():
    with pytest.raises(SampleRateError, match=r"8000.*16000"):
        PitchSalience().fit([Waveform(np.zeros(900), 8000)])
