import pickle
import subprocess
import sys
import tracemalloc
import warnings

import joblib
import librosa
import numpy as np
import pandas as pd
import pytest
import sklearn
import soundfile
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import lfilter
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skaudio.audio import AudioLoader
from skaudio.exceptions import AudioFormatError, SkaudioWarning
from skaudio.features import MFCC, BandScaler, LogMelSpectrogram, TemporalStatistics

RATE = 16000
N_MELS = LogMelSpectrogram().n_mels
EMONET = {
    "n_fft": 1024, "hop_length": 512, "center": False, "n_mels": 64, "fmin": 20, "fmax": 8000,
    "htk": True, "norm": None, "triangles": "mel", "log": "ln",
}  # fmt: skip


def noise(n_clips=3, n_samples=RATE, seed=0):
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal((n_clips, n_samples))).astype(np.float32)


def tone(frequency, n_samples=RATE, amplitude=0.5):
    seconds = np.arange(n_samples) / RATE
    return (amplitude * np.sin(2 * np.pi * frequency * seconds)).astype(np.float32)


def by_librosa(waveform, ref=1.0, amin=1e-10, top_db=80.0, **settings):
    settings = {"n_fft": 512, "hop_length": 128, "n_mels": N_MELS, "sr": RATE, **settings}
    power = librosa.feature.melspectrogram(y=waveform, **settings)
    return librosa.power_to_db(power, ref=ref, amin=amin, top_db=top_db)


def assert_equals_librosa(ours, theirs):
    assert ours.dtype == np.float32
    assert ours.shape == theirs.shape
    error = np.abs(ours - theirs)
    assert error.max() < 1e-3
    assert error[theirs > theirs.max() - 40].max() < 1e-4


# Laws


@pytest.mark.parametrize("bands", [{}, {"htk": True}, {"htk": True, "triangles": "mel"}])
@pytest.mark.parametrize("frequency", [150.0, 1000.0, 5000.0])
def test_a_tone_lights_its_own_band(bands, frequency):
    htk = bands.get("htk", False)
    centres = librosa.mel_frequencies(N_MELS + 2, fmin=0, fmax=RATE / 2, htk=htk)[1:-1]
    clip = tone(frequency)[np.newaxis]
    loudest = LogMelSpectrogram(n_fft=2048, norm=None, **bands).fit_transform(clip)[0].mean(axis=1)
    assert np.argmax(loudest) == np.argmin(np.abs(centres - frequency))


def test_twice_the_amplitude_is_six_decibels_more():
    transformer = LogMelSpectrogram(top_db=None, amin=1e-20)
    louder = transformer.fit_transform(2 * noise()) - transformer.fit_transform(noise())
    assert_allclose(louder, 20 * np.log10(2), atol=1e-4)


def test_twice_the_hop_is_every_other_frame():
    every = LogMelSpectrogram(hop_length=128, top_db=None).fit_transform(noise())
    other = LogMelSpectrogram(hop_length=256, top_db=None).fit_transform(noise())
    assert_allclose(other, every[:, :, ::2], atol=1e-4)


def test_a_shift_by_a_hop_shifts_by_a_frame():
    transformer = LogMelSpectrogram(center=False, top_db=None)
    clips = noise()
    here, shifted = transformer.fit_transform(clips), transformer.fit_transform(clips[:, 128:])
    assert_allclose(shifted, here[:, :, 1:], atol=1e-4)


def test_permuting_clips_permutes_features_and_each_is_as_if_alone():
    clips = noise(5)
    together = LogMelSpectrogram().fit_transform(clips)
    assert_array_equal(LogMelSpectrogram().fit_transform(clips[::-1]), together[::-1])
    for clip, feature in zip(clips, together, strict=True):
        assert_array_equal(LogMelSpectrogram().fit_transform([clip])[0], feature)


def test_threads_do_not_change_the_bits():
    clips = noise(40)
    one = LogMelSpectrogram(n_jobs=1).fit_transform(clips)
    assert_array_equal(LogMelSpectrogram(n_jobs=3).fit_transform(clips), one)
    with joblib.parallel_config(n_jobs=2):
        assert_array_equal(LogMelSpectrogram().fit_transform(clips), one)


