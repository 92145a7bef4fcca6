"""Standardisation of bands: mean 0 and standard deviation 1 over all training frames."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import OneToOneFeatureMixin
from sklearn.utils.validation import check_is_fitted

from skaudio._validation import Clips, StrOptions, check_features, fit_context, with_bands
from skaudio.features._base import ClipTransformer

__all__ = ["BandScaler"]


class BandScaler(OneToOneFeatureMixin, ClipTransformer):
    """Subtract each band's mean and divide by its standard deviation.

    Both are taken over all frames of all clips given to ``fit``, long clips counting more than
    short ones. Takes features of shape ``(n_clips, n_bands, n_frames)``, a list of
    ``(n_bands, n_frames)``, or sequences of one band without the band axis, and returns float32
    features in the same form. A band that never varies is only centred.

    Parameters
    ----------
    scope : {"band", "global"}, default="band"
        Whether every band has a mean and deviation of its own, or all bands share one.
    with_mean : bool, default=True
        Whether to subtract the mean.
    with_std : bool, default=True
        Whether to divide by the deviation.

    Attributes
    ----------
    mean_ : ndarray of shape (n_bands,), or (1,) with ``scope="global"``
        Mean, float64.
    scale_ : ndarray of the same shape
        Standard deviation (over n, not n - 1), float64; 1 where a band is constant.
    n_frames_seen_ : int
        Frames of all training clips.

    See Also
    --------
    TemporalStatistics : Reduce each clip to one row of statistics.
    skaudio.layers.BandNorm : Normalises each band inside a network.
    sklearn.preprocessing.StandardScaler : The same for tables with one row per clip.

    Examples
    --------
    >>> import numpy as np
    >>> from skaudio.features import BandScaler
    >>> clips = [np.array([[1.0, 3.0], [5.0, 5.0]]), np.array([[2.0], [5.0]])]
    >>> BandScaler().fit(clips).mean_
    array([2., 5.])
    """

    _parameter_constraints: dict = {
        "scope": [StrOptions({"band", "global"})],
        "with_mean": ["boolean"],
        "with_std": ["boolean"],
    }

    def __init__(
        self,
        *,
        scope: Literal["band", "global"] = "band",
        with_mean: bool = True,
        with_std: bool = True,
    ) -> None:
        self.scope = scope
        self.with_mean = with_mean
        self.with_std = with_std

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn mean and deviation.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_bands, n_frames) or (n_clips, n_frames), or list \
                of array-likes of shape (n_bands, n_frames) or (n_frames,)
            Features of the training clips.
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
            If a value is NaN or infinite.
        """
        clips = with_bands(check_features(self, X, reset=True))
        self.n_frames_seen_ = sum(clip.shape[1] for clip in clips)
        if self.scope == "global":
            clips = [clip.reshape(1, -1) for clip in clips]
        count, self.mean_, spread = _moments(clips)
        deviation = np.sqrt(spread / count)
        # The mean of n equal values c is off by a few eps |c|, which then looks like a deviation.
        is_constant = deviation <= 10 * np.finfo(np.float64).eps * np.abs(self.mean_)
        self.scale_ = np.where(is_constant, 1.0, deviation)
        return self

    def _transform(self, X: Any) -> Clips:
        check_is_fitted(self)
        return self._map(check_features(self, X, reset=False), inverse=False)

    def inverse_transform(self, X: Any) -> Clips:
        """Undo :meth:`transform`.

        Parameters
        ----------
        X : array-like or list of array-likes
            Scaled features, in any form that :meth:`transform` takes.

        Returns
        -------
        ndarray or list of ndarray
            Float32, in the same form.
        """
        check_is_fitted(self)
        return self._map(check_features(self, X, reset=False), inverse=True)

    def _map(self, clips: Clips, *, inverse: bool) -> Clips:
        mean = self.mean_ if self.with_mean else np.zeros_like(self.mean_)
        scale = self.scale_ if self.with_std else np.ones_like(self.scale_)
        if inverse:
            mean, scale = -mean / scale, 1 / scale
        factor, offset = (1 / scale)[:, np.newaxis], (-mean / scale)[:, np.newaxis]
        mapped: Clips = (
            np.empty_like(clips)
            if isinstance(clips, np.ndarray)
            else [np.empty_like(clip) for clip in clips]
        )
        for clip, place in zip(with_bands(clips), with_bands(mapped), strict=True):
            place[...] = clip * factor + offset
        return mapped


def _moments(clips: Clips) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    """Compute frames, mean and summed squared deviation of each band, merged clip by clip.

    E(x^2) - E(x)^2 would lose the deviation of a band far from 0 to rounding [1]_.

    .. [1] Chan, Golub, LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing
       Sample Variances", 1979.
    """
    count, mean, spread = 0, np.zeros(1), np.zeros(1)
    for clip in clips:
        n_frames = clip.shape[1]
        clip_mean = clip.mean(axis=1, dtype=np.float64)
        clip_spread = np.square(clip - clip_mean[:, np.newaxis]).sum(axis=1)
        # Two groups of a and b values, whose means are d apart, have together the squared
        # deviation S_a + S_b + d^2 a b / (a + b).
        step = clip_mean - mean
        total = count + n_frames
        mean = mean + step * (n_frames / total)
        spread = spread + clip_spread + np.square(step) * (count * n_frames / total)
        count = total
    return count, mean, spread
