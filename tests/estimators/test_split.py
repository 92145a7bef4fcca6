"""How clips are split into a training and a validation part."""

import numpy as np
import pytest

from skaudio.estimators import AudioClassifier
from skaudio.estimators._data import ArrayClips, Dataset
from skaudio.estimators._split import split_dataset


def split_indices(y, groups, fraction, seed, *, stratify):
    """Split clips that are known by their number; return the numbers of both parts."""
    clips = ArrayClips(np.zeros((len(y), 1, 1), dtype=np.float32))
    dataset = Dataset(clips, np.asarray(y), groups=None if groups is None else np.asarray(groups))
    parts = split_dataset(dataset, fraction, seed, stratify=stratify)
    for part in parts:
        np.testing.assert_array_equal(part.target, dataset.target[part.source.rows])
    return parts[0].source.rows, parts[1].source.rows


def random_corpus(seed):
    """Classes, groups (or None) and a validation fraction, all of random sizes."""
    rng = np.random.default_rng(seed)
    n_clips = int(rng.integers(4, 120))
    n_classes = int(rng.integers(1, max(2, n_clips // 3)))
    n_groups = int(rng.integers(2, n_clips + 1))
    # Shares drawn from a Dirichlet distribution with a small parameter are very uneven.
    y = rng.choice(n_classes, n_clips, p=rng.dirichlet(np.full(n_classes, rng.uniform(0.2, 5))))
    groups = rng.choice(n_groups, n_clips, p=rng.dirichlet(np.full(n_groups, rng.uniform(0.2, 5))))
    groups[:2] = 0, 1  # two groups at the least
    names = np.array([f"speaker {i}" for i in range(n_groups)])
    return y, names[groups] if rng.random() < 0.5 else groups, float(rng.uniform(0.02, 0.6))


def each_group_is_needed(y, groups):
    """Whether every group has all clips of some class; a class of one clip each needs no care."""
    others = [set(y[groups == group]) - set(y[groups != group]) for group in np.unique(groups)]
    return all(others) and max(np.unique(y, return_counts=True)[1]) > 1


@pytest.mark.parametrize("stratify", [True, False])
@pytest.mark.parametrize("seed", range(200))
def test_no_group_is_on_both_sides(seed, stratify):
    y, groups, fraction = random_corpus(seed)
    if stratify and each_group_is_needed(y, groups):
        with pytest.raises(ValueError, match="each has all clips of some class"):
            split_indices(y, groups, fraction, seed, stratify=True)
        return
    train, valid = split_indices(y, groups, fraction, seed, stratify=stratify)
    assert not set(groups[train]) & set(groups[valid])
    # Every clip is on one side, and neither side is empty.
    np.testing.assert_array_equal(np.sort(np.concatenate([train, valid])), np.arange(len(y)))
    assert len(train) > 0
    assert len(valid) > 0


@pytest.mark.parametrize("seed", range(20))
def test_same_seed_same_split(seed):
    y, groups, fraction = random_corpus(seed)
    stratify = not each_group_is_needed(y, groups)
    once, again = (split_indices(y, groups, fraction, seed, stratify=stratify) for _ in range(2))
    for part, same in zip(once, again, strict=True):
        np.testing.assert_array_equal(part, same)


@pytest.mark.parametrize("seed", range(20))
def test_the_fraction_of_clips_without_groups(seed):
    y, _, fraction = random_corpus(seed)
    train, valid = split_indices(y, None, fraction, seed, stratify=False)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, valid])), np.arange(len(y)))
    assert len(valid) == max(1, round(fraction * len(y)))


@pytest.mark.parametrize("n_clips", [1, 2, 5])
@pytest.mark.parametrize("stratify", [True, False])
def test_one_group_cannot_be_split(n_clips, stratify):
    with pytest.raises(ValueError, match="all clips belong to one group. Pass X_val"):
        split_indices(np.arange(n_clips), ["anna"] * n_clips, 0.1, 0, stratify=stratify)