def test_natural_logarithm_and_plain_power():
    power = LogMelSpectrogram(log=None).fit_transform(noise())
    assert power.min() >= 0
    logarithm = LogMelSpectrogram(log="ln", eps=1e-3).fit_transform(noise())
    assert_allclose(logarithm, np.log(power + 1e-3), atol=1e-5)


def test_top_db_and_ref_look_at_each_clip_alone():
    clips = np.stack([noise(1)[0], 1e-3 * noise(1)[0]])
    features = LogMelSpectrogram(ref="max", top_db=20).fit_transform(clips)
    assert_allclose(features.max(axis=(1, 2)), 0, atol=1e-5)
    assert_allclose(features.min(axis=(1, 2)), -20, atol=1e-5)


def test_gain_and_colour_are_taken_away_with_the_clip_mean():
    coloured = lfilter([0.3, 0.2, 0.1], [1.0, -0.5], noise())
    transformer = LogMelSpectrogram(top_db=None, subtract_clip_mean=True)
    plain, other = transformer.fit_transform(noise()), transformer.transform(coloured)
    assert_allclose(plain.mean(axis=2), 0, atol=1e-4)
    transformer.set_params(subtract_clip_mean=False)
    kept, coloured = transformer.fit_transform(noise()), transformer.transform(coloured)
    assert_allclose(plain, kept - kept.mean(axis=2, keepdims=True), atol=1e-4)
    steady = transformer.set_params(subtract_clip_mean=True).transform(np.zeros((1, RATE)))
    assert_array_equal(steady, 0)  # to the last bit: a scale would blow up what rounding leaves
    # not quite, since a filter reaches over the edges of frames
    assert np.abs(other - plain).mean() < 0.02 * np.abs(coloured - kept).mean()


# References


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_fft": 2048, "hop_length": 512, "n_mels": 128},
        {"n_fft": 1000, "hop_length": 300, "win_length": 700},
        {"n_fft": 513, "hop_length": 128},
        {"window": "hamming", "fmin": 300.0, "fmax": 6000.0},
        {"window": ("kaiser", 8.0), "power": 1.0},
        {"htk": True, "norm": None},
        {"norm": np.inf, "n_fft": 1024, "hop_length": 256},
        {"norm": 1.0, "n_fft": 1024, "hop_length": 256},
        {"center": False},
        {"pad_mode": "reflect"},
        {"pad_mode": "edge", "ref": np.max},
        {"pad_mode": "symmetric", "ref": np.median, "amin": 1e-5, "top_db": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("frequency", [None, 203.3, 1000.0])
def test_numbers_are_those_of_librosa(settings, frequency):
    clip = noise(1)[0] if frequency is None else tone(frequency)
    ours = LogMelSpectrogram(**settings).fit_transform([clip])[0]
    assert_equals_librosa(ours, by_librosa(clip, **settings))


@pytest.mark.parametrize("level", [-60, -80, -100, -120])
@pytest.mark.parametrize("log", ["db", "ln"])
def test_what_is_weak_beside_a_loud_tone_out_of_range_is_exact(level, log):
    clip = tone(100.0) + 10 ** (level / 20) * noise(1)[0]
    settings = {"fmin": 4000.0, "n_mels": 20, "top_db": None, "amin": 1e-16}
    ours = LogMelSpectrogram(log=log, eps=1e-20, **settings).fit_transform([clip])[0]
    expected = by_librosa(clip, **settings)
    if log == "ln":
        ours = ours * (10 / np.log(10))
    # The clip itself is float32: at its ends, where the tone breaks off, all bands are loud.
    assert_allclose(ours, expected, atol=1e-3)


def test_numbers_of_real_recordings_are_those_of_librosa(recordings):
    files = [
        recordings / name
        for table in ("emodb.csv", "esc10.csv", "fsdd.csv")
        for name in pd.read_csv(recordings / table)["file"][::100]
    ]
    assert len(files) > 30
    clips = [soundfile.read(file, dtype="float32", always_2d=True)[0][:, 0] for file in files]
    for ours, clip in zip(LogMelSpectrogram().fit_transform(clips), clips, strict=True):
        assert_equals_librosa(ours, by_librosa(clip))


@pytest.mark.filterwarnings("ignore:n_fft=512 is too large")  # librosa's
@pytest.mark.parametrize("n_samples", [1, 2, 127, 128, 129, 300, 511, 512, 513, 1000])
@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "edge", "symmetric"])
def test_short_clips_are_those_of_librosa(n_samples, pad_mode):
    clip = noise(1, n_samples)[0]
    ours = LogMelSpectrogram(pad_mode=pad_mode).fit_transform([clip])[0]
    assert_equals_librosa(ours, by_librosa(clip, pad_mode=pad_mode))


