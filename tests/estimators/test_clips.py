"""Clips by number: which memory they lie in."""

import numpy as np
import pytest

from skaudio.estimators import AudioClassifier
from skaudio.estimators._clips import ArrayClips


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


def test_a_mapped_file_is_not_read_into_memory_to_hold_clips_back(
    tiny, features, mapped, monkeypatch
):
    sources = []
    made = ArrayClips.__init__

    def spy(self, *arguments):
        made(self, *arguments)
        sources.append(self)

    monkeypatch.setattr(ArrayClips, "__init__", spy)
    weight = (np.arange(48) != 5).astype(float)
    model = AudioClassifier(tiny, early_stopping=True, max_epochs=1, random_state=0)
    model.fit(mapped, features[1], sample_weight=weight)
    assert [len(source) for source in sources] == [48, 47, 42, 5]
    assert all(np.shares_memory(source.clips, mapped) for source in sources)
