from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import skaudio.datasets
from skaudio.datasets import load_spoken_digits

VOICES, TEMPI, DIGITS, TAKES = 12, 3, 10, 2


@pytest.fixture(scope="module")
def clips():
    return load_spoken_digits()


def test_clips_are_mono_waveforms(clips):
    assert clips.sample_rate == 8000
    for clip in clips.data:
        assert clip.ndim == 1
        assert clip.dtype == np.float32
        assert np.isfinite(clip).all()
        assert 0.1 < np.abs(clip).max() <= 1
        assert 0.2 < len(clip) / clips.sample_rate < 1.2
        clip *= 1.0  # writable: a user may work in place


def test_every_voice_says_every_digit_at_every_tempo(clips):
    kinds = Counter(zip(clips.speaker, clips.tempo, clips.target, strict=True))
    assert len(kinds) == VOICES * TEMPI * DIGITS
    assert set(kinds.values()) == {TAKES}


def test_targets_are_the_words_in_the_order_of_counting(clips):
    assert clips.target.dtype.kind == clips.speaker.dtype.kind == clips.tempo.dtype.kind == "U"
    assert clips.target_names[0] == "zero"
    assert clips.target_names[9] == "nine"
    assert set(clips.target) == set(clips.target_names)


def mean_length(clips, tempo, **which):
    chosen = clips.tempo == tempo
    for name, value in which.items():
        chosen &= clips[name] == value
    return np.mean([len(clip) for clip, take in zip(clips.data, chosen, strict=True) if take])


def test_every_voice_says_every_digit_faster_when_fast(clips):
    for voice, digit in product(np.unique(clips.speaker), clips.target_names):
        slow, fast = (
            mean_length(clips, tempo, speaker=voice, target=digit) for tempo in ("slow", "fast")
        )
        assert slow > fast


def test_every_voice_has_three_tempi(clips):
    for voice in np.unique(clips.speaker):
        slow, normal, fast = (
            mean_length(clips, tempo, speaker=voice) for tempo in ("slow", "normal", "fast")
        )
        assert slow > 1.1 * normal > 1.1**2 * fast


def test_no_two_clips_are_the_same(clips):
    assert len({clip.tobytes() for clip in clips.data}) == len(clips.data)


def test_a_clip_is_one_word_between_short_pauses(clips):
    loud = np.array([np.sqrt(np.mean(clip**2)) for clip in clips.data])
    ends = np.array([np.sqrt(np.mean(np.r_[clip[:80], clip[-80:]] ** 2)) for clip in clips.data])
    assert (ends < loud / 3).all()


def test_as_frame(clips):
    framed = load_spoken_digits(as_frame=True)
    assert list(framed.frame.columns) == ["waveform", "digit", "speaker", "tempo"]
    assert isinstance(framed.data, pd.Series)
    np.testing.assert_array_equal(framed.frame["digit"], clips.target)
    np.testing.assert_array_equal(framed.speaker, clips.speaker)
    np.testing.assert_array_equal(framed.data[17], clips.data[17])
    data, target = load_spoken_digits(as_frame=True, return_X_y=True)
    assert isinstance(data, pd.Series)
    assert isinstance(target, pd.Series)


def test_the_datasheet_names_voices_licence_and_counts(clips):
    for word in [*np.unique(clips.speaker), "CC0", "espeak-ng 1.51", "720", "8 kHz", "slow"]:
        assert word in clips.DESCR


def test_it_is_small():
    files = list((Path(skaudio.datasets.__file__).parent / "data").iterdir())
    assert {file.name for file in files} == {
        "spoken_digits.csv", "spoken_digits.flac", "spoken_digits.md",
    }  # fmt: skip
    assert sum(file.stat().st_size for file in files) < 3_000_000
