"""Estimate numbers from sound."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin

from skaudio._validation import StrOptions, fit_context
from skaudio.estimators._base import BaseAudioEstimator
from skaudio.estimators._docs import document
from skaudio.estimators._targets import NumberTarget
from skaudio.estimators._trained_net import mean_per_clip
from skaudio.losses import REGRESSION_LOSSES, ConcordanceLoss

__all__ = ["AudioRegressor"]


@document
class AudioRegressor(RegressorMixin, BaseAudioEstimator):
    """Neural network that estimates one or several numbers of a clip.

    The targets are standardised for the training, and predictions come in the targets' own units.

    Parameters
    ----------
    <network parameters>
    loss : {"squared_error", "absolute_error", "huber", "concordance"} or callable, \
            default="squared_error"
        A callable is called with estimates and standardised targets of shape
        ``(batch, n_targets)``, and returns one loss per clip. A module is copied.
    <training parameters>

    Attributes
    ----------
    target_mean_, target_scale_ : ndarray of shape (n_targets,)
        What the targets are standardised by.
    <attributes>

    See Also
    --------
    AudioClassifier : The same for labels.
    skaudio.metrics.concordance_correlation : How estimates of emotion are scored.

    References
    ----------
    .. [1] Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
    .. [2] Gerczuk et al., "EmoNet: A Transfer Learning Framework for Multi-Corpus Speech Emotion
       Recognition", arXiv 2103.08310, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from skaudio import AudioRegressor
    >>> rng = np.random.default_rng(0)
    >>> position = rng.uniform(size=240)  # of a peak among 16 bands
    >>> X = rng.normal(size=(240, 16, 20))
    >>> X[np.arange(240), (16 * position).astype(int)] += 10
    >>> model = AudioRegressor(max_epochs=10, random_state=0).fit(X[:200], position[:200])
    >>> bool(model.score(X[200:], position[200:]) > 0.8)
    True
    """

    target_: NumberTarget

    _parameter_constraints: dict = {
        **BaseAudioEstimator._parameter_constraints,
        "loss": [StrOptions(set(REGRESSION_LOSSES)), callable],
    }

    @fit_context(prefer_skip_nested_validation=False)
    def partial_fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train for one more epoch, on these clips.

        The first call determines the scale of the targets.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`, but weights count as they are: they are not scaled to mean 1, so
            that they mean the same in every call.

        Returns
        -------
        self
        """
        return self._fit_one_epoch(X, y, self._new_target(y), sample_weight)

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Estimate the targets of each clip.

        Parameters
        ----------
        X : as in :meth:`fit`

        Returns
        -------
        ndarray of shape (n_clips,) or (n_clips, n_targets)
            As many axes as `y` had in :meth:`fit`.
        """
        outputs, clip = self._predict_outputs(X)
        return self.target_.decode(mean_per_clip(outputs, clip))

    @property
    def target_mean_(self) -> NDArray[np.float64] | None:
        """Mean of each target, of all clips that `fit` was given."""
        return self.target_.mean

    @property
    def target_scale_(self) -> NDArray[np.float64] | None:
        """Standard deviation of each target in the training set; 1 where it is constant."""
        return self.target_.scale

    def _new_target(self, y: Any) -> NumberTarget:
        return NumberTarget()

    def _loss_options(self, target: Any) -> dict[str, Any]:
        return {}

    def _check_options(self) -> None:
        super()._check_options()
        whole_batch = self.loss == "concordance" or isinstance(self.loss, ConcordanceLoss)
        if self.mixup and whole_batch:
            raise ValueError(
                f"mixup={self.mixup} shares the loss of each clip between two targets, but "
                "loss='concordance' is one number for the whole batch. Set mixup=0, or take "
                "'squared_error', 'absolute_error', 'huber' or another loss per clip."
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
