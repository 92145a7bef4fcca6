"""Waveforms and files: features inside the network, crops, sample rates, lazy reading."""

import contextlib
import threading

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import Bunch
from skorch.callbacks import Callback

from skaudio.audio import AudioLoader
from skaudio.augmentation import (
    AdditiveNoise,
    SpeedChange,
    TimeMask,
    make_chain,
    preset,
)
from skaudio.datasets import make_tones
from skaudio.estimators import AudioClassifier, _data
from skaudio.estimators._data import FileClips
from skaudio.exceptions import AudioFormatError, SampleRateError, SkaudioWarning
from skaudio.features import (
    MFCC,
    LogMelSpectrogram,
    PitchSalience,
    StackedFeatures,
    VoiceDescriptors,
)
from skaudio.networks import MTSNet

RATE = 4000


@pytest.fixture(scope="module")
def tones():
    data, target = make_tones(
        36, frequencies=(300, 700, 1500), sample_rate=RATE, duration=(0.2, 0.5), random_state=0
    )
    return Bunch(data=data, target=target)


@pytest.fixture(scope="module")
def files(tones, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tones")
    paths = [folder / f"{i:02d}.wav" for i in range(len(tones.data))]
    for path, clip in zip(paths, tones.data, strict=True):
        soundfile.write(path, clip, RATE, subtype="FLOAT")
    return paths


def log_mel():
    return LogMelSpectrogram(sample_rate=RATE, n_mels=12, n_fft=256)


def classifier(network, frontend=None, **parameters):
    return AudioClassifier(
        network,
        frontend=frontend,
        **{"max_epochs": 4, "batch_size": 8, "lr": 1e-2, "random_state": 0, **parameters},
    )


def test_front_end_predicts_what_the_transformer_in_front_does(tiny, tones):
    X, y = tones.data, tones.target
    inside = classifier(tiny, log_mel()).fit(X, y)
    network_alone = classifier(inside.net_.module_.network, max_epochs=1).fit(
        log_mel().fit_transform(X), y
    )
    network_alone.net_.module_.load_state_dict(inside.net_.module_.state_dict())
    outside = network_alone.predict_proba(log_mel().fit_transform(X))
    np.testing.assert_allclose(inside.predict_proba(X), outside, atol=1e-4)


@pytest.mark.parametrize("frontend", [log_mel(), MFCC(sample_rate=RATE, n_mfcc=8, deltas=1)])
def test_clip_alone_or_in_company(tiny, tones, frontend):
    model = classifier(tiny, frontend).fit(tones.data, tones.target)
    together = model.predict_proba(tones.data)
    alone = np.concatenate([model.predict_proba([clip]) for clip in tones.data])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_files_give_what_their_waveforms_give(tiny, tones, files):
    y = tones.target
    expected = classifier(tiny, log_mel()).fit(tones.data, y).predict_proba(tones.data)
    for form in (files, [str(path) for path in files], np.array(files, dtype=str),
                 pd.Series(files), pd.DataFrame({"file": files})):  # fmt: skip
        model = classifier(tiny, log_mel()).fit(form, y)
        np.testing.assert_array_equal(model.predict_proba(form), expected)


@pytest.mark.parametrize("n_jobs", [None, 1, 3])
def test_readers_do_not_change_a_bit(tiny, tones, files, n_jobs):
    parameters = {
        "crop": 0.15,
        "augmentation": make_chain(AdditiveNoise(snr_db=(5, 20)), TimeMask()),
    }
    model = classifier(tiny, log_mel(), n_jobs=n_jobs, **parameters)
    expected = classifier(tiny, log_mel(), n_jobs=2, **parameters).fit(tones.data, tones.target)
    np.testing.assert_array_equal(
        model.fit(files, tones.target).predict_proba(files), expected.predict_proba(tones.data)
    )


def test_files_are_read_batch_by_batch(tiny, tones, files, monkeypatch):
    """Between two steps no more clips are held than the readers may be ahead."""
    lock, waiting, most = threading.Lock(), [0], [0]

    def counting_read(*arguments, **keywords):
        with lock:
            waiting[0] += 1
            most[0] = max(most[0], waiting[0])
        return original(*arguments, **keywords)

    class Step(Callback):
        def on_batch_begin(self, net, **kwargs):
            with lock:
                waiting[0] -= 4

    original = _data.read
    monkeypatch.setattr(_data, "read", counting_read)
    classifier(tiny, log_mel(), batch_size=4, n_jobs=1, callbacks=[Step()]).fit(files, tones.target)
    assert most[0] <= 4 * 4


# ---------------------------------------------------------------------------- sample rates

RATES = (8000, 16000, 44100, 48000)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """The same chirps and noise at four rates, in one list of files."""
    folder = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(0)
    paths, labels = [], []
    for i in range(16):
        rate = RATES[i % 4]
        seconds = np.arange(int(0.6 * rate)) / rate
        tone = 0.3 * np.sin(2 * np.pi * (400 + 900 * (i // 4 % 2)) * seconds)
        paths.append(folder / f"{i:02d}_{rate}.wav")
        soundfile.write(paths[-1], tone + 0.01 * rng.normal(size=len(tone)), rate, subtype="FLOAT")
        labels.append(i // 4 % 2)
    return paths, labels


def converted(paths, rate):
    """Convert whole files as librosa.load does."""
    waveforms = [soundfile.read(path, dtype="float32") for path in paths]
    return [librosa.resample(y, orig_sr=own, target_sr=rate) for y, own in waveforms]


@pytest.mark.parametrize("crop", [None, 0.25])
@pytest.mark.parametrize("aggregation", ["center", "mean"])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_files_are_converted_to_the_front_ends_rate(tiny, mixed, rate, crop, aggregation):
    paths, y = mixed
    model = classifier(
        tiny, LogMelSpectrogram(sample_rate=rate), crop=crop, crop_aggregation=aggregation,
        max_epochs=25,
    )  # fmt: skip
    low = warnings_of_low_rates(rate)
    with low:
        lazily = model.fit(paths, y).predict_proba(paths)
    whole = clone(model).fit(converted(paths, rate), y).predict_proba(converted(paths, rate))
    np.testing.assert_allclose(lazily, whole, atol=1e-3)
    assert model.predict(converted(paths, rate)).tolist() == y


def warnings_of_low_rates(rate):
    if rate <= min(RATES):
        return contextlib.nullcontext()
    return pytest.warns(SkaudioWarning, match=f"4 of 16 clips are converted to {rate} Hz .* 8000")


@pytest.mark.parametrize("crop", [0.01, 0.1, 0.5])
def test_a_part_of_a_file_is_a_part_of_the_converted_file(mixed, crop):
    paths, _ = mixed
    clips = FileClips([str(path) for path in paths], 8000)
    length = round(crop * 8000)
    for i, whole in enumerate(converted(paths, 8000)):
        assert clips.lengths[i] == len(whole)
        for start in (0, 1, 333, len(whole) - length):
            part = clips.load(i, start, length)
            np.testing.assert_allclose(part, whole[start : start + length], atol=1e-3)


def test_one_warning_per_call_of_files_at_a_lower_rate(tiny, mixed):
    paths, y = mixed
    model = classifier(tiny, LogMelSpectrogram(sample_rate=16000))
    for call in (lambda: model.fit(paths, y), lambda: model.predict(paths)):
        with pytest.warns(SkaudioWarning, match="4 of 16 clips are converted") as caught:
            call()
        assert len(caught) == 1


def test_loaded_clips_of_another_rate_than_the_front_ends(tiny, mixed):
    paths, y = mixed
    model = classifier(tiny, LogMelSpectrogram(sample_rate=8000))
    clips = AudioLoader(sample_rate=16000, on_error="report").fit_transform(paths[1:4])
    with pytest.raises(SampleRateError, match=r"16000.*8000"):
        model.fit(clips, y[1:4])
    with pytest.raises(SampleRateError, match=r"16000.*8000"):
        make_pipeline(AudioLoader(sample_rate=16000), model).fit(paths[1:4], [0, 1, 0])
    model.fit(converted(paths, 8000), y)
    with pytest.raises(SampleRateError, match=r"16000.*8000"):
        model.predict(clips)


# ----------------------------------------------------------------------------------- crops


def test_training_sees_a_random_crop_and_prediction_the_centre(tiny, tones, files):
    crop, y = 0.1, tones.target
    model = classifier(tiny, log_mel(), crop=crop).fit(files, y)
    n = int(crop * RATE)
    centres = [clip[(len(clip) - n) // 2 :][:n] for clip in tones.data]
    np.testing.assert_array_equal(model.predict_proba(files), model.predict_proba(centres))
    fixed = classifier(tiny, log_mel()).fit(centres, y)
    assert not np.array_equal(fixed.predict_proba(centres), model.predict_proba(centres))


def test_mean_over_crops_covers_the_whole_clip(tiny, tones):
    crop = 0.15
    model = classifier(tiny, log_mel(), crop=crop, crop_aggregation="mean")
    model.fit(tones.data, tones.target)
    n = int(crop * RATE)
    for clip in tones.data[:5]:
        starts = sorted({*range(0, len(clip) - n, n), len(clip) - n})
        parts = [clip[start : start + n] for start in starts]
        expected = np.mean([model.predict_proba([part])[0] for part in parts], axis=0)
        np.testing.assert_allclose(model.predict_proba([clip])[0], expected, atol=1e-6)


def test_a_clip_shorter_than_the_crop_is_padded(tiny, tones):
    model = classifier(tiny, log_mel(), crop=0.6).fit(tones.data, tones.target)
    padded = [np.pad(clip, (0, int(0.6 * RATE) - len(clip))) for clip in tones.data]
    np.testing.assert_array_equal(model.predict_proba(tones.data), model.predict_proba(padded))


# ------------------------------------------------------------------------------- bad input


def test_a_bad_file_is_named_before_the_training_begins(tiny, tones, files, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no sound")
    for path in (bad, tmp_path / "absent.wav", tmp_path):
        with pytest.raises(AudioFormatError, match=path.name):
            classifier(tiny, log_mel()).fit([*files[:-1], path], tones.target)


def test_empty_mel_bands_draw_one_warning(tiny, tones):
    frontend = LogMelSpectrogram(sample_rate=RATE, n_fft=64, n_mels=80)
    with pytest.warns(SkaudioWarning, match="of 80 mel bands are empty") as caught:
        classifier(tiny, frontend).fit(tones.data, tones.target).predict(tones.data)
    assert len(caught) == 1


def test_paths_beside_arrays(tiny, tones, files):
    with pytest.raises(AudioFormatError, match="Clip 1 is ndarray .* first clip is a path"):
        classifier(tiny, log_mel()).fit([files[0], *tones.data[1:]], tones.target)


def test_an_augmentation_without_domains(tiny, features):
    class Half:
        def apply(self, x, generator, **settings):
            return x / 2

    with pytest.raises(TypeError, match="augmentation is .*Half.* an object with `domains` and"):
        AudioClassifier(tiny, augmentation=Half()).fit(*features)


def test_waveform_augmentation_without_waveforms(tiny, features):
    with pytest.raises(ValueError, match="changes waveforms, but without a frontend"):
        classifier(tiny, augmentation=AdditiveNoise()).fit(*features)


@pytest.mark.parametrize("name", ["voice", "sound"])
def test_a_word_is_a_chain(tiny, tones, name):
    X, y = tones.data, tones.target
    word = classifier(tiny, log_mel(), augmentation=name).fit(X, y)
    chain = classifier(tiny, log_mel(), augmentation=preset(name)).fit(X, y)
    plain = classifier(tiny, log_mel()).fit(X, y)
    np.testing.assert_array_equal(word.predict_proba(X), chain.predict_proba(X))
    assert not np.array_equal(word.predict_proba(X), plain.predict_proba(X))


def test_of_a_word_features_get_their_own_steps_alone(tiny, features):
    X, y = features
    word = classifier(tiny, augmentation="voice").fit(X, y)
    masks = classifier(tiny, augmentation=[TimeMask()]).fit(X, y)
    np.testing.assert_array_equal(word.predict_proba(X), masks.predict_proba(X))


def test_an_unknown_word(tiny, features):
    with pytest.raises(ValueError, match="'augmentation' parameter .* 'speech'"):
        classifier(tiny, augmentation="speech").fit(*features)


class Seen(torch.nn.Module):
    """A network that remembers the shapes and lengths that reached it."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.shapes, self.lengths = inner, [], []

    def forward(self, x, lengths=None):
        self.shapes.append(x.shape)
        self.lengths.append(lengths)
        return self.inner(x, lengths)


@pytest.mark.parametrize("crop", [None, 0.15])
def test_new_lengths_reach_the_network(tones, crop):
    seen = Seen(MTSNet(n_filters=(4,), tempo_factors=()).build(n_bands=12, n_outputs=3))
    speed = SpeedChange((0.5, 0.5))
    model = classifier(seen, log_mel(), augmentation=speed, crop=crop, max_epochs=1)
    model.fit(tones.data, tones.target)
    network = model.net_.module_.network
    frontend = model.net_.module_.frontend
    samples = [2 * round(crop * RATE)] if crop else [2 * len(clip) for clip in tones.data]
    expected = sorted(frontend.n_frames(np.array(samples)).tolist())
    found = sorted(n for lengths in network.lengths for n in lengths.tolist())
    assert found == (expected * len(found) if crop else expected)
    for shape, lengths in zip(network.shapes, network.lengths, strict=True):
        assert shape[-1] == lengths.max()


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_network_of_one_length_gets_all_clips_in_it(tones, factor):
    network = MTSNet(n_filters=(4,), tempo_factors=(), pooling="flatten")
    model = classifier(
        network, log_mel(), augmentation=SpeedChange((factor, factor)), crop=0.15, max_epochs=2
    )
    assert model.fit(tones.data, tones.target).predict(tones.data).shape == tones.target.shape


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_network_that_knows_no_lengths_gets_clips_as_long_as_they_were(tones, factor):
    shapes = []

    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(12, 3)

        def forward(self, x):
            shapes.append(x.shape[-1])
            return self.linear(x.mean((1, 3)))

    speed = SpeedChange((factor, factor))
    model = classifier(Plain(), log_mel(), augmentation=speed, crop=0.15, max_epochs=1)
    model.fit(tones.data, tones.target)
    assert set(shapes) == {model.net_.module_.frontend.n_frames(round(0.15 * RATE))}


def test_pcm_samples_are_refused(tiny, tones):
    X = [np.int16(clip * 32767) for clip in tones.data]
    with pytest.raises(AudioFormatError, match="Clip 0 holds int16 samples.*Divide by 32768"):
        classifier(tiny, log_mel()).fit(X, tones.target)


def test_pipeline_with_the_transformer_in_front(tiny, tones):
    model = make_pipeline(log_mel(), classifier(tiny, max_epochs=25, lr=2e-2))
    assert model.fit(tones.data, tones.target).score(tones.data, tones.target) > 0.9


# ------------------------------------------------------------------------- stacked front ends


def stacked():
    parts = [("mel", LogMelSpectrogram(hop_length=160, n_mels=8)), ("pitch", PitchSalience())]
    return StackedFeatures(parts, average=2)


def test_stacked_front_end_predicts_what_the_transformer_in_front_does(tiny, tones):
    X, y = tones.data, tones.target  # plain arrays: their rate is the front end's
    inside = classifier(tiny, stacked(), max_epochs=1).fit(X, y)
    outside = classifier(inside.net_.module_.network, max_epochs=1)
    outside.fit(stacked().fit_transform(X), y)
    outside.net_.module_.load_state_dict(inside.net_.module_.state_dict())
    expected = outside.predict_proba(stacked().fit_transform(X))
    np.testing.assert_allclose(inside.predict_proba(X), expected, atol=1e-4)


def test_stacked_front_end_alone_or_in_company(tiny, tones):
    model = classifier(tiny, stacked(), max_epochs=1).fit(tones.data, tones.target)
    alone = np.concatenate([model.predict_proba([clip]) for clip in tones.data])
    np.testing.assert_allclose(model.predict_proba(tones.data), alone, atol=1e-5)


def test_a_grid_reaches_the_parts_of_a_stacked_front_end(tiny, tones):
    grid = {"frontend__mel__n_mels": [4, 8]}
    search = GridSearchCV(classifier(tiny, stacked(), max_epochs=1), grid, cv=2)
    best = search.fit(tones.data, tones.target).best_estimator_
    assert best.architecture_.n_bands == 60 + search.best_params_["frontend__mel__n_mels"]


def test_front_end_that_no_layer_computes(tiny, tones):
    parts = [("mel", LogMelSpectrogram(hop_length=160)), ("voice", VoiceDescriptors())]
    with pytest.raises(TypeError, match="no layer computes what 'voice' does"):
        classifier(tiny, StackedFeatures(parts)).fit(tones.data, tones.target)
    with pytest.raises(TypeError, match="but expected one of LogMelSpectrogram, MFCC, PitchS"):
        classifier(tiny, VoiceDescriptors()).fit(tones.data, tones.target)
