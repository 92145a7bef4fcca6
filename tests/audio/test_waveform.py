import copy
import pickle

import joblib
import numpy as np
import pytest

from skaudio.audio import Waveform, fix_length, resample, time_slice
from skaudio.exceptions import AudioFormatError, SampleRateError


@pytest.fixture(params=["one", "rows"])
def waveform(request):
    shape = (100,) if request.param == "one" else (3, 100)
    return Waveform(np.random.default_rng(0).uniform(size=shape).astype(np.float32), 8000)


def through_a_file(waveform, folder):
    joblib.dump(waveform, folder / "waveform")
    return joblib.load(folder / "waveform")


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w[..., 3:50],
        lambda w: w[..., ::-1],
        lambda w: 2 * w + 1,
        lambda w: np.clip(w, -0.5, 0.5),
        lambda w: w.astype(np.float64),
        copy.copy,
        copy.deepcopy,
        *(lambda w, p=p: pickle.loads(pickle.dumps(w, p)) for p in range(2, 6)),
        lambda w: np.split(w, [30], axis=-1)[1],
        lambda w: fix_length(w, 120),
        lambda w: fix_length(w, 20, "center"),
    ],
)
def test_the_rate_survives(waveform, change):
    changed = change(waveform)
    assert isinstance(changed, Waveform)
    assert changed.sample_rate == 8000
    np.testing.assert_array_equal(changed, change(np.asarray(waveform)))


def test_the_rate_survives_files_and_the_choice_of_rows(tmp_path):
    rows = Waveform(np.ones((4, 10), np.float32), 8000)
    for part in (rows[1], rows[::2], rows[[0, 2]], rows[np.array([True] * 4)], *rows):
        assert part.sample_rate == 8000
    assert rows[:, 0].sample_rate is None  # of several clips
    assert rows[0, 0, ...].shape == ()
    assert through_a_file([rows[0], rows], tmp_path)[1].sample_rate == 8000


@pytest.mark.parametrize(
    "change",
    [
        np.asarray,
        lambda w: w.sum(axis=-1),
        lambda w: np.concatenate([w, w], axis=-1),
        lambda w: np.apply_along_axis(lambda row: np.asarray(row)[::2], -1, w),
        lambda w: resample(w[..., :].reshape(-1), 8000, 16000),
        lambda w: w[..., ::2],
        lambda w: w[..., 60::-3],
    ],
)
def test_the_rate_is_forgotten_where_samples_are_made_anew(waveform, change):
    assert getattr(change(waveform), "sample_rate", None) is None


def test_sums_are_numbers(waveform):
    assert isinstance(waveform.sum(), np.float32)
    assert isinstance(waveform.reshape(-1)[0], np.float32)


@pytest.mark.parametrize("align", ["start", "center"])
@pytest.mark.parametrize("n_samples", [0, 1, 4, 5, 6, 9, 10])
@pytest.mark.parametrize("shape", [(5,), (2, 5)])
def test_fix_length_gives_the_length_and_keeps_the_dtype(shape, n_samples, align):
    waveform = np.ones(shape, dtype=np.float32)
    fixed = fix_length(waveform, n_samples, align)
    assert fixed.shape == (*shape[:-1], n_samples)
    assert fixed.dtype == np.float32
    assert fixed.sum() == min(n_samples, 5) * waveform.sum() / 5


@pytest.mark.parametrize(
    ("n_samples", "align", "expected"),
    [
        (3, "start", [1, 2, 3]),
        (3, "center", [2, 3, 4]),
        (2, "center", [2, 3]),
        (7, "start", [1, 2, 3, 4, 5, 0, 0]),
        (8, "center", [0, 1, 2, 3, 4, 5, 0, 0]),
    ],
)
def test_fix_length_cuts_and_pads_where_align_says(n_samples, align, expected):
    np.testing.assert_array_equal(fix_length(np.arange(1, 6), n_samples, align), expected)


def test_fix_length_centred_there_and_back_is_the_same_waveform():
    waveform = np.arange(7.0)
    padded = fix_length(waveform, 12, "center")
    np.testing.assert_array_equal(fix_length(padded, 7, "center"), waveform)


def test_fix_length_leaves_its_input_alone():
    waveform = np.arange(4.0)
    fix_length(waveform, 9)[:] = 1
    np.testing.assert_array_equal(waveform, np.arange(4.0))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n_samples": 3, "align": "end"}, "align is 'end', but expected 'start' or 'center'"),
        ({"n_samples": -1}, "n_samples is -1, but expected 0 or more"),
    ],
)
def test_fix_length_refuses(kwargs, message):
    with pytest.raises(ValueError, match=message):
        fix_length(np.zeros(3), **kwargs)


@pytest.mark.parametrize(
    ("offset", "duration", "expected"),
    [
        (0.0, None, slice(0, None)),
        (0.5, None, slice(4000, None)),
        (0.5, 2.0, slice(4000, 20000)),
        (0.0, 1e-9, slice(0, 1)),
        (1.00006, 1.0, slice(8000, 16000)),
    ],
)
def test_time_slice_counts_samples(offset, duration, expected):
    assert time_slice(8000, offset, duration) == expected


@pytest.mark.parametrize("offset", [-0.1, np.nan, np.inf])
def test_time_slice_refuses_offset(offset):
    with pytest.raises(ValueError, match=r"offset is .*, but expected seconds from 0 on"):
        time_slice(8000, offset)


@pytest.mark.parametrize("duration", [0.0, -1.0, np.nan, np.inf])
def test_time_slice_refuses_duration(duration):
    with pytest.raises(ValueError, match=r"duration is .*, but expected seconds over 0"):
        time_slice(8000, 0.0, duration)


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


@pytest.mark.parametrize("n_samples", [0, 1])
def test_resample_refuses_what_leaves_no_sample(n_samples):
    with pytest.raises(AudioFormatError, match=f"too short, {n_samples} samples at 48000 Hz"):
        resample(np.ones(n_samples, dtype=np.float32), 48000, 16000)


def test_resample_refuses_another_rate_than_the_waveforms_own_and_several_axes():
    waveform = Waveform(np.zeros(160, dtype=np.float32), 16000)
    assert len(resample(waveform, 16000, 8000)) == 80
    with pytest.raises(SampleRateError, match="at 16000 Hz, but from_rate is 44100. Pass its own"):
        resample(waveform, 44100, 8000)
    with pytest.raises(AudioFormatError, match=r"shape \(2, 80\).* clip by clip"):
        resample(waveform.reshape(2, 80), 16000, 8000)
    with pytest.raises(AudioFormatError, match=r"shape \(2, 80\)"):
        resample(np.zeros((2, 80)), 8000, 8000)


def test_resample_refuses_what_overflows():
    loud = np.full(1000, 3.3e38, dtype=np.float32)
    loud[::2] *= -1
    with pytest.raises(
        AudioFormatError, match=r"samples of up to 3e\+38, too large to be resampled"
    ):
        resample(loud, 44100, 48000)
