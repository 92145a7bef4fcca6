"""Statistics over time: from features of any length to one row per clip."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skaudio._validation import (
    check_feature_names_in,
    check_features,
    fit_context,
    with_bands,
)

__all__ = ["TemporalStatistics"]

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def _moment(x: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """Compute a standardised central moment; 0 for a band that does not vary."""
    centred = x - x.mean(axis=1, keepdims=True)
    deviation = np.sqrt(np.square(centred).mean(axis=1, keepdims=True))
    # Rounding leaves a deviation of a few eps in a constant band, which division would blow up.
    varies = deviation > 10 * np.finfo(np.float64).eps * np.abs(x).max(axis=1, keepdims=True)
    z = np.divide(centred, deviation, out=np.zeros_like(centred), where=varies)
    return (z**order).mean(axis=1)


def _slope(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the slope of the least-squares line, per frame; 0 for a single frame."""
    # sum(t x) / sum(t^2) with t centred on 0, which makes the mean of x drop out.
    time = np.arange(x.shape[1]) - (x.shape[1] - 1) / 2
    return x @ time / (time @ time or 1.0)


def _delta(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the mean absolute step from frame to frame; 0 for a single frame."""
    return np.abs(np.diff(x, axis=1)).sum(axis=1) / max(x.shape[1] - 1, 1)


_STATISTICS: dict[str, Statistic] = {
    "mean": lambda x: x.mean(axis=1),
    "std": lambda x: x.std(axis=1),
    "min": lambda x: x.min(axis=1),
    "max": lambda x: x.max(axis=1),
    "skewness": lambda x: _moment(x, 3),
    "kurtosis": lambda x: _moment(x, 4),
    "slope": _slope,
    "delta": _delta,
}
_PERCENTILE = re.compile(r"p(\d{1,2}|100)")


class TemporalStatistics(TransformerMixin, BaseEstimator):
    """Compute statistics of every band over the frames of a clip.

    Takes features of shape ``(n_clips, n_bands, n_frames)``, a list of ``(n_bands, n_frames)``,
    or sequences of one band without the band axis. Returns a float32 table of shape
    ``(n_clips, n_statistics * n_bands)`` that any estimator of scikit-learn takes: all bands'
    first statistic, then all bands' second one, and so on.

    Parameters
    ----------
    statistics : sequence of str, default=("mean", "std", "p10", "p50", "p90", "slope", "delta")
        - "mean", "std", "min", "max";
        - "p0" to "p100": percentiles, "p50" the median;
        - "skewness", "kurtosis": standardised third and fourth moment (3 for a normal
          distribution), 0 where a band does not vary;
        - "slope": of the least-squares line, per frame;
        - "delta": mean absolute difference of neighbouring frames.

        The last two are 0 for a clip of one frame.

    Attributes
    ----------
    n_bands_ : int
        Bands seen in ``fit``.

    See Also
    --------
    BandScaler : Standardise the bands and keep the frames.
    skaudio.layers.AttentionPooling : Reduces the frames inside a network, with learned weights.

    Examples
    --------
    >>> import numpy as np
    >>> from skaudio.features import TemporalStatistics
    >>> features = [np.array([[1.0, 2.0, 3.0]]), np.array([[4.0, 4.0]])]
    >>> TemporalStatistics(("mean", "slope")).fit_transform(features)
    array([[2., 1.],
           [4., 0.]], dtype=float32)
    """

    _parameter_constraints: dict = {"statistics": [tuple, list]}

    def __init__(
        self, statistics: Sequence[str] = ("mean", "std", "p10", "p50", "p90", "slope", "delta")
    ) -> None:
        self.statistics = statistics

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the parameters and remember the number of bands.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_bands, n_frames) or (n_clips, n_frames), or list \
                of array-likes of shape (n_bands, n_frames) or (n_frames,)
            Features.
        y : None
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        AudioFormatError
            If a clip is empty, a path, or differs from the others in its number of bands.
        ValueError
            If a statistic is unknown, or a value is NaN or infinite.
        """
        self._check_statistics()
        self.n_bands_ = len(with_bands(check_features(self, X, reset=True))[0])
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Compute the statistics of every clip.

        Parameters
        ----------
        X : array-like or list of array-likes
            Features as in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_clips, n_statistics * n_bands)
            Float32.
        """
        check_is_fitted(self)
        clips = with_bands(check_features(self, X, reset=False))
        table = np.empty((len(clips), len(self.statistics) * self.n_bands_), dtype=np.float32)
        for row, clip in zip(table, clips, strict=True):
            row[:] = self._row(clip.astype(np.float64))
        return table

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the columns: band, underscore, statistic.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the bands; "band_0", "band_1" and so on if None. Sequences of one band need
            none: their columns are named after the statistics.

        Returns
        -------
        ndarray of shape (n_statistics * n_bands,), str
        """
        check_is_fitted(self)
        if input_features is not None:
            input_features = check_feature_names_in(self, input_features)
        if self._clip_ndim == 1:
            return np.array(self.statistics, dtype=object)
        if input_features is None:
            input_features = [f"band_{i}" for i in range(self.n_bands_)]
        names = [f"{band}_{name}" for name in self.statistics for band in input_features]
        return np.array(names, dtype=object)

    def _row(self, clip: NDArray[np.float64]) -> NDArray[np.float64]:
        ranks = [int(name[1:]) for name in self.statistics if name not in _STATISTICS]
        # One call sorts once for all percentiles, which are then taken in their order.
        percentiles = iter(np.percentile(clip, ranks, axis=1) if ranks else ())
        return np.concatenate(
            [
                _STATISTICS[name](clip) if name in _STATISTICS else next(percentiles)
                for name in self.statistics
            ]
        )

    def _check_statistics(self) -> None:
        if not self.statistics:
            raise ValueError("statistics is empty, but expected at least one name, such as 'mean'.")
        for name in self.statistics:
            if name not in _STATISTICS and not _PERCENTILE.fullmatch(str(name)):
                known = ", ".join(repr(known) for known in _STATISTICS)
                raise ValueError(
                    f"statistics holds {name!r}, but expected {known}, or a percentile "
                    "from 'p0' to 'p100'."
                )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags
