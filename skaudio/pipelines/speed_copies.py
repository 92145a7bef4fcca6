"""Training on copies of the clips at other speeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from fractions import Fraction
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.utils import Bunch, check_consistent_length, get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skaudio._validation import (
    HasMethods,
    Interval,
    check_waveforms,
    fit_context,
    holds_paths,
    remembered_rates,
)
from skaudio.audio import AudioLoader, Waveform, resample

__all__ = ["SpeedCopies"]

_SLOWEST, _FASTEST = 0.5, 2.0


def _estimator_has(method: str) -> Callable[[Any], bool]:
    """Tell whether the wrapped estimator, fitted or not, has a method."""
    return lambda self: hasattr(getattr(self, "estimator_", self.estimator), method)


class SpeedCopies(MetaEstimatorMixin, BaseEstimator):
    """Fit an estimator on clips and on copies of them at other speeds.

    Speakers differ in tempo and in the length of their vocal tract. A copy that is played faster
    by resampling is shorter and has all frequencies raised by the same factor, as a smaller
    speaker in a hurry has; a model that has heard such copies depends less on the few speakers
    that it was trained on. Wraps any classifier, regressor or pipeline that takes waveforms. In a
    cross-validation or search, copies are made of the training clips of each fold alone.

    Parameters
    ----------
    estimator : estimator or Pipeline
        Takes waveforms: a list of arrays of several lengths, even if `X` was one array.
    speeds : sequence of float, default=(0.92, 1.08)
        Speed of each copy, from 0.5 to 2. 1.08 is 8% faster and higher: ``1 / 1.08`` of the
        samples. Rounded to the nearest fraction with a denominator of at most 1000. With ``()``
        there are no copies.
    sample_rate : int, default=16000
        Rate in Hz that files are converted to, where `X` holds paths.

    Attributes
    ----------
    estimator_ : estimator
        Fitted on the clips and their copies.
    n_copies_ : int
        Copies that it was fitted on, besides the clips.
    classes_ : ndarray of shape (n_classes,)
        Of a classifier, its labels.

    See Also
    --------
    audio_pipeline : A whole recogniser with copies in it.
    skaudio.augmentation.SpeedChange : Changes speed at random, in a network's training.
    skaudio.features.FeatureCache : In `estimator`, keeps the features of clips and copies.

    Notes
    -----
    A copy has the label, the group and the weight of its clip, and counts as much as the clip
    does. With n speeds all clips together therefore weigh n + 1 times as much as before: a
    penalty such as ridge's ``alpha`` is n + 1 times weaker beside them. Whatever else is passed to
    :meth:`fit` is repeated if it has one entry for each clip, and passed on as it is otherwise.

    An estimator that splits its training clips itself, such as a search or early stopping, needs
    `groups` to keep a clip and its copies on one side.

    Clips and copies are in memory together: ``n_clips * (n + 1)`` waveforms.

    Examples
    --------
    >>> from sklearn.linear_model import RidgeClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from skaudio import LogMelSpectrogram, TemporalStatistics
    >>> from skaudio.datasets import make_tones
    >>> from skaudio.pipelines import SpeedCopies
    >>> X, y = make_tones(40, sample_rate=8000, random_state=0)
    >>> model = SpeedCopies(
    ...     make_pipeline(
    ...         LogMelSpectrogram(sample_rate=8000), TemporalStatistics(), RidgeClassifier()
    ...     ),
    ...     speeds=(0.98, 1.02),
    ... )
    >>> model.fit(X, y).n_copies_
    80
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods("fit")],
        "speeds": [tuple, list],
        "sample_rate": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        speeds: Sequence[float] = (0.92, 1.08),
        sample_rate: int = 16000,
    ) -> None:
        self.estimator = estimator
        self.speeds = speeds
        self.sample_rate = sample_rate

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Make the copies, and fit the estimator to clips and copies.

        Parameters
        ----------
        X : array-like of shape (n_clips, n_samples), list of ndarray of shape (n_samples,), or \
                sequence of str or pathlib.Path
            Waveforms in [-1, 1], or paths to sound files.
        y : array-like of shape (n_clips,) or (n_clips, n_targets), optional
            Labels or numbers.
        **params
            Passed to the estimator's `fit`, such as ``sample_weight`` and ``groups``; to a step of
            a pipeline as ``ridgeclassifier__sample_weight``.

        Returns
        -------
        self

        Raises
        ------
        AudioFormatError
            If a clip is not a waveform or a file that can be read.
        ValueError
            If a speed is out of range, `y` has another length than `X`, or as the estimator's
            `fit` does.
        """
        ratios = self._check_speeds()
        clips = self._check_clips(X, reset=True)
        if y is not None:
            check_consistent_length(clips, y)
        n_clips = len(clips)
        copies = [_at_speed(clip, ratio) for ratio in ratios for clip in clips]
        self.n_copies_ = len(copies)
        repeated = {
            name: _repeat(value, n_clips, len(ratios) + 1)
            for name, value in self._route("fit", params).items()
        }
        y = None if y is None else _repeat(y, n_clips, len(ratios) + 1)
        self.estimator_ = clone(self.estimator).fit([*clips, *copies], y, **repeated)
        return self

    @available_if(_estimator_has("predict"))
    def predict(self, X: Any, **params: Any) -> NDArray:
        """Call the fitted estimator's `predict`.

        Parameters
        ----------
        X : as in :meth:`fit`
        **params
            Passed on.

        Returns
        -------
        ndarray of shape (n_clips,) or (n_clips, n_targets)
        """
        return self._call("predict", X, params)

    @available_if(_estimator_has("predict_proba"))
    def predict_proba(self, X: Any, **params: Any) -> NDArray:
        """Call the fitted estimator's `predict_proba`.

        Parameters
        ----------
        X : as in :meth:`fit`
        **params
            Passed on.

        Returns
        -------
        ndarray of shape (n_clips, n_classes)
        """
        return self._call("predict_proba", X, params)

    @available_if(_estimator_has("predict_log_proba"))
    def predict_log_proba(self, X: Any, **params: Any) -> NDArray:
        """Call the fitted estimator's `predict_log_proba`.

        Parameters
        ----------
        X : as in :meth:`fit`
        **params
            Passed on.

        Returns
        -------
        ndarray of shape (n_clips, n_classes)
        """
        return self._call("predict_log_proba", X, params)

    @available_if(_estimator_has("decision_function"))
    def decision_function(self, X: Any, **params: Any) -> NDArray:
        """Call the fitted estimator's `decision_function`.

        Parameters
        ----------
        X : as in :meth:`fit`
        **params
            Passed on.

        Returns
        -------
        ndarray of shape (n_clips, n_classes), or (n_clips,) for two classes
        """
        return self._call("decision_function", X, params)

    @available_if(_estimator_has("transform"))
    def transform(self, X: Any, **params: Any) -> Any:
        """Call the fitted estimator's `transform`.

        Parameters
        ----------
        X : as in :meth:`fit`
        **params
            Passed on.

        Returns
        -------
        array-like
            Of the clips as they are, without copies.
        """
        return self._call("transform", X, params)

    @available_if(_estimator_has("score"))
    def score(self, X: Any, y: Any = None, **params: Any) -> float:
        """Call the fitted estimator's `score`.

        Parameters
        ----------
        X, y : as in :meth:`fit`
        **params
            Passed on, such as ``sample_weight``.

        Returns
        -------
        float
        """
        return self._call("score", X, params, y)

    @property
    def classes_(self) -> NDArray:
        """Labels of the fitted classifier."""
        return self.estimator_.classes_

    def get_metadata_routing(self) -> MetadataRouter:
        """Return what is passed on to the estimator where scikit-learn's routing is enabled.

        Returns
        -------
        MetadataRouter
        """
        mapping = MethodMapping()
        for method in (
            "fit", "predict", "predict_proba", "predict_log_proba", "decision_function",
            "transform", "score",
        ):  # fmt: skip
            mapping.add(caller=method, callee=method)
        return MetadataRouter(owner=self).add(estimator=self.estimator, method_mapping=mapping)

    def _check_speeds(self) -> list[Fraction]:
        for speed in self.speeds:
            if not isinstance(speed, Real) or not _SLOWEST <= float(speed) <= _FASTEST:
                raise ValueError(
                    f"speeds holds {speed!r}, but expected numbers from {_SLOWEST} to {_FASTEST}, "
                    "such as 1.08 for a copy that is 8% faster."
                )
        return [Fraction(float(speed)).limit_denominator(1000) for speed in self.speeds]

    def _check_clips(self, X: Any, *, reset: bool) -> list[NDArray[np.float32]]:
        """Read files; check waveforms, and list them with the rates that they remember."""
        if holds_paths(X):
            X = AudioLoader(sample_rate=self.sample_rate).fit_transform(X)
        clips = check_waveforms(self, X, reset=reset)
        rates = remembered_rates(X) or [None] * len(clips)
        return [
            clip if rate is None else Waveform(clip, rate)
            for clip, rate in zip(clips, rates, strict=True)
        ]

    def _route(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Choose which parameters of a call are the estimator's: all, unless routing says less."""
        if not get_config()["enable_metadata_routing"]:
            return params
        routed: Bunch = process_routing(self, method, **params)
        return routed.estimator[method]

    def _call(self, method: str, X: Any, params: dict[str, Any], *y: Any) -> Any:
        check_is_fitted(self)
        clips = self._check_clips(X, reset=False)
        return getattr(self.estimator_, method)(clips, *y, **self._route(method, params))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self) -> Any:
        tags, inner = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = deepcopy(inner.classifier_tags)
        tags.regressor_tags = deepcopy(inner.regressor_tags)
        tags.transformer_tags = deepcopy(inner.transformer_tags)
        tags.target_tags = deepcopy(inner.target_tags)
        tags.non_deterministic = inner.non_deterministic
        tags.input_tags.string = True
        return tags


def _at_speed(clip: NDArray[np.float32], speed: Fraction) -> NDArray[np.float32]:
    # Taken as samples at a rate of `numerator`, converted to `denominator` and then played at the
    # rate of the clip, a clip passes in 1 / speed of its time.
    copy = resample(np.asarray(clip), speed.numerator, speed.denominator)
    return Waveform(copy, clip.sample_rate) if isinstance(clip, Waveform) else copy


def _repeat(value: Any, n_clips: int, times: int) -> Any:
    """Repeat what has one entry for each clip; return anything else as it is."""
    if hasattr(value, "__array__") and not hasattr(value, "ndim"):  # a Series of polars, too
        value = np.asarray(value)
    is_sequence = isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) > 0
    if not is_sequence or len(value) != n_clips:
        return value
    places = np.tile(np.arange(n_clips), times)
    if hasattr(value, "iloc"):
        return value.iloc[places]
    return value[places] if hasattr(value, "dtype") else [value[i] for i in places]
