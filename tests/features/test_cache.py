import math
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from skaudio.audio import AudioLoader, Waveform
from skaudio.exceptions import AudioFormatError, SampleRateError, SkaudioWarning
from skaudio.features import (
    MFCC,
    BandScaler,
    FeatureCache,
    LogMelSpectrogram,
    PitchSalience,
    Spectrogram,
    StackedFeatures,
    TemporalStatistics,
    VoiceDescriptors,
    VoiceStatistics,
)

RATE = 8000


class Unchanged(TransformerMixin, BaseEstimator):
    """Return what it is given."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags


class Spell(TransformerMixin, BaseEstimator):
    """Stand-in for the steps: the bytes of each file, times a factor; keeps a diary."""

    diary: list[str] = []

    def __init__(self, factor=1, n_jobs=None):
        self.factor = factor
        self.n_jobs = n_jobs

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        self.diary.extend(Path(path).name for path in X)
        return [self.factor * np.fromfile(path, np.uint8).astype(np.float32) for path in X]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags


@pytest.fixture
def diary():
    Spell.diary.clear()
    return Spell.diary


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for i in range(6):
        (folder / f"take_{i}.bin").write_bytes(bytes(range(i, i + 4 + i % 2)))
    return sorted(map(str, folder.iterdir()))


@pytest.fixture
def location(tmp_path):
    return tmp_path / "features"


@pytest.fixture
def recorded(tmp_path):
    """Sound files: three of one length, one longer."""
    rng = np.random.default_rng(0)
    paths = []
    for i, n_samples in enumerate([4000, 4000, 4000, 5000]):
        paths.append(str(tmp_path / f"take_{i}.wav"))
        soundfile.write(paths[-1], rng.uniform(-0.5, 0.5, n_samples), RATE)
    return paths


def assert_same(found, expected):
    assert type(found) is type(expected)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def entries(location):
    return sorted(location.glob("features-*/[0-9a-f][0-9a-f]/*.npy"))


class TestWhatItGives:
    @pytest.mark.parametrize("pad", [False, True])
    @pytest.mark.parametrize("n_clips", [1, 3, 4])
    def test_what_the_steps_give(self, recorded, location, pad, n_clips):
        duration = 0.5 if pad else None
        steps = make_pipeline(
            AudioLoader(sample_rate=RATE, duration=duration, pad=pad),
            LogMelSpectrogram(sample_rate=RATE),
        )
        paths = recorded[:n_clips]
        expected = steps.fit_transform(paths)
        cache = FeatureCache(steps, location)
        for _ in ("computed", "read"):
            assert_same(cache.fit_transform(paths), expected)
        assert len(entries(location)) == n_clips

    @pytest.mark.parametrize(
        "features",
        [VoiceStatistics(), VoiceDescriptors(), StackedFeatures([("pitch", PitchSalience())])],
        ids=lambda features: type(features).__name__,
    )
    def test_voices(self, tmp_path, location, features):
        rng = np.random.default_rng(0)
        paths = [tmp_path / f"{i}.wav" for i in range(3)]
        for path, n_samples in zip(paths, (3000, 4000, 5000), strict=True):
            soundfile.write(path, 0.1 * rng.standard_normal(n_samples), 16000)
        steps = make_pipeline(AudioLoader(), features)
        cache = FeatureCache(steps, location)
        for _ in ("computed", "read"):
            assert_same(cache.fit_transform(paths), steps.fit_transform(paths))

    def test_tables_stay_tables(self, recorded, location):
        steps = make_pipeline(
            AudioLoader(sample_rate=RATE), LogMelSpectrogram(sample_rate=RATE), TemporalStatistics()
        )
        cache = FeatureCache(steps, location)
        expected = steps.fit_transform(recorded)
        assert expected.shape == (4, expected.shape[1])
        for _ in ("computed", "read"):
            assert_same(cache.fit_transform(recorded), expected)
        table = cache.set_output(transform="pandas").fit_transform(recorded)
        assert list(table.columns) == list(steps[1:].get_feature_names_out())
        assert table.columns[0] == "mel_0_mean"
        cache.clear()
        with config_context(transform_output="pandas"):
            computed = clone(cache).fit_transform(recorded)
        pd.testing.assert_frame_equal(computed, table)

    @pytest.mark.parametrize("form", [np.stack, list], ids=["array", "list"])
    def test_waveforms_are_known_by_their_samples(self, recorded, location, form):
        steps = make_pipeline(
            AudioLoader(sample_rate=RATE, duration=0.2), LogMelSpectrogram(sample_rate=RATE)
        )
        waveforms = form([np.asarray(clip) for clip in steps[0].fit_transform(recorded)])
        expected = steps.fit_transform(waveforms)
        cache = FeatureCache(steps, location).fit(waveforms)
        for _ in ("computed", "read"):
            assert_same(cache.transform(waveforms), expected)
            assert len(entries(location)) == len(recorded)
        for other_form in (list, np.stack):
            clips = other_form(list(waveforms)[:2])
            assert_same(cache.transform(clips), steps.transform(clips))
        assert len(entries(location)) == len(recorded)
        louder = [2 * clip for clip in waveforms]
        assert_same(cache.transform(louder), steps.transform(louder))
        assert len(entries(location)) == 2 * len(recorded)

    def test_equal_samples_at_other_rates_are_other_clips(self, location):
        samples = np.sin(np.arange(4000) / 3).astype(np.float32)
        clips = [Waveform(samples, RATE), Waveform(samples, 2 * RATE), samples]
        steps = make_pipeline(AudioLoader(sample_rate=RATE), LogMelSpectrogram(sample_rate=RATE))
        expected = steps.fit_transform(clips)
        cache = FeatureCache(steps, location)
        for _ in ("computed", "read"):
            assert_same(cache.fit_transform(clips), expected)

    def test_clips_of_other_transformers_pass_through(self, location):
        cache = FeatureCache(Unchanged(), location).fit(np.eye(2))
        np.testing.assert_array_equal(cache.transform(np.eye(3)), np.eye(3))
        assert not entries(location)

    def test_files_and_waveforms_give_the_same(self, recorded, location):
        steps = make_pipeline(AudioLoader(sample_rate=RATE), LogMelSpectrogram(sample_rate=RATE))
        waveforms = AudioLoader(sample_rate=RATE).fit_transform(recorded)
        same_length = np.stack(waveforms[:3])
        expected = steps.fit_transform(same_length)
        fitted_on_waveforms = FeatureCache(steps, location).fit(same_length)
        assert_same(fitted_on_waveforms.transform(same_length), expected)
        fitted_on_files = FeatureCache(steps, location).fit(recorded)
        assert_same(fitted_on_files.transform(same_length), expected)
        assert_same(fitted_on_files.transform(waveforms[:3]), list(expected))

    def test_names_are_those_of_the_last_step(self, recorded, location):
        steps = make_pipeline(
            AudioLoader(sample_rate=RATE), LogMelSpectrogram(sample_rate=RATE, n_mels=20)
        )
        cache = FeatureCache(steps, location).fit(recorded)
        assert list(cache.get_feature_names_out()) == list(steps[-1].get_feature_names_out())
        assert not hasattr(FeatureCache(Spell(), location), "get_feature_names_out")

    @pytest.mark.parametrize("on_error", ["stop", "report"])
    def test_an_error_names_the_clip_by_its_place(self, location, on_error):
        loader = AudioLoader(sample_rate=RATE, offset=0.1, on_error=on_error)
        cache = FeatureCache(make_pipeline(loader, LogMelSpectrogram(sample_rate=RATE)), location)
        clips = [np.zeros(2000 + 7 * i) for i in range(40)]
        cache.fit_transform(clips[:30])
        clips[37] = np.zeros(100)
        with pytest.raises(AudioFormatError, match="^Clip 37 has 100 samples"):
            cache.transform(clips)

    def test_fit_checks_all_features(self, recorded, location):
        def cached(**settings):
            features = LogMelSpectrogram(sample_rate=RATE, **settings)
            return FeatureCache(make_pipeline(AudioLoader(sample_rate=RATE), features), location)

        with pytest.raises(ValueError, match="fmax=9000 Hz is above 4000 Hz"):
            cached(fmax=9000).fit(recorded)
        cache = cached(n_mels=256)
        cache.steps.steps.append(("statistics", TemporalStatistics()))
        for clips in (recorded, [np.zeros(2000)]):
            with pytest.warns(SkaudioWarning, match="of 256 mel bands are empty") as caught:
                cache.fit(clips)
            assert len(caught) == 1

    def test_a_union_is_cached_part_by_part(self, recorded, location):
        def union(wrap):
            parts = LogMelSpectrogram(sample_rate=RATE), MFCC(sample_rate=RATE)
            steps = [
                make_pipeline(AudioLoader(sample_rate=RATE), part, TemporalStatistics())
                for part in parts
            ]
            return FeatureUnion([("mel", wrap(steps[0])), ("mfcc", wrap(steps[1]))])

        with pytest.raises(ValueError, match="does not look into FeatureUnion.*each of its parts"):
            FeatureCache(union(lambda steps: steps), location).fit(recorded)
        expected = union(lambda steps: steps).fit_transform(recorded)
        cached = union(lambda steps: FeatureCache(steps, location)).fit_transform(recorded)
        np.testing.assert_array_equal(cached, expected)

    def test_order_and_repetition(self, files, location, diary):
        cache = FeatureCache(Spell(), location).fit(files)
        order = [3, 0, 3, 5, 0]
        found = cache.transform([files[i] for i in order])
        assert_same(found, Spell().transform([files[i] for i in order]))
        assert sorted(diary[:3]) == ["take_0.bin", "take_3.bin", "take_5.bin"]

    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_parallel(self, files, location, n_jobs, diary):
        cache = FeatureCache(Spell(), location, n_jobs=n_jobs)
        assert_same(cache.fit_transform(files), Spell().transform(files))
        assert len(diary) == 12


class TestWhatIsComputed:
    def test_each_file_once(self, files, location, diary):
        cache = FeatureCache(Spell(), location)
        cache.fit_transform(files[:4])
        cache.fit(files[3:]).transform(files)
        clone(cache).fit_transform(files)
        FeatureCache(Spell(), str(location)).fit_transform([Path(f) for f in files])
        assert sorted(diary) == [Path(f).name for f in files]

    def test_a_grid_search_computes_each_file_once(self, files, location, diary):
        pipeline = make_pipeline(
            FeatureCache(make_pipeline(Spell(), FunctionTransformer(_first_four)), location),
            DummyClassifier(strategy="constant"),
        )
        grid = {"dummyclassifier__constant": [0, 1]}
        GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(files, [0, 1] * 3)
        assert sorted(diary) == [Path(f).name for f in files]

    def test_fit_computes_nothing(self, files, location, diary):
        FeatureCache(Spell(), location).fit(files)
        assert not diary
        assert not entries(location)

    def test_one_file_under_two_names(self, files, location, diary, monkeypatch):
        cache = FeatureCache(Spell(), location).fit(files)
        cache.transform(files[:1])
        folder = Path(files[0]).parent
        monkeypatch.chdir(folder)
        (folder / "link.bin").symlink_to(files[0])
        cache.transform(["take_0.bin"])
        cache.transform([str(folder / ".." / "clips" / "take_0.bin")])
        cache.transform(["link.bin"])
        assert diary == ["take_0.bin"]

    def test_a_changed_file_is_computed_again(self, files, location, diary):
        cache = FeatureCache(Spell(), location)
        cache.fit_transform(files)
        diary.clear()
        Path(files[1]).write_bytes(b"longer than it was")
        same_size = Path(files[2])
        same_size.write_bytes(bytes(reversed(same_size.read_bytes())))
        os.utime(same_size, ns=(1, same_size.stat().st_mtime_ns + 1))
        assert_same(cache.transform(files), Spell().transform(files))
        assert diary[:2] == ["take_1.bin", "take_2.bin"]
        assert len(diary) == 2 + len(files)

    def test_a_changed_parameter_is_computed_again(self, files, location, diary):
        cache = FeatureCache(Spell(), location)
        cache.fit_transform(files)
        assert_same(
            cache.set_params(steps__factor=3).fit_transform(files), Spell(3).transform(files)
        )
        diary.clear()
        for factor in (1, 3):
            cache.set_params(steps__factor=factor).fit_transform(files)
        assert not diary

    def test_what_cannot_matter_does_not(self, files, location, diary):
        FeatureCache(Spell(), location).fit_transform(files)
        diary.clear()
        FeatureCache(Spell(n_jobs=2), location, n_jobs=2).fit_transform(files)
        FeatureCache(make_pipeline("passthrough", Spell()), location).fit_transform(files)
        assert not diary

    def test_a_new_version_of_the_code_computes_again(self, files, location, diary, monkeypatch):
        cache = FeatureCache(Spell(), location)
        cache.fit_transform(files)
        monkeypatch.setattr("skaudio.features.cache.FEATURES_VERSION", -1)
        cache.fit_transform(files)
        assert len(diary) == 12

    def test_other_steps_are_other_features(self, files, location, diary):
        FeatureCache(Spell(), location).fit_transform(files)
        twice = make_pipeline(Spell(), FunctionTransformer(_double))
        found = FeatureCache(twice, location).fit_transform(files)
        assert_same(found, [2 * array for array in Spell().transform(files)])

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ({"a": 1, "b": 2}, {"a": 2, "b": 1}),
            ((1, 2), (12,)),
            (("a", "b"), ("a, b",)),
            (1, "1"),
            (1, True),
            (np.array([1.0, 2.0]), np.array([1.0, 3.0])),
            (np.zeros((2, 3)), np.zeros((3, 2))),
            (None, "None"),
            (np.max, np.min),
            (LogMelSpectrogram(n_mels=3), LogMelSpectrogram(n_mels=4)),
            ([LogMelSpectrogram()], [AudioLoader()]),
        ],
        ids=str,
    )
    def test_parameters_are_told_apart(self, files, location, first, second):
        for value in (first, second, first):
            FeatureCache(make_pipeline(Spell(), Note(value)), location).fit_transform(files[:1])
        assert len(entries(location)) == 2

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (np.float64(0.5), 0.5),
            (np.array([1, 2]), np.array([[1, 2]]).repeat(2, 0)[0]),
            ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
            ({"x", "y", "z"}, {"z", "y", "x"}),
        ],
        ids=str,
    )
    def test_equal_parameters_are_equal(self, files, location, first, second):
        for value in (first, second):
            FeatureCache(make_pipeline(Spell(), Note(value)), location).fit_transform(files[:1])
        assert len(entries(location)) == 1

    def test_a_progress_bar(self, files, location, capsys):
        FeatureCache(Spell(), location, verbose=1).fit_transform(files)
        assert "6/6" in capsys.readouterr().err
        FeatureCache(Spell(), location).fit_transform(files)
        assert capsys.readouterr().err == ""

    def test_clear(self, files, location, diary):
        location.mkdir()
        foreign = [location / "notes.txt", location / "features-of-mine"]
        for path in foreign:
            path.write_text("keep")
        cache = FeatureCache(Spell(), location)
        for factor in (1, 2):
            cache.set_params(steps__factor=factor).fit_transform(files)
        cache.clear()
        assert sorted(location.iterdir()) == sorted(foreign)
        diary.clear()
        cache.fit_transform(files)
        assert len(diary) == 6
        FeatureCache(Spell(), location / "not_there").clear()


def _double(arrays):
    return [2 * array for array in arrays]


def _first_four(arrays):
    return np.stack([array[:4] for array in arrays])


class Note(Spell):
    def __init__(self, value=None):
        self.value = value

    def transform(self, X):
        return X


class TestDamage:
    @pytest.mark.parametrize("how", ["torn", "empty", "flipped", "one byte", "not ours"])
    def test_is_noticed_reported_and_repaired(self, files, location, diary, how):
        cache = FeatureCache(Spell(), location)
        expected = cache.fit_transform(files)
        diary.clear()
        entry = entries(location)[0]
        data = bytearray(entry.read_bytes())
        if how == "flipped":
            data[len(data) - 8] ^= 4
        wrong = {"torn": data[:-7], "empty": b"", "one byte": b"\0", "not ours": b"x" * 500}
        entry.write_bytes(wrong.get(how, data))
        with pytest.warns(SkaudioWarning, match=r"1 files in .* are damaged, .* computed again"):
            assert_same(cache.transform(files), expected)
        assert len(diary) == 1
        assert_same(cache.transform(files), expected)
        assert len(diary) == 1

    def test_entries_are_plain_npy_files(self, files, location):
        found = FeatureCache(Spell(), location).fit_transform(files[:1])
        np.testing.assert_array_equal(np.load(entries(location)[0]), found[0])

    def test_no_folder_gets_crowded(self, files, location):
        FeatureCache(Spell(), location).fit_transform(files)
        assert {len(entry.parent.name) for entry in entries(location)} == {2}

    def test_old_leftovers_of_killed_processes_go(self, files, location):
        cache = FeatureCache(Spell(), location)
        cache.fit_transform(files[:1])
        (entry,) = entries(location)
        old, fresh = (entry.with_name(f"{name}.tmp") for name in ("old", "fresh"))
        for path in (old, fresh):
            path.write_bytes(b"half an entr")
        os.utime(old, (0, 0))
        entry.unlink()
        assert_same(cache.transform(files), Spell().transform(files))
        assert [path.exists() for path in (old, fresh, entry)] == [False, True, True]
        assert sorted(location.rglob("*.tmp")) == [fresh]

    def test_failed_write_leaves_nothing(self, files, location, monkeypatch):
        cache = FeatureCache(Spell(), location).fit(files)

        def full(*args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match=r"No space left on device.*another folder: .*\.npy"):
            cache.transform(files)
        assert not [path for path in location.rglob("*") if path.is_file()]


class TestSampleRates:
    @pytest.fixture
    def mixed(self, tmp_path):
        paths = []
        for rate in (8000, 16000, 44100, 48000):
            paths.append(str(tmp_path / f"at_{rate}.wav"))
            seconds = np.arange(rate) / rate
            soundfile.write(paths[-1], np.sin(2 * np.pi * 1000 * seconds) / 2, rate)
        return paths

    @pytest.mark.parametrize("n_jobs", [None, 2])
    def test_files_of_all_rates(self, mixed, location, n_jobs):
        steps = make_pipeline(AudioLoader(), LogMelSpectrogram())
        cache = FeatureCache(steps, location, n_jobs=n_jobs)
        with pytest.warns(SkaudioWarning) as caught:
            found = cache.fit_transform(mixed * 20)
        assert len(caught) == 1
        assert f"{mixed[0]} from 8000 Hz" in str(caught[0].message)
        loudest = {int(feature.mean(axis=1).argmax()) for feature in found}
        assert len(loudest) == 1

    def test_upsampling_is_warned_of_once_for_many_files(self, location, tmp_path):
        paths = [str(tmp_path / f"{i}.wav") for i in range(50)]
        for path in paths:
            soundfile.write(path, np.full(400, 0.1), 8000)
        with pytest.warns(SkaudioWarning, match="50 of 50 clips are converted") as caught:
            FeatureCache(AudioLoader(), location).fit(paths).transform(paths)
        assert len(caught) == 1
        assert caught[0].filename == __file__

    @pytest.mark.parametrize("transformer", [LogMelSpectrogram, MFCC, Spectrogram])
    @pytest.mark.parametrize("rate", [8000, 44100])
    def test_two_rates_are_refused_everywhere(self, mixed, location, transformer, rate):
        steps = make_pipeline(AudioLoader(), transformer(sample_rate=rate))
        with pytest.raises(SampleRateError, match=f"at 16000 Hz, but .* sample_rate={rate}"):
            steps.fit_transform(mixed[1:])
        with pytest.raises(SampleRateError, match=f"at 16000 Hz, but .* sample_rate={rate}"):
            FeatureCache(steps, location).fit(mixed[1:])
        between = FunctionTransformer(_unchanged)
        steps = make_pipeline(AudioLoader(), between, transformer(sample_rate=rate))
        with pytest.raises(SampleRateError, match=f"at 16000 Hz, but .* sample_rate={rate}"):
            FeatureCache(steps, location).fit_transform(mixed[1:])
        assert not entries(location)

    def test_the_files_own_rate_must_be_that_of_the_features(self, mixed, location):
        steps = make_pipeline(AudioLoader(sample_rate=None), LogMelSpectrogram())
        with pytest.raises(SampleRateError, match="at 44100 Hz, but .* sample_rate=16000"):
            FeatureCache(steps, location).fit(mixed[2:])
        assert len(FeatureCache(steps, location).fit_transform(mixed[1:2])) == 1

    def test_each_rate_has_features_of_its_own(self, mixed, location):
        for rate in (8000, 16000, 8000):
            FeatureCache(AudioLoader(sample_rate=rate), location).fit_transform(mixed[2:])
        assert len(entries(location)) == 4
        for path in (mixed[2], mixed[3], mixed[2]):  # learned from the file
            FeatureCache(AudioLoader(sample_rate=None), location).fit_transform([path])
        assert len(entries(location)) == 6

    @pytest.mark.parametrize("pad", [False, True])
    def test_cached_waveforms_remember_their_rate(self, mixed, location, pad):
        loader = AudioLoader(duration=0.5, pad=pad)
        cache = FeatureCache(loader, location)
        for _ in ("computed", "read"):
            found = cache.fit_transform(mixed[1:])
            assert_same(found, loader.fit_transform(mixed[1:]))
            assert [clip.sample_rate for clip in found] == [16000] * 3
            with pytest.raises(SampleRateError, match="at 16000 Hz, but .* sample_rate=8000"):
                LogMelSpectrogram(sample_rate=8000).fit(found)

    def test_plain_arrays_are_taken_at_the_rate_of_the_loader(self, location):
        steps = make_pipeline(AudioLoader(), LogMelSpectrogram(sample_rate=8000))
        with pytest.raises(SampleRateError, match="16000 Hz, but .*sample_rate=8000"):
            FeatureCache(steps, location).fit_transform(np.zeros((2, 1000)))
        with pytest.raises(SampleRateError, match="16000 Hz, but .*sample_rate=8000"):
            steps.fit_transform(np.zeros((2, 1000)))


def _unchanged(clips):
    return clips


class TestBadInput:
    def test_mixed_rates_are_not_hidden(self, recorded, location, tmp_path):
        other = str(tmp_path / "other.wav")
        soundfile.write(other, np.full(4000, 0.1), 16000)
        cache = FeatureCache(make_pipeline(AudioLoader(sample_rate=None)), location)
        for paths in (recorded, [other], recorded):
            cache.fit_transform(paths)
        for _ in range(2):
            with pytest.raises(SampleRateError, match=r"other\.wav: recorded at 16000 Hz"):
                cache.fit_transform([*recorded, other])
            with pytest.raises(SampleRateError, match=r"take_\d\.wav: recorded at 8000 Hz"):
                cache.fit_transform([other, *recorded])
            with pytest.raises(SampleRateError, match=r"other\.wav: recorded at 16000 Hz"):
                cache.fit(recorded).transform([other])

    def test_a_bad_file_is_named_and_the_good_are_kept(self, recorded, location, tmp_path):
        bad = tmp_path / "bad.wav"
        bad.write_text("no sound")
        paths = [*recorded, str(bad)]
        cache = FeatureCache(AudioLoader(sample_rate=RATE), location)
        with pytest.raises(AudioFormatError, match=r"bad\.wav"):
            cache.fit_transform(paths)
        assert len(entries(location)) == 4

    @pytest.mark.parametrize("n_jobs", [None, 2])
    def test_all_bad_files_at_once(self, recorded, location, tmp_path, n_jobs):
        (tmp_path / "bad.wav").write_text("no sound")
        paths = [str(tmp_path / "bad.wav"), *recorded, str(tmp_path / "missing.wav")]
        cache = FeatureCache(
            AudioLoader(sample_rate=RATE, on_error="report"), location, n_jobs=n_jobs
        )
        with pytest.raises(AudioFormatError, match=r"2 files(.|\n)*bad\.wav(.|\n)*missing\.wav"):
            cache.fit_transform(paths)
        assert len(entries(location)) == 4

    def test_a_file_that_has_gone(self, recorded, location):
        cache = FeatureCache(AudioLoader(sample_rate=RATE), location)
        cache.fit_transform(recorded)
        Path(recorded[1]).unlink()
        with pytest.raises(AudioFormatError, match=r"take_1\.wav"):
            cache.transform(recorded)

    @pytest.mark.parametrize("wrap", [lambda step: step, partial(make_pipeline, Spell())])
    def test_steps_that_learn_are_refused(self, files, location, wrap):
        with pytest.raises(ValueError, match=r"BandScaler learns .*FeatureCache\(...\), BandSc"):
            FeatureCache(wrap(BandScaler()), location).fit(files)

    def test_parameters_without_a_value_to_compare(self, files, location):
        steps = make_pipeline(Spell(), FunctionTransformer(lambda X: X))
        with pytest.raises(ValueError, match=r"steps\.func is <function .*lambda"):
            FeatureCache(steps, location).fit(files)
        with pytest.raises(ValueError, match=r"steps\.value is <object"):
            FeatureCache(Note(object()), location).fit(files)

    @pytest.mark.parametrize("result", [[], [["a"]], 3.0], ids=str)
    def test_steps_must_give_one_array_per_clip(self, files, location, result):
        steps = FunctionTransformer(_give, kw_args={"result": result})
        with pytest.raises(ValueError, match=r"take_0\.bin: the steps of FeatureCache returned"):
            FeatureCache(steps, location).fit_transform(files)

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"steps": 3}, "'steps' parameter of FeatureCache .* Got 3"),
            ({"location": None}, "'location' parameter of FeatureCache .* Got None"),
            ({"n_jobs": 0.5}, "'n_jobs' parameter of FeatureCache .* Got 0.5"),
        ],
    )
    def test_parameters(self, files, location, parameters, message):
        with pytest.raises(ValueError, match=message):
            FeatureCache(Spell(), location).set_params(**parameters).fit(files)


def _give(X, result):
    return result


WORKER = """
import os, sys, time
from pathlib import Path
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from skaudio.features import FeatureCache