@pytest.mark.parametrize("n_samples", [1, 500])
def test_a_clip_shorter_than_a_frame_is_padded_behind(n_samples):
    clip = noise(1, n_samples)[0]
    padded = np.zeros(512, dtype=np.float32)
    padded[:n_samples] = clip
    short, whole = LogMelSpectrogram(center=False).fit_transform([clip, padded])
    assert short.shape == (N_MELS, 1)
    assert_array_equal(short, whole)


@pytest.mark.filterwarnings("ignore:Empty filters")  # librosa's
@pytest.mark.parametrize("norm", ["slaney", None, 1, np.inf])
@pytest.mark.parametrize("htk", [False, True])
@pytest.mark.parametrize("bands", [{"n_mels": 40}, {"n_mels": 128, "fmin": 50, "fmax": 7000}])
def test_filters_have_the_bits_of_librosas(bands, htk, norm):
    settings = {"n_fft": 512, "htk": htk, "norm": norm, **bands}
    ours = LogMelSpectrogram(16000, **settings)._plan().filters
    np.testing.assert_array_equal(ours, librosa.filters.mel(sr=16000, **settings))


def test_threads_leave_the_filters_of_warnings_alone(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("Python's warnings are silenced for all threads")

    spectrogram = LogMelSpectrogram(n_mels=256)
    spectrogram._plan()  # imports librosa, which silences some while it loads
    with monkeypatch.context() as patched:
        patched.setattr(warnings, "catch_warnings", fail)
        spectrogram._plan()


def test_triangles_over_mel_against_the_plain_definition():
    def mel(hz):
        return 2595 * np.log10(1 + np.asarray(hz) / 700)

    edges = np.linspace(mel(20), mel(8000), 66)
    bins = mel(np.arange(513) * RATE / 1024)
    expected = np.array([np.interp(bins, edges[i : i + 3], [0, 1, 0]) for i in range(64)])
    assert_allclose(LogMelSpectrogram(**EMONET).layer_arguments()["filters"], expected, atol=1e-6)


def test_triangles_over_mel_with_equal_areas():
    settings = {"n_fft": 4096, "n_mels": 20, "fmin": 1000.0}
    filters = LogMelSpectrogram(triangles="mel", **settings).layer_arguments()["filters"]
    librosas = LogMelSpectrogram(**settings).layer_arguments()["filters"]
    assert_allclose(filters.sum(axis=1), librosas.sum(axis=1), rtol=0.05)


# Golden numbers of EmoNet's published implementation


def test_emonet_features(golden):
    features = LogMelSpectrogram(**EMONET).fit_transform(golden["audio"])
    assert_allclose(features, golden["logmel"].transpose(0, 2, 1), rtol=1e-4, atol=2e-3)


def test_emonet_bands(golden):
    filters = LogMelSpectrogram(**EMONET).layer_arguments()["filters"]
    assert_allclose(filters.T, golden["mel_matrix"], atol=1e-4)


@pytest.fixture(scope="module")
def golden(request):
    return np.load(request.path.parents[1] / "data" / "emonet_logmel.npz")


# Parameters


@pytest.mark.parametrize(
    ("settings", "n_fft", "hop_length"),
    [
        ({}, 512, 128),
        ({"sample_rate": 8000}, 256, 64),
        ({"sample_rate": 44100}, 2048, 512),
        ({"sample_rate": 20480}, 512, 128),
        ({"win_length": 600}, 1024, 150),
        ({"n_fft": 1024, "win_length": 400}, 1024, 100),
        ({"hop_length": 10}, 512, 10),
    ],
)
def test_frames_left_open_are_chosen(settings, n_fft, hop_length):
    arguments = LogMelSpectrogram(**settings).layer_arguments()
    assert (len(arguments["window"]), arguments["hop_length"]) == (n_fft, hop_length)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fmax": 9000}, "fmax=9000 Hz is above 8000 Hz, half of sample_rate=16000"),
        ({"fmin": 5000, "fmax": 4000}, "fmin=5000 Hz is not below fmax=4000 Hz"),
        ({"n_fft": 256, "win_length": 400}, "win_length=400 is longer than n_fft=256"),
        ({"hop_length": 0}, "'hop_length' parameter .* must be an int in the range"),
        ({"sample_rate": 0}, "'sample_rate' parameter"),
        ({"n_mels": 0}, "'n_mels' parameter"),
        ({"pad_mode": "wrap"}, "'pad_mode' parameter"),
        ({"log": "log2"}, "'log' parameter"),
        ({"norm": "area"}, "'norm' parameter"),
        ({"triangles": "bark"}, "'triangles' parameter"),
        ({"amin": 0.0}, "'amin' parameter"),
        ({"amin": 1e-50}, "'amin' parameter"),
        ({"log": "ln", "eps": 1e-50}, "'eps' parameter"),
        ({"top_db": -1}, "'top_db' parameter"),
        ({"window": "triangel"}, "window='triangel' is not a window of scipy.signal.get_window"),
        ({"window": np.ones(5)}, r"window has shape \(5,\), but expected \(512,\)"),
        ({"window": lambda n: np.ones((n, 1))}, r"window has shape \(512, 1\), but expected"),
        ({"window": np.full(512, np.nan)}, "window holds NaN or infinity"),
    ],
)
def test_wrong_parameters(settings, message):
    with pytest.raises(ValueError, match=message):
        LogMelSpectrogram(**settings).fit(noise())
    with pytest.raises(ValueError, match=message):
        LogMelSpectrogram(**settings).transform(noise())


def test_empty_bands_draw_a_warning():
    with pytest.warns(SkaudioWarning, match=r"\d+ of 256 mel bands are empty.*Lower n_mels"):
        LogMelSpectrogram(n_mels=256).fit(noise())
    with pytest.warns(SkaudioWarning, match=r"\d+ of 256 mel bands are empty.*Lower n_mels"):
        LogMelSpectrogram(n_mels=256).layer_arguments()  # estimators fit no front end
    with pytest.warns(SkaudioWarning, match=r"\d+ of 256 mel bands are empty.*Lower n_mels"):
        MFCC(n_mels=256).layer_arguments()


def test_a_window_of_ones_own():
    window = np.hamming(400)
    ours = LogMelSpectrogram(win_length=400, window=window).fit_transform(noise(1))[0]
    settings = {"window": window, "win_length": 400, "hop_length": 100}
    assert_equals_librosa(ours, by_librosa(noise(1)[0], **settings))


# What goes in and comes out


def test_list_in_list_out():
    clips = [noise(1, n)[0] for n in (100, 5000, 16000)]
    features = LogMelSpectrogram().fit_transform(clips)
    assert isinstance(features, list)
    assert [f.shape for f in features] == [(N_MELS, n) for n in (1, 40, 126)]
    assert all(f.dtype == np.float32 for f in features)


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.astype(np.float64),
        lambda x: x.tolist(),
        lambda x: np.asfortranarray(x),
        lambda x: pd.DataFrame(x),
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    ],
)
def test_other_forms_of_the_same_clips(convert):
    features = LogMelSpectrogram().fit_transform(convert(noise()))
    assert_array_equal(features, LogMelSpectrogram().fit_transform(noise()))


def test_paths_are_refused():
    with pytest.raises(AudioFormatError, match="got paths.*AudioLoader"):
        LogMelSpectrogram().fit(["a.wav", "b.wav"])


def test_other_width_than_in_fit_is_refused():
    fitted = LogMelSpectrogram().fit(noise(2, 1000))
    with pytest.raises(ValueError, match="pass clips of other lengths as a list"):
        fitted.transform(noise(2, 900))
    assert len(fitted.transform(list(noise(2, 900)))) == 2


def test_digital_silence_is_finite():
    assert_allclose(LogMelSpectrogram().fit_transform(np.zeros((1, 2000))), -100)


