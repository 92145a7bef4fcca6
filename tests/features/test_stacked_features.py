import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skaudio._artifacts import hash_value
from skaudio.exceptions import SampleRateError
from skaudio.features import (
    MFCC,
    LogMelSpectrogram,
    PitchSalience,
    Spectrogram,
    StackedFeatures,
    TemporalStatistics,
    VoiceDescriptors,
    VoiceStatistics,
)


def noise(n_clips=3, n_samples=5000):
    return 0.1 * np.random.default_rng(0).standard_normal((n_clips, n_samples))


def log_mel(**settings):
    return LogMelSpectrogram(**{"hop_length": 160, **settings})


def stacked(**settings):
    return StackedFeatures([("mel", log_mel()), ("pitch", PitchSalience())], **settings)


def test_bands_are_those_of_the_parts():
    parts = [log_mel(), MFCC(hop_length=160, n_mfcc=5), Spectrogram(hop_length=160),
             PitchSalience(), VoiceDescriptors()]  # fmt: skip
    names = ["mel", "mfcc", "spectrum", "pitch", "voice"]
    together = StackedFeatures(list(zip(names, parts, strict=True))).fit_transform(noise())
    expected = np.concatenate([part.fit_transform(noise()) for part in parts], axis=1)
    assert_array_equal(together, expected)


@pytest.mark.parametrize("average", [1, 2, 3, 100])
def test_average_is_the_mean_of_neighbouring_frames(average):
    whole, averaged = stacked().fit_transform(noise()), stacked(average=average)
    found = averaged.fit_transform(noise())
    assert found.shape[2] == -(-whole.shape[2] // average)
    for t in range(found.shape[2]):
        expected = whole[:, :, average * t : average * (t + 1)].mean(axis=2)
        assert_allclose(found[:, :, t], expected, rtol=1e-5, atol=1e-5)


def test_names_tell_the_parts():
    names = stacked().fit(noise()).get_feature_names_out()
    assert names[0] == "mel__mel_0"
    assert names[-1] == "pitch__pitch_59"
    assert len(names) == 100


def test_alone_in_company_and_in_threads_the_same_bits():
    clips = [noise(1, n)[0] for n in (1, 700, 40_000, 300_000)]
    together = stacked(average=2, n_jobs=2).fit_transform(clips)
    for clip, picture in zip(clips, together, strict=True):
        assert_array_equal(stacked(average=2).fit_transform([clip])[0], picture)


def test_parameters_are_reached_by_name():
    stack = stacked()
    stack.set_params(mel__n_mels=64, pitch__n_lags=30, average=2)
    assert stack.get_params()["mel__n_mels"] == 64
    assert stack.fit_transform(noise()).shape == (3, 94, 16)
    copy = clone(stack)
    assert hash_value(copy) == hash_value(stack)
    copy.set_params(mel__n_mels=20)
    assert stack.get_params()["mel__n_mels"] == 64
    assert hash_value(copy) != hash_value(stack)


def test_a_grid_reaches_the_parts():
    model = make_pipeline(stacked(), TemporalStatistics(("mean",)), LogisticRegression())
    grid = {"stackedfeatures__mel__n_mels": [8, 16], "stackedfeatures__average": [1, 2]}
    search = GridSearchCV(model, grid, cv=2).fit(noise(8), np.arange(8) % 2)
    assert set(search.best_params_) == set(grid)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([("mel", log_mel()), ("pitch", PitchSalience(hop_length=128))],
         r"frames of 'pitch' are not those of 'mel'. Hops are {'mel': 160, 'pitch': 128} samples"),
        ([("mel", log_mel(center=False)), ("pitch", PitchSalience())], "center=True and an even"),
        ([("mel", log_mel(n_fft=513)), ("pitch", PitchSalience())], "frames of 'pitch' are not"),
        ([("mel", log_mel()), ("rows", VoiceStatistics())], "'rows' does not compute features"),
        ([("stack", stacked())], "'stack' does not compute features"),
        ([("mel", log_mel()), ("mel", PitchSalience())], "Names provided are not unique"),
        ([log_mel()], r"expected a list of \(name, transformer\)"),
        ([("mel", LogMelSpectrogram)], r"expected a list of \(name, transformer\)"),
        ([("mel", TemporalStatistics())], "transformers from waveforms to features"),
        ([], r"transformers is \[\], but expected"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit(parts, message):
    with pytest.raises(ValueError, match=message):
        StackedFeatures(parts).fit(noise())


def test_parts_of_two_rates():
    parts = [("mel", log_mel()), ("pitch", PitchSalience(22050, hop_length=160))]
    with pytest.raises(SampleRateError, match="{'mel': 16000, 'pitch': 22050}. Set all to one"):
        StackedFeatures(parts).fit(noise())


def test_what_no_layer_computes():
    parts = [("mel", log_mel()), ("voice", VoiceDescriptors())]
    with pytest.raises(TypeError, match="no layer computes what 'voice' does"):
        StackedFeatures(parts).layer_arguments()


def test_warnings_of_the_parts():
    stack = stacked().set_params(mel__n_mels=256)
    with pytest.warns(UserWarning, match="mel bands are empty"):
        stack.fit(noise())
