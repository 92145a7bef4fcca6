"""Clips held back where there are few of them."""

import numpy as np
import pytest

from skaudio.estimators import AudioClassifier
from skaudio.estimators._split import split_validation


@pytest.mark.parametrize(
    "y",
    [np.arange(12), np.arange(12) // 2, np.arange(12) % 4, np.array([0] * 9 + [1, 2, 3])],
    ids=["one-of-each", "two-of-each", "three-of-each", "one-large-class"],
)
@pytest.mark.parametrize("fraction", [0.05, 0.125, 0.5])
def test_small_classes_are_split_by_group(y, fraction):
    groups = np.arange(12) % 6
    train, valid = split_validation(y, groups, fraction, 0, stratify=True)
    assert not set(groups[train]) & set(groups[valid])
    assert len(train) + len(valid) == 12
    assert len(valid) <= 6


def test_a_class_that_a_later_call_lacks_does_not_end_stratification():
    y = np.repeat([0, 2], [30, 10])
    _, valid = split_validation(y, None, 0.2, 0, stratify=True)
    np.testing.assert_array_equal(np.bincount(y[valid]), [6, 0, 2])


def test_early_stopping_on_few_clips_per_class(tiny, features):
    X, y = features
    model = AudioClassifier(tiny, early_stopping=True, max_epochs=1, random_state=0)
    model.fit(X[:12], y[:12], groups=np.arange(12))
    assert "valid_loss" in model.history_
