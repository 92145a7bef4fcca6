"""Standardised columns of a block of features, as a linear model wants them."""

from __future__ import annotations

from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from skaudio._validation import Interval, fit_context, validate_data

__all__ = ["BlockScaler"]

# Columns that are converted to float64 at a time.
_COLUMNS_AT_A_TIME = 512


class BlockScaler(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Standardise columns, clip outliers, and let the block as a whole weigh 1.

    For several blocks of features side by side, each with a scaler of its own, in front of a
    linear model with a penalty or of a method that measures distances: a block of ten thousand
    columns then counts no more than one of a hundred.

    Parameters
    ----------
    clip : float, default=6.0
        Deviations from the mean, > 0; what is farther away is moved there.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
        Means of the training clips, float64.
    scale_ : ndarray of shape (n_features,)
        Their standard deviations (over n, not n - 1), float64; 1 where a column is constant.

    See Also
    --------
    audio_pipeline : Puts one behind each block of its features.
    skaudio.features.BandScaler : Standardises the bands of features that have a time axis.
    sklearn.preprocessing.StandardScaler : The same without clipping and weight, in float64.

    Notes
    -----
    A column :math:`x` of :math:`n` becomes

    .. math:: \frac{1}{\sqrt{n}} \min\Big(c, \max\Big(-c, \frac{x - \mu}{\sigma}\Big)\Big)

    so that the mean squared length of the training rows is 1, or less by what is clipped and by
    the share of constant columns, which become 0. Memory beyond the result is that of some
    columns.

    Examples
    --------
    >>> import numpy as np
    >>> from skaudio.pipelines import BlockScaler
    >>> BlockScaler().fit_transform([[1.0, 5.0], [3.0, 5.0]])
    array([[-0.70710677,  0.        ],
           [ 0.70710677,  0.        ]], dtype=float32)
    """

    _parameter_constraints: dict = {"clip": [Interval(Real, 0, None, closed="neither")]}

    def __init__(self, *, clip: float = 6.0) -> None:
        self.clip = clip

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn mean and deviation of each column.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_features)
            Features of the training clips, one row for each.
        y : None
            Ignored.

        Returns
        -------
        self
        """
        X = validate_data(self, X, reset=True, dtype=np.float32)
        self.mean_, self.scale_ = np.empty((2, X.shape[1]))
        for columns in gen_batches(X.shape[1], _COLUMNS_AT_A_TIME):
            part = X[:, columns].astype(np.float64)
            self.mean_[columns], self.scale_[columns] = part.mean(axis=0), part.std(axis=0)
        # The sum of equal values of float32 is exact in float64, and so their deviation is 0.
        self.scale_[self.scale_ == 0] = 1.0
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Standardise, clip and weigh.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_features)

        Returns
        -------
        ndarray of shape (n_clips, n_features)
            Float32.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float32)
        scaled = np.empty_like(X)
        for columns in gen_batches(X.shape[1], _COLUMNS_AT_A_TIME):
            part = (X[:, columns] - self.mean_[columns]) / self.scale_[columns]
            scaled[:, columns] = np.clip(part, -self.clip, self.clip) / np.sqrt(X.shape[1])
        return scaled

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags
