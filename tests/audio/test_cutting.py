import numpy as np
import pytest

from skaudio.audio import fix_length, stretch


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
def test_stretch_counts_samples(offset, duration, expected):
    assert stretch(8000, offset, duration) == expected


@pytest.mark.parametrize("offset", [-0.1, np.nan, np.inf])
def test_stretch_refuses_offset(offset):
    with pytest.raises(ValueError, match=r"offset is .*, but expected seconds from 0 on"):
        stretch(8000, offset)


@pytest.mark.parametrize("duration", [0.0, -1.0, np.nan, np.inf])
def test_stretch_refuses_duration(duration):
    with pytest.raises(ValueError, match=r"duration is .*, but expected seconds over 0"):
        stretch(8000, 0.0, duration)
