import librosa
import numpy as np
import pytest
import scipy.fft
from numpy.testing import assert_allclose, assert_array_equal

from skaudio.exceptions import SkaudioWarning
from skaudio.features import MFCC, LogMelSpectrogram

RATE = 16000
N_MELS = MFCC().n_mels


def noise(n_clips=2, n_samples=RATE):
    rng = np.random.default_rng(0)
    return (0.1 * rng.standard_normal((n_clips, n_samples))).astype(np.float32)


def by_librosa(waveform, **settings):
    settings = {"n_fft": 512, "hop_length": 128, "n_mels": N_MELS, "sr": RATE, **settings}
    return librosa.feature.mfcc(y=waveform, **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_mfcc": 13, "lifter": 22},
        {"dct_type": 3},
        {"dct_type": 1, "norm": None},
        {"norm": None, "htk": True, "mel_norm": None},
        {"n_fft": 2048, "hop_length": 512, "n_mels": 128, "n_mfcc": 40, "fmin": 50.0},
        {"center": False, "power": 1.0},
    ],
    ids=str,
)
def test_numbers_are_those_of_librosa(settings):
    features = MFCC(**settings).fit_transform(noise())
    assert features.dtype == np.float32
    for ours, clip in zip(features, noise(), strict=True):
        theirs = by_librosa(clip, **settings)
        assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("width", [3, 5, 9])
def test_deltas_are_those_of_librosa(width):
    features = MFCC(n_mfcc=13, deltas=2, delta_width=width).fit_transform(noise())
    for ours, clip in zip(features, noise(), strict=True):
        theirs = by_librosa(clip, n_mfcc=13)
        deltas = [librosa.feature.delta(theirs, width=width, order=order) for order in (1, 2)]
        assert_allclose(ours, np.concatenate([theirs, *deltas]), atol=2e-3)


def test_first_delta_of_a_steady_rise_is_its_slope():
    # Decibels that rise by 0.1 a frame: only the first coefficient moves, in proportion.
    gain = 10 ** (0.1 / 20 * np.arange(40_000) / 128)
    clip = 1e-3 * gain * noise(1, 40_000)[0]
    features = MFCC(n_mfcc=1, deltas=1, delta_width=101).fit_transform([clip])[0]
    expected = 0.1 * np.sqrt(N_MELS)  # the orthonormal transform of a constant
    assert_allclose(features[1, 50:-50].mean(), expected, rtol=0.05)


@pytest.mark.parametrize("n_samples", [1, 200, 700])
def test_a_clip_shorter_than_the_deltas_repeats_its_last_frame(n_samples):
    clip = noise(1, n_samples)[0]
    features = MFCC(n_mfcc=3, deltas=2).fit_transform([clip])[0]
    n_frames = features.shape[1]
    assert n_frames < 9
    lengthened = np.pad(features[:3], ((0, 0), (0, 9 - n_frames)), mode="edge")
    for order in (1, 2):
        expected = librosa.feature.delta(lengthened, order=order)[:, :n_frames]
        assert_allclose(features[3 * order : 3 * order + 3], expected, atol=1e-3)


def test_a_single_frame_does_not_move():
    features = MFCC(n_mfcc=3, deltas=2).fit_transform(noise(1, 50))[0]
    assert_allclose(features[3:], 0, atol=1e-10)


def test_all_coefficients_keep_the_log_mel_energy():
    log_mel = LogMelSpectrogram(n_mels=64).fit_transform(noise())
    cepstrum = MFCC(n_mfcc=64, n_mels=64).fit_transform(noise())
    energies = [np.square(x.astype(np.float64)).sum(axis=1) for x in (cepstrum, log_mel)]
    assert_allclose(*energies, rtol=1e-5)


def test_a_gain_moves_the_first_natural_log_coefficient_only():
    loud, soft = (
        MFCC(log="ln", eps=1e-12, n_mels=64).fit_transform(gain * noise()) for gain in (1.0, 0.5)
    )
    rise = np.log(4) * np.sqrt(64)  # the orthonormal transform of a constant
    assert_allclose((loud - soft)[:, 0], rise, rtol=1e-4)
    assert_allclose((loud - soft)[:, 1:], 0, atol=1e-3)


def test_natural_log_coefficients_are_the_transform_of_natural_log_bands():
    settings = {"n_mels": 64, "log": "ln", "eps": 1e-3, "power": 1.0}
    log_mel = LogMelSpectrogram(**settings).fit_transform(noise())
    expected = scipy.fft.dct(log_mel, axis=1, norm="ortho")[:, :20]
    assert_allclose(MFCC(**settings).fit_transform(noise()), expected, atol=1e-3)


def test_list_in_list_out_and_each_as_if_alone():
    clips = [noise(1, n)[0] for n in (300, 9000)]
    together = MFCC(deltas=1, n_jobs=2).fit_transform(clips)
    for clip, feature in zip(clips, together, strict=True):
        assert_array_equal(MFCC(deltas=1).fit_transform([clip])[0], feature)


def test_names():
    names = MFCC(n_mfcc=2, deltas=2).fit(noise()).get_feature_names_out().tolist()
    assert names[:3] == ["mfcc_0", "mfcc_1", "mfcc_delta_0"]
    assert names[3:] == ["mfcc_delta_1", "mfcc_delta2_0", "mfcc_delta2_1"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"n_mfcc": 65, "n_mels": 64},
            "n_mfcc=65 coefficients cannot be computed from n_mels=64 bands",
        ),
        ({"delta_width": 8}, "delta_width=8 is even"),
        ({"delta_width": 1}, "'delta_width' parameter"),
        ({"deltas": 3}, "'deltas' parameter"),
        ({"dct_type": 4}, "'dct_type' parameter"),
        ({"lifter": -1}, "'lifter' parameter"),
        ({"fmax": 10_000}, "fmax=10000 Hz is above"),
        ({"log": "log2"}, "'log' parameter"),
        ({"log": None}, "'log' parameter"),
        ({"log": "ln", "eps": 0.0}, "'eps' parameter"),
    ],
)
def test_wrong_parameters(settings, message):
    with pytest.raises(ValueError, match=message):
        MFCC(**settings).fit(noise())


def test_empty_bands_draw_a_warning():
    with pytest.warns(SkaudioWarning, match="mel bands are empty"):
        MFCC(n_mels=256).fit(noise())