home = Path(__file__).parent

class Count(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        time.sleep(float(os.environ["PAUSE"]))
        known = home / "diary"
        if known.exists() and len(known.read_text().split()) >= float(os.environ["HANG_AFTER"]):
            time.sleep(600)
        with open(home / "diary", "a") as diary:
            diary.writelines(f"{Path(path).name}\\n" for path in X)
        return np.stack([np.fromfile(path, np.uint8, 4) for path in X])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags

paths = sorted(map(str, (home / "clips").iterdir()))
"""
SEARCH = """
if __name__ == "__main__":
    import counting
    cache = FeatureCache(counting.Count(), home / "features")
    search = GridSearchCV(
        make_pipeline(cache, DummyClassifier(strategy="constant")),
        {"dummyclassifier__constant": [0, 1]}, cv=3, n_jobs=2, error_score="raise",
    )
    search.fit(paths, [0, 1] * (len(paths) // 2))
    assert len(search.cv_results_["params"]) == 2
"""
TRANSFORM = """
if __name__ == "__main__":
    import counting
    found = FeatureCache(counting.Count(), home / "features").fit_transform(paths)
    np.testing.assert_array_equal(found, np.stack([np.fromfile(p, np.uint8, 4) for p in paths]))
"""


@pytest.fixture
def start(tmp_path, files):
    """Start a Python process that writes each computation into a diary."""
    (tmp_path / "counting.py").write_text(WORKER)
    for i in range(6, 40):  # more than are computed at a time
        (tmp_path / "clips" / f"take_{i}.bin").write_bytes(bytes(range(i, i + 4)))

    started = []

    def start(code, pause=0.0, hang_after=math.inf):
        script = tmp_path / "script.py"
        script.write_text(f"from counting import *\nimport sys\n{code}")
        paths = [str(tmp_path), str(Path(__file__).parents[2])]
        environment = os.environ | {
            "PAUSE": str(pause), "HANG_AFTER": str(hang_after), "PYTHONPATH": os.pathsep.join(paths)
        }  # fmt: skip
        command = [sys.executable, "-W", "error", str(script)]
        started.append(subprocess.Popen(command, env=environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


class TestManyProcesses:
    @pytest.fixture
    def diary(self, tmp_path):
        return tmp_path / "diary"

    def counts(self, diary):
        """How often each clip was computed."""
        names = [path.name for path in (diary.parent / "clips").iterdir()]
        computed = diary.read_text().split()
        assert set(computed) == set(names)
        return [computed.count(name) for name in names]

    def test_a_grid_search_in_two_processes_computes_no_clip_thrice(self, start, diary):
        assert start(SEARCH).wait(timeout=100) == 0
        assert max(self.counts(diary)) <= 2
        diary.unlink()
        assert start(SEARCH).wait(timeout=100) == 0
        assert not diary.exists()

    @pytest.mark.slow
    def test_two_processes_at_once(self, start, diary):
        for process in [start(TRANSFORM, pause=0.5) for _ in range(2)]:
            assert process.wait(timeout=100) == 0
        assert max(self.counts(diary)) <= 2
        found = entries(diary.parent / "features")
        assert len(found) == 40

    def test_a_killed_run_is_resumed(self, start, diary):
        process = start(TRANSFORM, hang_after=24)
        # Tasks of 16, 16 and 8 clips in any order: from 24 on one is left, and one is complete.
        while not diary.exists() or len(diary.read_text().split()) < 24:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait(timeout=100)
        kept = len(entries(diary.parent / "features"))
        assert 8 <= kept < 40
        diary.unlink()
        assert start(TRANSFORM).wait(timeout=100) == 0
        assert len(diary.read_text().split()) == 40 - kept


@parametrize_with_checks(
    [
        FeatureCache(LogMelSpectrogram(sample_rate=RATE), "features"),
        FeatureCache(make_pipeline(AudioLoader(), LogMelSpectrogram()), "features"),
    ]
)
def test_scikit_learns_checks(estimator, check, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(estimator)
