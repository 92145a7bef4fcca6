"""Standardisation within each group, such as the clips of one speaker."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array, check_consistent_length

from skaudio._validation import check_groups

__all__ = ["scale_by_group"]


def scale_by_group(X: Any, groups: Any) -> NDArray[Any]:
    """Standardise the columns of a table within each group of rows.

    Each column of each group gets mean 0 and standard deviation 1, so that what a speaker's voice
    (or a room, or a microphone) adds to all clips drops out. No labels are used.

    Parameters
    ----------
    X : array-like of shape (n_clips, n_columns)
        Table of features, one row for each clip.
    groups : array-like of shape (n_clips,)
        To which speaker each clip belongs.

    Returns
    -------
    ndarray of shape (n_clips, n_columns)
        Float32 for float32, else float64. Columns that do not vary within a group are 0 there, as
        all are in a group of one clip.

    Raises
    ------
    ValueError
        If X is no table of finite numbers, or `groups` has another length or misses entries.

    See Also
    --------
    BandScaler : Standardise the bands of features with numbers of the training clips.
    VoiceStatistics : A table of features of voices.
    sklearn.preprocessing.StandardScaler : Standardise with numbers of the training clips.

    Notes
    -----
    This is another task than that of recognising a single clip by a new speaker: many clips of
    that speaker have to be there at once, and who speaks must be known, though no label is. Report
    such a recall as what it is. Each group is scaled by its own rows alone, so that the table may
    be scaled as a whole before it is split by groups, as in the example; in a split that divides
    a group, it may not.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import RidgeClassifier
    >>> from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
    >>> from skaudio.features import scale_by_group
    >>> rng = np.random.default_rng(0)
    >>> speaker, y = np.repeat([0, 1, 2], 20), np.arange(60) % 2
    >>> X = 10 * speaker[:, np.newaxis] + y[:, np.newaxis] + rng.normal(0, 0.1, (60, 4))
    >>> scores = cross_val_score(
    ...     RidgeClassifier(), scale_by_group(X, speaker), y, groups=speaker, cv=LeaveOneGroupOut()
    ... )
    >>> scores.tolist()
    [1.0, 1.0, 1.0]
    """
    X = check_array(X, dtype=[np.float64, np.float32])
    check_consistent_length(X, groups)
    groups = check_groups(groups)
    scaled = np.empty_like(X)
    for group in np.unique(groups):
        rows = X[groups == group].astype(np.float64)
        mean, std = rows.mean(axis=0), rows.std(axis=0)
        # A mean of equal values is off by rounding, the more so the more there are, and looks like
        # a deviation; so does the rounding of nearly equal ones.
        is_constant = rows.max(axis=0) == rows.min(axis=0)
        varies = ~is_constant & (std > 10 * np.finfo(np.float64).eps * np.abs(mean))
        scaled[groups == group] = np.where(varies, rows - mean, 0) / np.where(varies, std, 1)
    return scaled