def test_transform_needs_no_fit():
    assert_array_equal(
        LogMelSpectrogram().transform(noise()), LogMelSpectrogram().fit_transform(noise())
    )


def test_names_are_those_of_bands():
    transformer = LogMelSpectrogram(n_mels=3).fit(noise())
    assert transformer.get_feature_names_out().tolist() == ["mel_0", "mel_1", "mel_2"]


def test_pandas_output_leaves_three_axes_alone():
    model = make_pipeline(LogMelSpectrogram(n_mels=3), TemporalStatistics(("mean", "max")))
    table = model.set_output(transform="pandas").fit_transform(noise())
    assert isinstance(table, pd.DataFrame)
    names = ["mel_0_mean", "mel_1_mean", "mel_2_mean", "mel_0_max", "mel_1_max", "mel_2_max"]
    assert model.get_feature_names_out().tolist() == names
    with sklearn.config_context(transform_output="pandas"):
        features = LogMelSpectrogram().fit_transform(noise())
        ragged = LogMelSpectrogram().fit_transform(list(noise()))
    assert isinstance(features, np.ndarray)
    assert isinstance(ragged, list)
    assert isinstance(LogMelSpectrogram().set_output(transform="pandas").transform(noise()),
                      np.ndarray)  # fmt: skip


@pytest.mark.parametrize("loaded", [False, True])
def test_pandas_output_keeps_the_index(loaded, tmp_path):
    clips = list(noise())
    frame = pd.DataFrame({"clip": clips, "number": [0.0, 1.0, 2.0]}).iloc[[2, 0, 1]]
    if loaded:
        frame["clip"] = [str(tmp_path / f"{number}.wav") for number in frame["number"]]
        for path, number in zip(frame["clip"], frame["number"], strict=True):
            soundfile.write(path, clips[int(number)], 16000)
    model = make_pipeline(
        AudioLoader(), LogMelSpectrogram(n_mels=3), BandScaler(), TemporalStatistics(("mean",))
    )
    columns = make_column_transformer((model, "clip"), ("passthrough", ["number"]))
    expected = columns.fit_transform(frame)
    with sklearn.config_context(transform_output="pandas"):
        by_config = clone(columns).fit_transform(frame)
    for found in (by_config, columns.set_output(transform="pandas").fit_transform(frame)):
        assert found.index.tolist() == [2, 0, 1]
        assert_allclose(found.to_numpy(), expected, rtol=1e-6)


def test_a_table_of_one_column_of_clips():
    frame = pd.DataFrame({"clip": [clip[: 900 + 10 * i] for i, clip in enumerate(noise())]})
    expected = LogMelSpectrogram().transform(frame["clip"])
    for found, picture in zip(LogMelSpectrogram().transform(frame), expected, strict=True):
        assert_array_equal(found, picture)


def test_in_a_pipeline_with_plain_functions():
    model = make_pipeline(LogMelSpectrogram(), FunctionTransformer(lambda X: X.mean(axis=2)))
    assert model.fit_transform(noise()).shape == (3, N_MELS)


def test_pickle_and_clone():
    transformer = LogMelSpectrogram(n_mels=20, window=("kaiser", 6.0)).fit(noise())
    restored = pickle.loads(pickle.dumps(transformer))
    assert_array_equal(restored.transform(noise()), transformer.transform(noise()))
    assert clone(transformer).get_params() == transformer.get_params()


def test_layer_arguments_refuse_functions():
    assert LogMelSpectrogram(ref=np.max).layer_arguments()["ref"] == "max"
    with pytest.raises(ValueError, match="cannot run inside a network"):
        LogMelSpectrogram(ref=np.median).layer_arguments()


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_memory_beyond_the_result_does_not_grow(n_jobs):
    clips = np.tile(noise(1, 8000), (2000, 1))
    transformer = LogMelSpectrogram(n_jobs=n_jobs)
    transformer.transform(clips[:2])
    tracemalloc.start()
    features = transformer.transform(clips)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < features.nbytes + 16 * 2**20


def test_importing_features_leaves_torch_and_librosa_out():
    code = "import sys, skaudio.features; assert not {'torch', 'librosa'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
