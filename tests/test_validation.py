"""The checks of what users pass in: what passes, and what the errors say."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator

from skaudio._validation import (
    check_features,
    check_paths,
    check_waveforms,
    holds_paths,
    remembered_rates,
)
from skaudio.audio import Waveform
from skaudio.exceptions import AudioFormatError, SampleRateError


class Transformer(BaseEstimator):
    pass


def waveforms(X):
    return check_waveforms(Transformer(), X, reset=True)


def features(X):
    return check_features(Transformer(), X, reset=True)


class PolarsSeries:
    """What a Series of polars offers, as far as it matters here."""

    dtype = "List(Float64)"

    def __init__(self, values):
        self.values = values

    def to_list(self):
        return self.values

    def __len__(self):
        return len(self.values)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype=object)


# What passes

RAGGED = [[0.0, 0.5], [0.25, 0.5, 0.75]]


@pytest.mark.parametrize(
    "X",
    [
        RAGGED,
        tuple(RAGGED),
        [np.array(clip) for clip in RAGGED],
        [tuple(clip) for clip in RAGGED],
        [pd.Series(clip) for clip in RAGGED],
        pd.Series(RAGGED, index=[7, 3]),
        pd.Series([np.array(clip) for clip in RAGGED]),
        np.array([np.array(clip) for clip in RAGGED], dtype=object),
        PolarsSeries(RAGGED),
        [Waveform(clip, 8000) for clip in RAGGED],
    ],
    ids=lambda X: type(X).__name__,
)
def test_clips_of_several_lengths(X):
    clips = waveforms(X)
    assert isinstance(clips, list)
    for clip, expected in zip(clips, RAGGED, strict=True):
        assert type(clip) is np.ndarray
        assert clip.dtype == np.float32
        np.testing.assert_array_equal(clip, expected)


@pytest.mark.parametrize(
    "X",
    [
        np.ones((2, 5)),
        np.ones((2, 5)).tolist(),
        pd.DataFrame(np.ones((2, 5))),
        np.ones((2, 5), dtype=object),
        Waveform(np.ones((2, 5)), 8000),
    ],
    ids=lambda X: type(X).__name__,
)
def test_clips_of_one_length(X):
    clips = waveforms(X)
    assert type(clips) is np.ndarray
    np.testing.assert_array_equal(clips, np.ones((2, 5), np.float32))


def test_nested_lists_of_features_of_several_lengths():
    clips = features([[[1, 2], [3, 4]], [[1, 2, 3], [3, 4, 5]]])
    assert [clip.shape for clip in clips] == [(2, 2), (2, 3)]


def test_paths_in_a_series_of_polars():
    paths = PolarsSeries(["a.wav", "b.wav"])
    assert holds_paths(paths)
    assert check_paths(paths) == ["a.wav", "b.wav"]


# Sample rates


def test_remembered_rates():
    clips = [Waveform(np.ones(3), 8000), np.ones(3), [1.0, 2.0], Waveform(np.ones(3), 16000)]
    rates = [8000, None, None, 16000]
    assert remembered_rates(clips) == rates
    column = np.empty(4, dtype=object)
    column[:] = clips
    assert remembered_rates(column) == remembered_rates(pd.Series(column)) == rates
    assert remembered_rates(Waveform(np.ones((2, 3)), 8000)) == [8000, 8000]
    assert remembered_rates(np.ones((2, 3))) == [None, None]
    assert remembered_rates([[1.0], [2.0]]) == []


@pytest.mark.parametrize(
    ("X", "clip"),
    [
        ([Waveform(np.ones(3), 16000), Waveform(np.ones(4), 8000)], 1),
        (Waveform(np.ones((2, 3)), 8000), 0),
        (Waveform(np.ones((2, 3)), 8000)[1:, :2], 0),
    ],
)
def test_a_waveform_of_another_rate_is_refused(X, clip):
    with pytest.raises(
        SampleRateError,
        match=rf"Clip {clip} was loaded at 8000 Hz, but Transformer is set to sample_rate=16000\. "
        r"Set both to one rate, as in AudioLoader\(sample_rate=16000\)",
    ):
        check_waveforms(Transformer(), X, reset=True, sample_rate=16000)
    plain = np.asarray(X) if isinstance(X, np.ndarray) else [np.asarray(clip) for clip in X]
    check_waveforms(Transformer(), plain, reset=True, sample_rate=16000)
    check_waveforms(Transformer(), X, reset=True)


def test_waveforms_of_the_same_rate_pass():
    clips = [Waveform(np.ones(3), 8000), np.ones(4)]
    check_waveforms(Transformer(), clips, reset=True, sample_rate=8000.0)


# Integers


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.ones((2, 3), np.int16), r"^X holds int16 samples .* \[-1, 1\]. Divide by 32768\."),
        (np.ones((2, 3), np.uint8), r"^X holds uint8 samples .* Divide by 128 and subtract 1\."),
        (np.full((2, 3), 256, np.int32), r"^X holds int32 samples .* 2147483648 if from 32 bits"),
        (np.full((2, 3), -256), r"^X holds int64 samples .* by 32768 if they come from 16 bits"),
        (np.full((2, 3), np.iinfo(np.int64).min), r"^X holds int64"),
        (np.full((2, 3), 256, np.uint16), r"^X holds uint16"),
        (np.ones((2, 3), ">i2"), r"^X holds int16 samples"),
        (pd.DataFrame([[1000, 2], [3, 4]]), r"^X holds int64"),
        ([[1000, 2], [3, 4]], r"^X holds int64"),
        ([np.ones(3), np.full(4, 256)], r"^Clip 1 holds int64"),
        ([[1, 2], [3, 4, 1000]], r"^Clip 1 holds int64"),
        (Waveform(np.full((2, 3), 256), 8000), r"^X holds int64"),
    ],
)
def test_integer_samples_are_refused(X, message):
    with pytest.raises(AudioFormatError, match=message):
        waveforms(X)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint16, np.uint64])
def test_small_integers_pass(dtype):
    assert waveforms(np.full((2, 3), 100, dtype)).dtype == np.float32


def test_features_may_be_large_integers():
    assert features(np.full((2, 3, 4), 1000)).dtype == np.float32


# What is no clip


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.ones(16000), r"X has one axis of 16000 values, a single clip.*mono.*pass \[X\]"),
        (Waveform(np.ones(50), 8000), r"X has one axis of 50 values, a single clip"),
        ([0.0, 0.5, 0.25], r"X has one axis of 3 values, a single clip"),
        (pd.Series([0.0, 0.5]), r"X has one axis of 2 values, a single clip"),
        (np.array([0.0, 0.5], dtype=object), r"X has one axis of 2 values, a single clip"),
        ([{"array": [0.0]}, {"array": [1.0]}], r"^Clip 0 is {'array': .*but Transformer expected"),
        ([np.ones(3), None], r"^Clip 1 is None, but .* waveforms: one row of samples"),
        ([None, np.ones(3)], r"^Clip 0 is None, but"),
        (pd.Series([np.ones(3), pd.NA]), r"^Clip 1 is <NA>, but"),
        (np.array([None, np.ones(3)], dtype=object), r"^Clip 0 is None, but"),
        ([np.ones(3), 0.5], r"^Clip 1 is 0\.5, but"),
        ([[0.1, 0.2], 0.5], r"^Clip 1 is 0\.5, but"),
        ([[0.1, 0.2], [0.3, "a", 0.4]], r"^Clip 1 is \[0\.3, 'a', 0\.4\], but"),
        ([[[0.1], [0.2, 0.3]], [[0.1], [0.2]]], r"^Clip 0 is \[\[0\.1\], \[0\.2, 0\.3\]\], but"),
        (np.ones((2, 3, 4)), r"^X has shape \(2, 3, 4\), but Transformer expected waveforms"),
        ([np.ones((3, 4)), np.ones(3)], r"^Clip 0 is ndarray of shape \(3, 4\), but"),
        ([np.ones(3), np.ones(0)], r"^Clip 1 is empty \(shape \(0,\)\)"),
        ([np.ones(3), np.array(["1", "2"])], r"^Clip 1 holds values of type <U1, but"),
        ([np.ones(3), np.ones(2, "M8[s]")], r"^Clip 1 holds values of type datetime64\[s\], but"),
        ([np.ones(3, complex), np.ones(2)], r"^Clip 0 holds values of type complex128, but"),
        (np.ones((2, 3), "M8[s]"), r"^X holds values of type datetime64\[s\], but expected real"),
        (np.ones((2, 3), "S1"), r"^X holds values of type \|S1, but expected real numbers"),
        (PolarsSeries([[0.1], None]), r"^Clip 1 is None, but"),
        (PolarsSeries([0.1, 0.2]), r"X has one axis of 2 values, a single clip"),
    ],
)
def test_what_is_no_waveform(X, message):
    with pytest.raises(AudioFormatError, match=message):
        waveforms(X)


def test_what_is_no_feature():
    with pytest.raises(AudioFormatError, match=r"^Clip 0 is \[\[1, 2\], \[3\]\], but Transformer"):
        features([[[1, 2], [3]], [[1, 2], [3, 4]]])
    with pytest.raises(AudioFormatError, match=r"^Clip 1 has shape \(3, 4\), but clip 0 has"):
        features([np.ones((2, 4)), np.ones((3, 4))])


@pytest.mark.parametrize(
    ("value", "shown"), [(pd.NA, "<NA>"), ({"a": 1}, "{'a': 1}"), ("x", "'x'")]
)
def test_cells_that_are_no_numbers(value, shown):
    X = np.array([[0.1, 0.2], [0.3, value]], dtype=object)
    with pytest.raises((TypeError, ValueError), match=f"^Clip 1 holds {shown}, but expected numb"):
        waveforms(X)


def test_a_description_is_short():
    with pytest.raises(AudioFormatError) as caught:
        waveforms([{"array": list(range(10000))}])
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300, None])
def test_values_that_are_not_finite(value):
    for X in (np.array([[0.1, 0.2], [0.3, value]]), [[0.1], [0.3, value]]):
        with pytest.raises(ValueError, match=r"contains (NaN|infinity).* first in clip 1"):
            waveforms(X)


@pytest.mark.parametrize("peak", [2e10, 3e38])
def test_samples_whose_power_would_overflow(peak):
    clips = [np.ones(4), np.array([0.0, -peak, 1.0])]
    with pytest.raises(AudioFormatError, match=r"Clip 1 holds samples up to .*e\+.* in \[-1, 1\]"):
        waveforms(clips)
    waveforms([np.full(3, 2.0**31)])  # never scaled, but no harm
    features(clips)
