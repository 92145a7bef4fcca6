"""Statistics over time: from features of any length to one row per clip."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skaudio._validation import (
    Interval,
    check_feature_names_in,
    check_features,
    fit_context,
    with_bands,
)
from skaudio.features._statistics import DELTA, check_statistics, compute_statistics, deltas

__all__ = ["TemporalStatistics"]


class TemporalStatistics(TransformerMixin, BaseEstimator):
    """Compute statistics of every band over the frames of a clip.

    Takes features of shape ``(n_clips, n_bands, n_frames)``, a list of ``(n_bands, n_frames)``,
    or sequences of one band without the band axis. Returns a float32 table of shape
    ``(n_clips, n_statistics * n_bands)`` that any estimator of scikit-learn takes: all bands'
    first statistic, then all bands' second one, and so on.

    Parameters
    ----------
    statistics : sequence of str, default=("mean", "std", "p10", "p50", "p90", "slope", \
            "mean_abs_diff")
        - "mean", "std", "min", "max";
        - "p0" to "p100": percentiles, "p50" the median;
        - "p80-p20" and the like: difference of two percentiles;
        - "skewness", "kurtosis": standardised third and fourth moment (3 for a normal
          distribution), 0 where a band does not vary;
        - "slope": of the least-squares line, per frame;
        - "correlation": with time, -1 to 1, 0 where a band does not vary;
        - "mean_abs_diff": mean absolute difference of neighbouring frames;
        - "mean_rise": mean of those differences that are above 0;
        - "octave1" to "octave9": modulation, the standard deviation of that part of a band that
          varies with 1/4 to 1/2 cycle per frame ("octave1"), 1/8 to 1/4 ("octave2"), and so on.
          With 100 frames a second, "octave1" to "octave7" reach from 50 down to 0.4 Hz. 0 where
          a clip is too short to have such a modulation;
        - any of them after "delta_", as "delta_std": of the bands' slopes over time, those of
          the line that fits `delta_width` frames best.

        What describes a change is 0 for a clip of one frame.
    where : int, optional
        Number of a band that says which frames count: those in which it is above 0, as "voiced"
        is in :class:`VoiceDescriptors`. It gets no statistics itself. All statistics of a clip
        without such frames are 0. Differences are taken of frames that are neighbours in the
        clip, slopes before frames are chosen; modulation is that of the chosen frames put
        together. Negative numbers count from the last band. By default all frames count.
    delta_width : int, default=9
        Frames that a slope is estimated from, odd and at least 3. A clip with fewer is lengthened
        for it by repeating its last frame.

    Attributes
    ----------
    n_bands_ : int
        Bands seen in ``fit``.

    See Also
    --------
    BandScaler : Standardise the bands and keep the frames.
    VoiceStatistics : Statistics of descriptors of the voice.
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

    _parameter_constraints: dict = {
        "statistics": [tuple, list],
        "where": [Integral, None],
        "delta_width": [Interval(Integral, 3, None, closed="left")],
    }

    def __init__(
        self,
        statistics: Sequence[str] = (
            "mean",
            "std",
            "p10",
            "p50",
            "p90",
            "slope",
            "mean_abs_diff",
        ),
        *,
        where: int | None = None,
        delta_width: int = 9,
    ) -> None:
        self.statistics = statistics
        self.where = where
        self.delta_width = delta_width

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
            If a statistic is unknown, `where` is no band beside others, or a value is NaN or
            infinite.
        """
        check_statistics(self.statistics)
        if self.delta_width % 2 == 0:
            raise ValueError(f"delta_width={self.delta_width} is even, but expected an odd number.")
        self.n_bands_ = len(with_bands(check_features(self, X, reset=True))[0])
        self._check_where()
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
            Float32; the band `where` not counted.
        """
        check_is_fitted(self)
        clips = with_bands(check_features(self, X, reset=False))
        n_bands = self.n_bands_ - (self.where is not None)
        table = np.empty((len(clips), len(self.statistics) * n_bands), dtype=np.float32)
        for row, clip in zip(table, clips, strict=True):
            row[:] = self._row(clip)
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
        if self.where is not None:
            input_features = np.delete(input_features, self.where)
        names = [f"{band}_{name}" for name in self.statistics for band in input_features]
        return np.array(names, dtype=object)

    def _row(self, clip: NDArray[np.float32]) -> NDArray[np.float64]:
        frames = np.arange(clip.shape[1])
        if self.where is not None:
            frames, clip = frames[clip[self.where] > 0], np.delete(clip, self.where, axis=0)
        slopes = None
        if any(name.startswith(DELTA) for name in self.statistics):
            slopes = deltas(clip, self.delta_width)[:, frames]
        return compute_statistics(self.statistics, clip[:, frames], frames, slopes).ravel()

    def _check_where(self) -> None:
        if self.where is None:
            return
        if not -self.n_bands_ <= self.where < self.n_bands_:
            raise ValueError(
                f"where={self.where} is not the number of a band, of which the clips have "
                f"{self.n_bands_}."
            )
        if self.n_bands_ == 1:
            raise ValueError(
                f"where={self.where} leaves no band for statistics: the clips have one band only."
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags
