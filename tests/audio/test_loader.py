import tracemalloc
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from skaudio.audio import AudioLoader, Waveform, read
from skaudio.exceptions import AudioFormatError, SampleRateError, SkaudioWarning

RATE = 8000
SECONDS = (0.5, 1.0, 0.75, 0.25)


@pytest.fixture
def paths(tmp_path):
    """Four files of unequal lengths at one rate."""
    rng = np.random.default_rng(0)
    names = []
    for i, seconds in enumerate(SECONDS):
        names.append(str(tmp_path / f"take_{i:02}.wav"))
        soundfile.write(names[-1], rng.uniform(-0.5, 0.5, round(seconds * RATE)), RATE)
    return names


@pytest.fixture
def fast_file(tmp_path):
    path = tmp_path / "fast.flac"
    soundfile.write(path, np.full(44100, 0.25), 44100)
    return str(path)


@pytest.mark.parametrize(
    "wrap",
    [
        list,
        tuple,
        np.array,
        lambda paths: np.array(paths, dtype=object)[:, np.newaxis],
        pd.Series,
        lambda paths: pd.DataFrame({"file": paths}, index=range(9, 5, -1)),
        lambda paths: [Path(path) for path in paths],
    ],
)
def test_any_collection_of_paths_gives_the_waveforms_of_read(paths, wrap):
    clips = AudioLoader(sample_rate=None).fit_transform(wrap(paths))
    assert isinstance(clips, list)
    for path, clip in zip(paths, clips, strict=True):
        np.testing.assert_array_equal(clip, read(path)[0])


def test_fit_learns_the_rate_of_the_first_file(paths, fast_file):
    assert AudioLoader(sample_rate=None).fit(paths).sample_rate_ == RATE
    assert AudioLoader(sample_rate=None).fit([fast_file, *paths]).sample_rate_ == 44100
    assert AudioLoader().fit(paths).sample_rate_ == 16000


def test_mixed_rates_are_refused_where_nothing_is_converted(paths, fast_file):
    loader = AudioLoader(sample_rate=None).fit(paths)
    with pytest.raises(SampleRateError, match=r"fast.flac: recorded at 44100 Hz, expected 8000 Hz"):
        loader.transform([*paths, fast_file])


@pytest.mark.filterwarnings("ignore:4 of 5 clips are converted to 16000")
def test_rates_are_converted(paths, fast_file):
    clips = AudioLoader().fit_transform([*paths, fast_file])
    assert [len(clip) for clip in clips] == [8000, 16000, 12000, 4000, 16000]
    np.testing.assert_array_equal(clips[0], read(paths[0], sample_rate=16000)[0])


def test_offset_and_duration_cut_every_clip(paths):
    clips = AudioLoader(sample_rate=RATE, offset=0.125, duration=0.5).fit_transform(paths)
    assert [len(clip) for clip in clips] == [3000, 4000, 4000, 1000]
    for path, clip in zip(paths, clips, strict=True):
        np.testing.assert_array_equal(clip, read(path)[0][1000:5000])


@pytest.mark.parametrize("sample_rate", [None, 8000, 8500])
def test_pad_gives_one_array(paths, fast_file, sample_rate):
    files = paths if sample_rate is None else [*paths, fast_file]
    padded = AudioLoader(sample_rate=sample_rate, duration=0.6, pad=True).fit_transform(files)
    ragged = AudioLoader(sample_rate=sample_rate, duration=0.6).fit_transform(files)
    width = round(0.6 * (sample_rate or RATE))
    assert padded.shape == (len(files), width)
    assert padded.dtype == np.float32
    for row, clip in zip(padded, ragged, strict=True):
        n = min(len(clip), width)
        np.testing.assert_array_equal(row[:n], clip[:n])
        assert not row[n:].any()


@pytest.mark.parametrize("n_jobs", [2, -1])
@pytest.mark.parametrize("pad", [False, True])
def test_any_number_of_jobs_gives_the_same(paths, n_jobs, pad):
    many = paths * 80  # more than one block
    loader = AudioLoader(sample_rate=RATE, duration=0.5, pad=pad)
    one, several = loader.fit_transform(many), loader.set_params(n_jobs=n_jobs).transform(many)
    for a, b in zip(one, several, strict=True):
        np.testing.assert_array_equal(a, b)


def test_joblib_context_sets_the_backend(paths):
    used = []

    class Spy(joblib.parallel.ThreadingBackend):
        def configure(self, n_jobs=1, **options):
            used.append(n_jobs)
            return super().configure(n_jobs=n_jobs, **options)

    joblib.register_parallel_backend("spy", Spy)
    with joblib.parallel_config(backend="spy", n_jobs=2):
        AudioLoader(sample_rate=RATE).fit_transform(paths)
    assert used == [2]


@pytest.mark.slow
def test_processes_can_read_too(paths):
    with joblib.parallel_config(backend="loky", n_jobs=2):
        clips = AudioLoader(sample_rate=RATE).fit_transform(paths)
    np.testing.assert_array_equal(clips[3], read(paths[3])[0])


# Sample rates


@pytest.fixture
def mixed(tmp_path):
    """One second of one tone in files of four rates."""
    names = []
    for rate in (8000, 16000, 44100, 48000):
        names.append(str(tmp_path / f"at_{rate}.wav"))
        soundfile.write(names[-1], np.sin(2 * np.pi * 1000 * np.arange(rate) / rate) / 2, rate)
    return names


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.filterwarnings("ignore:1 of 4 clips are converted to 16000")
def test_files_of_all_rates_become_waveforms_of_one(mixed, pad):
    clips = AudioLoader(duration=1.0, pad=pad).fit_transform(mixed)
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000) / 2
    for clip in clips:
        assert clip.sample_rate == 16000
        np.testing.assert_allclose(clip[1000:-1000], tone[1000:-1000], atol=1e-3)
    if pad:
        assert clips.sample_rate == clips[1:3].sample_rate == 16000


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_upsampling_is_warned_of_once_a_call(mixed, n_jobs):
    loader = AudioLoader(sample_rate=44100, n_jobs=n_jobs).fit(mixed)
    with pytest.warns(SkaudioWarning) as caught:
        loader.transform(mixed * 30)
    (warning,) = caught
    message = "60 of 120 clips are converted to 44100 Hz from a lower rate, such as "
    assert str(warning.message).startswith(f"{message}{mixed[0]} from 8000 Hz")
    loader.transform(mixed[2:])


def test_load_tells_the_rates_of_the_files_and_does_not_warn(mixed):
    loader = AudioLoader().fit(mixed)
    clips, rates = loader.load(mixed)
    assert rates == [8000, 16000, 44100, 48000]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = loader.transform(mixed)
    for clip, other in zip(clips, expected, strict=True):
        np.testing.assert_array_equal(clip, other)


@pytest.mark.parametrize("as_array", [False, True])
def test_waveforms_of_another_rate_are_converted(mixed, as_array):
    clips = AudioLoader(sample_rate=48000).fit_transform(mixed[3:] * 2)
    X = Waveform(np.stack(clips), 48000) if as_array else clips
    converted = AudioLoader().fit_transform(X)
    assert isinstance(converted, Waveform if as_array else list)
    for clip in converted:
        assert clip.sample_rate == 16000
        np.testing.assert_array_equal(clip, read(mixed[3], sample_rate=16000)[0])
    cut = AudioLoader(offset=0.25, duration=0.5).fit_transform(X)
    np.testing.assert_array_equal(cut[1], converted[1][4000:12000])


def test_waveforms_of_another_rate_are_refused_where_nothing_is_converted(mixed):
    clips = [read(path)[0] for path in mixed]
    loader = AudioLoader(sample_rate=None).fit(clips)
    assert loader.sample_rate_ == 8000
    with pytest.raises(SampleRateError, match=r"Clip 1: recorded at 16000 Hz, expected 8000 Hz"):
        loader.transform(clips)
    assert loader.transform(clips[:1])[0].sample_rate == 8000


def test_a_waveform_that_cannot_be_converted_is_named():
    clips = [Waveform(np.ones(100), 48000), Waveform(np.ones(1), 48000)]
    with pytest.raises(AudioFormatError, match="Clip 1: too short, 1 samples at 48000 Hz"):
        AudioLoader(sample_rate=16000).fit_transform(clips)


@pytest.mark.parametrize("as_array", [False, True])
@pytest.mark.parametrize("array_rate", [12000, 48000])
def test_plain_waveforms_have_the_rate_that_is_passed(as_array, array_rate):
    tones = np.sin(np.arange(2 * 6000, dtype=np.float32).reshape(2, 6000) / 9)
    X = tones if as_array else [*tones]
    clips = AudioLoader(array_rate=array_rate, sample_rate=array_rate // 3).fit_transform(X)
    remembering = [Waveform(tone, array_rate) for tone in tones]
    expected = AudioLoader(sample_rate=array_rate // 3).fit_transform(remembering)
    np.testing.assert_array_equal(clips, np.stack(expected))
    assert clips[0].sample_rate == array_rate // 3
    assert isinstance(clips, np.ndarray) == as_array
    assert AudioLoader(sample_rate=None, array_rate=array_rate).fit(X).sample_rate_ == array_rate


def test_a_fit_to_files_forgets_the_arrays_before(paths):
    loader = AudioLoader().fit(np.zeros((2, 800))).fit(paths)
    assert not hasattr(loader, "n_features_in_")
    assert loader.transform(np.zeros((2, 900))).shape == (2, 900)


def test_waveforms_of_a_known_lower_rate_are_converted_without_a_word():
    X = [np.ones(800), Waveform(np.ones(800), 16000), np.ones(80), Waveform(np.ones(80), 8000)]
    clips = AudioLoader(array_rate=8000).fit_transform(X)
    assert [len(clip) for clip in clips] == [1600, 800, 160, 160]


def test_plain_waveforms_are_taken_at_the_rate_of_the_loader():
    clips = AudioLoader(sample_rate=11025).fit_transform([np.ones(5), np.ones(7)])
    assert [clip.sample_rate for clip in clips] == [11025, 11025]


class Crest(BaseEstimator):
    """An estimator at the end that tells the rate of what it gets."""

    def fit(self, X, y=None):
        self.rates_ = {clip.sample_rate for clip in X}
        return self

    def score(self, X, y=None):
        (rate,) = self.rates_ | {clip.sample_rate for clip in X}
        return rate


@pytest.mark.parametrize("pad", [False, True])
def test_rates_survive_cross_validation(paths, pad):
    clips = AudioLoader(sample_rate=RATE, duration=0.5, pad=pad).fit_transform(paths)
    assert list(cross_val_score(Crest(), clips, [0, 1, 0, 1], cv=2)) == [RATE, RATE]


def test_a_progress_bar(paths, capsys):
    AudioLoader(sample_rate=RATE).fit_transform(paths)
    assert capsys.readouterr().err == ""
    AudioLoader(sample_rate=RATE, verbose=1).fit_transform(paths)
    assert "4/4" in capsys.readouterr().err


# Waveforms


@pytest.mark.parametrize("X", [np.ones((3, 100)), [np.ones(5), np.ones(7)]])
def test_waveforms_pass_unchanged(X):
    clips = AudioLoader().fit_transform(X)
    assert isinstance(clips, type(X))
    for before, after in zip(X, clips, strict=True):
        assert after.dtype == np.float32
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize("as_array", [False, True])
def test_waveforms_are_cut_as_their_files_would_be(paths, pad, as_array):
    files = [paths[1], paths[1]] if as_array else paths
    waveforms = [np.asarray(clip) for clip in AudioLoader(sample_rate=RATE).fit_transform(files)]
    loader = AudioLoader(sample_rate=RATE, offset=0.1, duration=1.0, pad=pad)
    from_files = loader.fit_transform(files)
    from_waveforms = loader.fit_transform(np.stack(waveforms) if as_array else waveforms)
    for a, b in zip(from_files, from_waveforms, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_loader_fitted_on_files_takes_waveforms(paths):
    loader = AudioLoader(sample_rate=None, duration=0.25).fit(paths)
    assert loader.transform(np.ones((2, RATE))).shape == (2, RATE // 4)


@pytest.mark.parametrize(
    ("loader", "X", "message"),
    [
        (
            AudioLoader(sample_rate=None, duration=1.0),
            np.ones((2, 50)),
            "plain arrays, which carry no sample rate",
        ),
        (
            AudioLoader(sample_rate=100, offset=1.0),
            [np.ones(500), np.ones(100)],
            "Clip 1 has 100 samples, expected more than the 100 of offset=1.0 s at 100 Hz",
        ),
        (AudioLoader(pad=True), np.ones((2, 50)), "pad=True needs a length to pad to"),
        (AudioLoader(on_error="ignore"), np.ones((2, 50)), "'on_error' parameter"),
        (AudioLoader(sample_rate=0), np.ones((2, 50)), "'sample_rate' parameter"),
        (AudioLoader(sample_rate=10**9), np.ones((2, 50)), "'sample_rate' parameter"),
        (AudioLoader(verbose="yes"), np.ones((2, 50)), "'verbose' parameter"),
        (AudioLoader(offset=-1.0), np.ones((2, 50)), "'offset' parameter"),
        (AudioLoader(duration=0.0), np.ones((2, 50)), "'duration' parameter"),
        (AudioLoader(), "take_07.wav", r"Expected a list of paths, got the single path 'take_07"),
        (AudioLoader(), [np.ones(3), [np.nan, 1.0]], "contains NaN, first in clip 1"),
        (AudioLoader(), [np.ones(3), np.ones(0)], "Clip 1 is empty"),
    ],
)
def test_refusals(loader, X, message):
    with pytest.raises(ValueError, match=message):
        loader.fit_transform(X)


def test_paths_and_arrays_do_not_mix(paths):
    with pytest.raises(AudioFormatError, match="Clip 1 is 3, but the first clip is a path"):
        AudioLoader().fit_transform([paths[0], 3])


def test_paths_after_a_fit_on_waveforms_need_a_rate(paths):
    loader = AudioLoader(sample_rate=None).fit(np.ones((2, 50)))
    with pytest.raises(SampleRateError, match="Pass sample_rate, or fit on the files"):
        loader.transform(paths)


def test_one_bad_file_among_thousands_is_named(paths, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"not a sound")
    files = paths * 500
    files[1234] = str(bad)
    with pytest.raises(AudioFormatError, match=rf"^{bad}: cannot be read"):
        AudioLoader(n_jobs=2).fit_transform(files)


def test_a_damaged_length_is_one_bad_file_of_many(paths, tmp_path):
    damaged = tmp_path / "damaged.flac"
    soundfile.write(damaged, np.random.default_rng(0).uniform(-0.5, 0.5, RATE), RATE)
    content = bytearray(damaged.read_bytes())
    content[22:26] = b"\xff" * 4  # the lower bits of the number of samples
    damaged.write_bytes(content)
    loader = AudioLoader(sample_rate=RATE, on_error="report")
    with pytest.raises(AudioFormatError, match=r"^1 of 5 files cannot be used:\n .*damaged.flac:"):
        loader.fit_transform([*paths, damaged])


@pytest.mark.parametrize("pad", [False, True])
def test_all_bad_files_are_reported_at_once(paths, fast_file, tmp_path, pad):
    (tmp_path / "empty.wav").touch()
    files = [str(tmp_path / "gone.wav"), *paths, fast_file, str(tmp_path / "empty.wav")]
    with pytest.raises(AudioFormatError) as caught:
        AudioLoader(sample_rate=None, on_error="report", duration=1.0, pad=pad).fit(
            paths
        ).transform(files)
    head, *lines = str(caught.value).splitlines()
    assert head == "3 of 7 files cannot be used:"
    for line, reason in zip(
        lines,
        ("gone.wav: no such file", "fast.flac: recorded at 44100 Hz", "empty.wav: is empty"),
        strict=True,
    ):
        assert reason in line


def test_report_when_no_file_can_be_read_at_all(tmp_path):
    files = [tmp_path / "a.wav", tmp_path / "b.wav"]
    with pytest.raises(AudioFormatError, match=r"2 of 2 files cannot be used:\n.*a.wav.*\n.*b.wav"):
        AudioLoader(sample_rate=None, on_error="report").fit(files)


class Loudness(TransformerMixin, BaseEstimator):
    """A next step that gives a table."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.array([[np.abs(clip).max()] for clip in X])

    def get_feature_names_out(self, input_features=None):
        return np.array(["loudness"], dtype=object)

    def __sklearn_is_fitted__(self):
        return True


@pytest.mark.parametrize("pad", [False, True])
def test_pandas_output_leaves_waveforms_alone(paths, pad):
    loader = AudioLoader(sample_rate=RATE, duration=0.5, pad=pad)
    with config_context(transform_output="pandas"):
        assert isinstance(loader.fit_transform(paths), np.ndarray if pad else list)
    pipeline = make_pipeline(loader, Loudness()).set_output(transform="pandas")
    frame = pipeline.fit_transform(paths)
    assert list(frame.columns) == ["loudness"]
    assert len(frame) == len(paths)


def test_memory_is_the_padded_result_and_a_few_clips(tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.zeros(RATE), RATE)
    files = [path] * 640
    loader = AudioLoader(sample_rate=RATE, duration=1.0, pad=True, n_jobs=2).fit(files)
    tracemalloc.start()
    clips = loader.transform(files)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.3 * clips.nbytes


def test_mono_of_real_recordings(recordings):
    table = pd.read_csv(recordings / "esc10.csv").head(6)
    files = [recordings / file for file in table["file"]]
    clips = AudioLoader(sample_rate=16000, duration=2.0, pad=True, n_jobs=2).fit_transform(files)
    assert clips.shape == (6, 32000)
    assert np.abs(clips).max() <= 1.1
