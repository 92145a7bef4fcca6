"""What a network has learned, as features for other estimators."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    MetaEstimatorMixin,
    TransformerMixin,
    clone,
)
from sklearn.frozen import FrozenEstimator
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import check_is_fitted

from skaudio._validation import HasMethods, fit_context
from skaudio.estimators import AudioClassifier, AudioRegressor

__all__ = ["NetworkFeatures"]


class NetworkFeatures(
    ClassNamePrefixFeaturesOutMixin, MetaEstimatorMixin, TransformerMixin, BaseEstimator
):
    """Compute the vector that a network's last layer sees, one row for each clip.

    A ridge classifier, an SVM, a nearest-neighbour search or a plot can follow.

    Parameters
    ----------
    estimator : AudioClassifier, AudioRegressor or FrozenEstimator
        The network and how it is trained, in ``fit``; within a cross-validation on the training
        clips of each fold. One that is trained already stays as it is in a
        :class:`~sklearn.frozen.FrozenEstimator`.

    Attributes
    ----------
    estimator_ : AudioClassifier or AudioRegressor
        The trained estimator.

    See Also
    --------
    RandomConvolutions : Features of a convolutional network that is not trained at all.
    skaudio.AudioClassifier : Its method ``embed`` computes the same vectors.

    Examples
    --------
    >>> from sklearn.frozen import FrozenEstimator
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from skaudio import AudioClassifier, LogMelSpectrogram
    >>> from skaudio.datasets import make_tones
    >>> from skaudio.pipelines import NetworkFeatures
    >>> X, y = make_tones(60, sample_rate=8000, random_state=0)
    >>> frontend = LogMelSpectrogram(sample_rate=8000)
    >>> trained = AudioClassifier(frontend=frontend, max_epochs=10, random_state=0)
    >>> trained = trained.fit(X[:40], y[:40])
    >>> search = make_pipeline(NetworkFeatures(FrozenEstimator(trained)), KNeighborsClassifier(3))
    >>> search.fit(X[:40], y[:40]).score(X[40:], y[40:])
    1.0
    """

    _parameter_constraints: dict = {"estimator": [HasMethods("fit")]}

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Train the network, unless it is a trained one in a ``FrozenEstimator``.

        Parameters
        ----------
        X : as `estimator` takes it
            Features, or waveforms and paths with a front end.
        y : array-like
            Labels or numbers; a trained network needs none.
        **params
            Passed to the estimator's ``fit``, such as ``groups``.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If `estimator` is anything else than described above.
        ValueError
            If the network has no layer called ``head``.
        """
        is_frozen = isinstance(self.estimator, FrozenEstimator)
        inner = self.estimator.estimator if is_frozen else self.estimator
        if not isinstance(inner, (AudioClassifier, AudioRegressor)):
            raise TypeError(
                f"estimator is {self.estimator!r}, but expected an AudioClassifier or "
                "AudioRegressor, or one of them in a FrozenEstimator. Put steps before it in a "
                "Pipeline before this transformer."
            )
        if is_frozen:
            check_is_fitted(inner)
            self.estimator_ = inner
        else:
            if get_config()["enable_metadata_routing"]:
                params = process_routing(self, "fit", **params).estimator.fit
            self.estimator_ = clone(inner).fit(X, y, **params)
        first = X[:1] if hasattr(X, "__getitem__") else np.asarray(X)[:1]
        self._n_features_out = self.estimator_.embed(first).shape[1]
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Compute the vectors.

        Parameters
        ----------
        X : as in :meth:`fit`

        Returns
        -------
        ndarray of shape (n_clips, n_values)
            Float32.
        """
        check_is_fitted(self)
        return self.estimator_.embed(X)

    @property
    def n_features_in_(self) -> int:
        """Number of bands or samples seen in ``fit``."""
        return self.estimator_.n_features_in_

    def get_metadata_routing(self) -> MetadataRouter:
        """Return what is passed on to the estimator where scikit-learn's routing is enabled.

        Returns
        -------
        MetadataRouter
        """
        mapping = MethodMapping().add(caller="fit", callee="fit")
        return MetadataRouter(owner=self).add(estimator=self.estimator, method_mapping=mapping)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags = inner.input_tags
        tags.target_tags.required = inner.target_tags.required
        tags.transformer_tags.preserves_dtype = []
        return tags
