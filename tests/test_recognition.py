"""Recognition quality on the bundled digits, and on real recordings if there are any."""

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from skaudio import AudioClassifier, AudioLoader, LogMelSpectrogram
from skaudio.datasets import load_manifest, load_spoken_digits
from skaudio.exceptions import SkaudioWarning
from skaudio.features import PitchSalience, StackedFeatures
from skaudio.metrics import unweighted_average_recall
from skaudio.networks import MTSNet, SeparableNet


def default_pipeline():
    return make_pipeline(LogMelSpectrogram(sample_rate=8000), AudioClassifier(random_state=0))


def some(clips, per_group, groups):
    """The first clips of every group."""
    order = [np.flatnonzero(groups == group)[:per_group] for group in np.unique(groups)]
    return np.sort(np.concatenate(order))


@pytest.fixture
def two_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_digits_of_unseen_voices():
    clips = load_spoken_digits()
    predicted = cross_val_predict(
        default_pipeline(), clips.data, clips.target, groups=clips.speaker, cv=GroupKFold(4),
        n_jobs=2,
    )  # fmt: skip
    assert unweighted_average_recall(clips.target, predicted) > 0.95


@pytest.mark.slow
def test_fsdd_digits_of_unseen_speakers(recordings, two_threads):
    clips = load_manifest(recordings / "fsdd.csv")
    test = np.isin(clips.speaker, ["lucas", "theo"])
    # As the README has it for words. The recordings have 8 kHz, the pitch wants 16.
    log_mel = LogMelSpectrogram(
        16000, n_mels=64, hop_length=160, top_db=45, subtract_clip_mean=True
    )
    pitch = PitchSalience(16000, hop_length=160)
    model = AudioClassifier(
        frontend=StackedFeatures([("log_mel", log_mel), ("pitch", pitch)]),
        augmentation="voice",
        random_state=0,
    )
    with pytest.warns(SkaudioWarning, match="3000 of 3000 clips are converted to 16000 Hz"):
        waveforms = AudioLoader(sample_rate=16000).fit_transform(clips.data)
    training, tested = ([waveforms[i] for i in np.flatnonzero(part)] for part in (~test, test))
    digit = np.asarray(clips.target)
    predicted = model.fit(training, digit[~test]).predict(tested)
    assert unweighted_average_recall(digit[test], predicted) > 0.85


def corpus(recordings=None):
    """Features, labels and folds of speakers of FSDD, or of the bundled digits."""
    if recordings is None:
        clips = load_spoken_digits()
        waveforms, n_folds = clips.data, 4
    else:
        clips = load_manifest(recordings / "fsdd.csv")
        waveforms, n_folds = AudioLoader(sample_rate=8000).fit_transform(clips.data), 3
    X = LogMelSpectrogram(sample_rate=8000).fit_transform(waveforms)
    digit, speaker = np.asarray(clips.target), np.asarray(clips.speaker)
    return X, digit, list(GroupKFold(n_folds).split(digit, digit, speaker))


def predictions(network, X, y, train, test):
    model = AudioClassifier(network, max_epochs=30, batch_size=32, random_state=0)
    model.fit([X[i] for i in train], y[train])
    return model.predict([X[i] for i in test])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "n_folds"), [("digits", 2), ("fsdd", 1)])
def test_a_separable_network_is_as_good_as_one_six_times_its_size(name, n_folds, request):
    X, digit, folds = corpus(request.getfixturevalue("recordings") if name == "fsdd" else None)
    folds = folds[:n_folds]
    small = SeparableNet()
    plain = MTSNet(
        n_filters=small.n_filters, kernel_size=(3, 3), tempo_factors=(), n_frame_features=None
    )  # fmt: skip
    predicted = Parallel(n_jobs=2)(
        delayed(predictions)(network, X, digit, *fold)
        for network in (plain, small)
        for fold in folds
    )
    truth = np.concatenate([digit[test] for _, test in folds])
    expected, ours = (
        unweighted_average_recall(truth, np.concatenate(part))
        for part in (predicted[:n_folds], predicted[n_folds:])
    )
    assert ours >= expected - 0.02


def test_fsdd_in_short(recordings):
    clips = load_manifest(recordings / "fsdd.csv")
    kept = np.flatnonzero(np.isin(np.asarray(clips.target).astype(str), ["1", "3", "6"]))[::9]
    paths, digit, speaker = (
        np.asarray(part)[kept] for part in (clips.data, clips.target, clips.speaker)
    )
    model = AudioClassifier(
        MTSNet(n_filters=(8, 16)), frontend=LogMelSpectrogram(sample_rate=8000, n_mels=32),
        max_epochs=12, batch_size=16, lr=1e-2, random_state=0,
    )  # fmt: skip
    predicted = cross_val_predict(model, paths, digit, groups=speaker, cv=GroupKFold(2))
    assert unweighted_average_recall(digit, predicted) > 0.6


def test_search_over_a_whole_pipeline_gives_the_same_bits_with_any_number_of_jobs():
    clips = load_spoken_digits()
    kept = some(clips, 2, np.char.add(clips.speaker, clips.target))[::4]
    X, y = [clips.data[i] for i in kept], clips.target[kept]
    model = make_pipeline(
        LogMelSpectrogram(sample_rate=8000),
        AudioClassifier(MTSNet(n_filters=(4,)), max_epochs=2, random_state=0),
    )
    grid = {
        "logmelspectrogram__n_mels": [16, 24],
        "audioclassifier__network__tempo_factors": [(), (0.5, 2.0)],
    }
    results = [GridSearchCV(model, grid, cv=2, n_jobs=n_jobs).fit(X, y) for n_jobs in (1, 2)]
    scores = [search.cv_results_["split0_test_score"] for search in results]
    np.testing.assert_array_equal(*scores)
    np.testing.assert_array_equal(*[search.predict_proba(X) for search in results])
