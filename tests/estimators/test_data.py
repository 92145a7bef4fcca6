"""What users pass to fit, what they are told of it, and where clips lie in memory."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from skaudio import LogMelSpectrogram
from skaudio.augmentation import TimeMask
from skaudio.estimators import AudioClassifier, AudioRegressor
from skaudio.estimators._data import ArrayClips, Dataset
from skaudio.estimators._split import split_dataset
from skaudio.exceptions import SkaudioWarning
from skaudio.losses import FocalLoss
from skaudio.networks import MTSNet

GROUPS = np.arange(48) // 12


def classifier(network, **parameters):
    return AudioClassifier(
        network, **{"max_epochs": 1, "batch_size": 48, "random_state": 0, **parameters}
    )


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(47), r"sample_weight.shape == \(47,\), expected \(48,\)"),
        (np.ones((48, 2)), "[Ss]ample weights must be 1D"),
        (np.full(48, -1.0), "[Nn]egative"),
    ],
    ids=["short", "two-columns", "negative"],
)
def test_bad_weights_are_named_with_groups_too(tiny, features, weight, message):
    with pytest.raises(ValueError, match=message):
        classifier(tiny).fit(*features, sample_weight=weight, groups=GROUPS)


def test_one_weight_for_all_goes_with_groups(tiny, features):
    X, y = features
    model = classifier(tiny).fit(X, y, sample_weight=2.0, groups=GROUPS)
    plain = classifier(tiny).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), plain.predict_proba(X))


@pytest.mark.parametrize(
    ("y", "message"), [(None, "requires y to be passed"), (3, "1d array|scalar|shape")]
)
def test_missing_targets_are_named_with_groups_too(tiny, features, y, message):
    with pytest.raises(ValueError, match=message):
        classifier(tiny).fit(features[0], y, groups=GROUPS)


def fit_watched(tiny, features, **changes):
    X, y = features
    watched = {"X_val": X[36:], "y_val": y[36:], **changes}
    return classifier(tiny).fit(X[:36], y[:36], groups=GROUPS[:36], **watched)


@pytest.mark.parametrize("n_groups", [1, 11, 13])
def test_one_group_for_each_validation_clip(tiny, features, n_groups):
    with pytest.raises(ValueError, match="groups_val has shape .* y_val has 12 entries"):
        fit_watched(tiny, features, groups_val=np.full(n_groups, 7))


@pytest.mark.parametrize("shared", [0, "Ann"])
def test_a_shared_group_is_named_plainly(tiny, features, shared):
    X, y = features
    with pytest.warns(SkaudioWarning, match=f"1 group.* such as {shared!r}:"):
        classifier(tiny).fit(
            X, y, groups=np.full(48, shared), X_val=X[:3], y_val=y[:3],
            groups_val=np.full(3, shared),
        )  # fmt: skip


def test_bad_validation_targets_are_named_as_such(tiny, features):
    X, _ = features
    with pytest.raises(ValueError, match="y_val holds the label 'fox'"):
        fit_watched(tiny, features, y_val=np.full(12, "fox"))
    model = AudioRegressor(tiny, max_epochs=1)
    with pytest.raises(ValueError, match="y_val has 2 targets, but the first fit had 1"):
        model.fit(X, np.arange(48), X_val=X[:4], y_val=np.ones((4, 2)))
    with pytest.raises(ValueError, match="y_val contains NaN"):
        model.fit(X, np.arange(48), X_val=X[:4], y_val=np.full(4, np.nan))


@pytest.mark.parametrize("path", ["a.wav", Path("a.wav")], ids=repr)
def test_a_single_path_is_no_list(tiny, path):
    model = classifier(tiny, frontend=LogMelSpectrogram(sample_rate=8000))
    with pytest.raises(ValueError, match=r"got the single path 'a.wav'. Pass \[path\]"):
        model.fit(path, ["dog"])


@pytest.mark.parametrize("frontend", [None, LogMelSpectrogram(sample_rate=8000)], ids=repr)
@pytest.mark.parametrize(
    ("clips", "kind"),
    [((name for name in ["a.wav"]), "generator"), ({"a.wav"}, "set"), (map(str, "a"), "map")],
    ids=["generator", "set", "map"],
)
def test_what_can_be_read_only_once_or_has_no_order(tiny, frontend, clips, kind):
    with pytest.raises(ValueError, match=rf"got a {kind}. Pass list\(X\)"):
        classifier(tiny, frontend=frontend).fit(clips, ["dog"])


def test_prediction_names_them_as_well(tiny, features):
    model = classifier(tiny).fit(*features)
    with pytest.raises(ValueError, match="got paths, but expected features"):
        model.predict(Path("a.wav"))
    with pytest.raises(ValueError, match=r"got a generator. Pass list\(X\)"):
        model.predict(clip for clip in features[0])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network", MTSNet),
        ("augmentation", TimeMask),
        ("frontend", LogMelSpectrogram),
        ("loss", FocalLoss),
    ],
)
def test_a_class_instead_of_its_object(tiny, features, name, value):
    model = classifier(tiny).set_params(**{name: value})
    with pytest.raises(TypeError, match=rf"{name} is the class .* {name}={value.__name__}\(\)"):
        model.fit(*features)


@pytest.fixture
def mapped(features, tmp_path):
    np.save(tmp_path / "x.npy", features[0])
    return np.load(tmp_path / "x.npy", mmap_mode="r")


def test_a_subset_reads_from_the_same_memory(mapped):
    subset = ArrayClips(mapped).subset(np.array([5, 3, 8])).subset(np.array([2, 0]))
    assert len(subset) == 2
    assert np.shares_memory(subset.load(0, 2, 4), mapped)
    np.testing.assert_array_equal(subset.load(0, 2, 4), mapped[8, :, 2:6])
    np.testing.assert_array_equal(subset.load(1, 0, 12), mapped[5])


def test_a_subset_of_unequal_lengths(ragged):
    X, _ = ragged
    subset = ArrayClips(X).subset(np.array([7, 1]))
    np.testing.assert_array_equal(subset.lengths, [X[7].shape[1], X[1].shape[1]])
    np.testing.assert_array_equal(subset.load(0, 0, 3), X[7][:, :3])


def test_a_mapped_file_is_not_read_into_memory_to_hold_clips_back(tmp_path):
    n_bytes = 200 * 8 * 4000 * 4  # 25 MB
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (200, 8, 4000)).flush()
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    dataset = Dataset(ArrayClips(mapped), np.arange(200) % 2)
    tracemalloc.start()
    training, validation = split_dataset(
        dataset.subset(np.arange(1, 200)), 0.2, seed=0, stratify=True
    )
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(training), len(validation)) == (159, 40)
    assert most < n_bytes / 20
    assert np.shares_memory(validation.source.load(0, 0, 10), mapped)