@pytest.mark.parametrize(
    "y",
    [np.arange(12), np.arange(12) // 2, np.arange(12) % 4, np.array([0] * 9 + [1, 2, 3])],
    ids=["one-of-each", "two-of-each", "three-of-each", "one-large-class"],
)
@pytest.mark.parametrize("fraction", [0.05, 0.125, 0.5])
def test_small_classes_are_split_by_group(y, fraction):
    groups = np.arange(12) % 6
    train, valid = split_indices(y, groups, fraction, 0, stratify=True)
    assert not set(groups[train]) & set(groups[valid])
    assert len(train) + len(valid) == 12
    assert len(valid) <= 6


def test_a_class_that_a_later_call_lacks_does_not_end_stratification():
    y = np.repeat([0, 2], [30, 10])
    _, valid = split_indices(y, None, 0.2, 0, stratify=True)
    np.testing.assert_array_equal(np.bincount(y[valid]), [6, 0, 2])


def test_early_stopping_on_few_clips_per_class(tiny, features):
    X, y = features
    model = AudioClassifier(tiny, early_stopping=True, max_epochs=1, random_state=0)
    model.fit(X[:12], y[:12], groups=np.arange(12))
    assert np.isfinite(model.history_["valid_loss"]).all()


@pytest.mark.parametrize(("counts", "fraction"), [((20, 20, 1), 0.1), ((2, 98), 0.9)])
@pytest.mark.parametrize("seed", range(20))
def test_each_class_keeps_a_clip_to_learn_from(counts, fraction, seed):
    y = np.repeat(np.arange(len(counts)), counts)
    train, valid = split_indices(y, None, fraction, seed, stratify=True)
    assert set(y[train]) == set(y)
    assert len(valid) == pytest.approx(fraction * len(y), abs=1)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, valid])), np.arange(len(y)))


@pytest.mark.parametrize("seed", range(5))
def test_whole_groups_come_close_to_the_fraction_and_leave_all_classes(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(8, size=120)
    y = rng.integers(3, size=120)
    train, valid = split_indices(y, groups, 0.2, seed, stratify=True)
    assert 0.05 < len(valid) / 120 < 0.45
    assert set(y[train]) == {0, 1, 2}


@pytest.mark.parametrize("seed", range(5))
def test_groups_that_a_class_needs_are_kept(seed):
    groups = np.repeat(np.arange(8), 5)
    y = np.where(groups < 6, groups, np.arange(40) % 6)  # classes 0 to 5 of a group each, and two
    train, valid = split_indices(y, groups, 0.4, seed, stratify=True)
    assert set(y[train]) == set(range(6))
    assert 10 <= len(valid) <= 20


def test_a_group_that_is_larger_than_wanted_is_better_than_none():
    groups = np.repeat([0, 1, 2], [8, 2, 10])
    y = np.r_[[0, 1] * 4, 0, 0, [2] * 10]
    for seed in range(5):
        _, valid = split_indices(y, groups, 0.01, seed, stratify=True)
        assert set(groups[valid]) == {1}


@pytest.mark.parametrize("n_groups", [2, 3])
def test_few_groups_suffice(n_groups):
    groups = np.arange(30) % n_groups
    train, valid = split_indices(np.arange(30) % 5, groups, 0.1, 0, stratify=True)
    assert len(np.unique(groups[valid])) == 1
    assert len(train) == 30 - len(valid)


def test_shares_of_classes_are_kept():
    y = np.repeat([0, 1, 2], [60, 30, 10])
    _, valid = split_indices(y, None, 0.2, 0, stratify=True)
    np.testing.assert_array_equal(np.bincount(y[valid]), [12, 6, 2])


@pytest.mark.parametrize(
    ("y", "groups", "message"),
    [
        (np.arange(3), None, "Cannot hold back 1 of 3 clips"),
        (np.zeros(10, int), np.zeros(10), "all clips belong to one group"),
        (np.repeat([0, 1], 5), np.repeat([0, 1], 5), "each has all clips of some class"),
    ],
)
def test_too_little_to_split(y, groups, message):
    with pytest.raises(ValueError, match=message):
        split_indices(y, groups, 0.1, 0, stratify=True)
