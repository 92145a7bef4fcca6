"""Recognise classes of sound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin

from skaudio._validation import Interval, StrOptions, fit_context
from skaudio.augmentation import Augmentation, PresetName
from skaudio.estimators._base import BaseAudioEstimator
from skaudio.estimators._docs import document
from skaudio.estimators._optimization import OptimizerName, ScheduleName
from skaudio.estimators._targets import ClassTarget
from skaudio.estimators._trained_net import mean_per_clip
from skaudio.estimators._transfer import Mode
from skaudio.losses import CLASSIFICATION_LOSSES, ClassificationLoss, OrdinalLoss

__all__ = ["AudioClassifier"]


@document
class AudioClassifier(ClassifierMixin, BaseAudioEstimator):
    """Neural network that names what is in a clip.

    Parameters
    ----------
    <network parameters>
    loss : {"cross_entropy", "focal", "ordinal"} or callable, default="cross_entropy"
        A callable is called with logits of shape ``(batch, n_classes)`` and class numbers of shape
        ``(batch,)``, and returns one loss per clip. A module is copied.
    class_weight : {"balanced"} or dict, optional
        Weights by label, >= 0; labels left out weigh 1. "balanced" lets all classes count the
        same, whatever the number of their clips and the sum of their weights. For what numbers
        the labels before (see `class_order`), weights are by number.
    class_order : sequence of labels, optional
        All labels from the lowest to the highest, for ``loss="ordinal"``. By default the order of
        `y` where it is an ordered pandas Categorical, else that of numbers, also of numbers
        written as text. ``classes_`` and the columns of probabilities stay sorted. Pass it under
        ``cross_val_predict(method="predict_proba")`` and in a ``VotingClassifier`` or
        ``StackingClassifier``, which number the labels before :meth:`fit` sees them and so hide
        their order.
    label_smoothing : float, default=0.1
        Share of each target that is spread over all classes. Only for ``loss="cross_entropy"``.
    <training parameters>

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    <attributes>

    See Also
    --------
    AudioRegressor : The same for numbers.
    skaudio.networks : What can be passed as `network`.
    skaudio.features : What can be passed as `frontend`, or put before the estimator.

    References
    ----------
    .. [1] Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
    .. [2] Gerczuk et al., "EmoNet: A Transfer Learning Framework for Multi-Corpus Speech Emotion
       Recognition", arXiv 2103.08310, 2021.

    Examples
    --------
    >>> from skaudio import AudioClassifier, LogMelSpectrogram
    >>> from skaudio.datasets import make_tones
    >>> X, y = make_tones(60, sample_rate=8000, random_state=0)
    >>> frontend = LogMelSpectrogram(sample_rate=8000)
    >>> model = AudioClassifier(frontend=frontend, max_epochs=10, random_state=0)
    >>> model.fit(X[:40], y[:40]).score(X[40:], y[40:])
    1.0
    """

    target_: ClassTarget

    _parameter_constraints: dict = {
        **BaseAudioEstimator._parameter_constraints,
        "loss": [StrOptions(set(CLASSIFICATION_LOSSES)), callable],
        "class_weight": [None, StrOptions({"balanced"}), dict],
        "class_order": [None, "array-like"],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        network: Any = None,
        *,
        frontend: Any = None,
        crop: float | None = None,
        crop_aggregation: Literal["center", "mean"] = "center",
        augmentation: Augmentation | Sequence[Augmentation] | PresetName | None = None,
        mixup: float = 0.0,
        loss: ClassificationLoss | Callable = "cross_entropy",
        class_weight: Literal["balanced"] | dict | None = None,
        class_order: Sequence | None = None,
        label_smoothing: float = 0.1,
        optimizer: OptimizerName | Callable = "adamw",
        lr: float = 2e-3,
        weight_decay: float = 5e-2,
        lr_schedule: ScheduleName | None = "one_cycle",
        lr_decay: float | Literal["size"] = 0.0,
        clip_norm: float | None = 5.0,
        max_epochs: int | None = None,
        batch_size: int = 8,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        monitor: Literal["valid_loss", "valid_score"] = "valid_loss",
        patience: int = 10,
        mode: Mode | None = None,
        pretrained: Any = None,
        callbacks: list | None = None,
        checkpoint_dir: str | Path | None = None,
        device: str = "auto",
        amp: Literal["bfloat16", "float16"] | None = None,
        n_jobs: int | None = None,
        n_threads: int | None = None,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        own_loss: Any = loss  # the base class knows the losses of the regressor
        super().__init__(
            network, frontend=frontend, crop=crop, crop_aggregation=crop_aggregation,
            augmentation=augmentation, mixup=mixup, loss=own_loss, optimizer=optimizer, lr=lr,
            weight_decay=weight_decay, lr_schedule=lr_schedule, lr_decay=lr_decay,
            clip_norm=clip_norm, max_epochs=max_epochs, batch_size=batch_size,
            early_stopping=early_stopping, validation_fraction=validation_fraction,
            monitor=monitor, patience=patience, mode=mode, pretrained=pretrained,
            callbacks=callbacks, checkpoint_dir=checkpoint_dir, device=device, amp=amp,
            n_jobs=n_jobs, n_threads=n_threads, warm_start=warm_start, random_state=random_state,
            verbose=verbose,
        )  # fmt: skip
        self.class_weight = class_weight
        self.class_order = class_order
        self.label_smoothing = label_smoothing

    @fit_context(prefer_skip_nested_validation=False)
    def partial_fit(
        self,
        X: Any,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train for one more epoch, on these clips.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`, but weights count as they are: they are not scaled to mean 1, so
            that they mean the same in every call.
        classes : array-like of shape (n_classes,), optional
            All labels that will ever come; needed in the first call if `y` lacks some.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `classes` differs from those of an earlier call, or as in :meth:`fit`.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all labels at once and does not work in "
                "partial_fit. Pass a dict of weights, or sample_weight."
            )
        target = self._new_target(y, self._check_classes(classes))
        return self._fit_one_epoch(X, y, target, sample_weight)

    def decision_function(self, X: Any) -> NDArray[np.float32]:
        """Compute the network's outputs before they become probabilities, the logits.

        Parameters
        ----------
        X : as in :meth:`fit`

        Returns
        -------
        ndarray of shape (n_clips, n_classes), or (n_clips,) for two classes
            Columns in the order of ``classes_``; the logarithm of the mean of the probabilities
            where a clip has several crops. Of two classes, the second column minus the first:
            positive values speak for the second.
        """
        outputs, clip = self._predict_outputs(X)
        has_crops = len(outputs) > clip.max() + 1
        logits = log_class_probabilities(outputs, clip) if has_crops else outputs
        if logits.shape[1] == 2:
            logits = logits[:, 1] - logits[:, 0]
        return logits.astype(np.float32)

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Compute the probability of each class.

        Parameters
        ----------
        X : as in :meth:`fit`

        Returns
        -------
        ndarray of shape (n_clips, n_classes)
            Columns in the order of ``classes_``; rows sum to 1.
        """
        return class_probabilities(*self._predict_outputs(X))

    def predict_log_proba(self, X: Any) -> NDArray[np.float32]:
        """Compute the logarithm of :meth:`predict_proba`, finite where that rounds to zero.

        Parameters
        ----------
        X : as in :meth:`fit`

        Returns
        -------
        ndarray of shape (n_clips, n_classes)
        """
        return log_class_probabilities(*self._predict_outputs(X))

    def predict(self, X: Any) -> NDArray:
        """Find the most probable label of each clip.

        Parameters
        ----------
        X : as in :meth:`fit`

        Returns
        -------
        ndarray of shape (n_clips,)
        """
        most_probable = self.predict_proba(X).argmax(axis=1)
        return self.classes_[most_probable]

    @property
    def classes_(self) -> NDArray:
        """The labels, sorted."""
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"{type(self).__name__} has no classes_ before it is fitted.")
        return self.target_.labels

    def _check_classes(self, classes: ArrayLike | None) -> NDArray | None:
        if classes is None:
            return None
        given = np.unique(ClassTarget().check(classes, "classes"))
        if len(given) < 2:
            raise ValueError(
                f"classes is {given.tolist()}, but a classifier needs at least two labels. Pass "
                "all that will ever come."
            )
        if self.__sklearn_is_fitted__() and not np.array_equal(given, self.classes_):
            raise ValueError(
                f"`classes={given.tolist()}` is not the same as on last call to partial_fit or "
                f"fit, was: {self.classes_.tolist()}. Pass the same, leave it out, or start with "
                "a new estimator."
            )
        return given

    def _new_target(self, y: Any, classes: NDArray | None = None) -> ClassTarget:
        order = self.class_order
        if order is None:
            order = _ordered_categories(y)
        return ClassTarget(self.class_weight, order, classes)

    def _loss_options(self, target: Any) -> dict[str, Any]:
        if self.loss == "cross_entropy":
            return {"label_smoothing": self.label_smoothing}
        if self.loss == "ordinal":
            return {"order": tuple(target.ranks().tolist())}
        if isinstance(self.loss, OrdinalLoss) and self.loss.rank is None:
            _check_sorted(target)
        return {}

    def _check_options(self) -> None:
        super()._check_options()
        if self.class_order is not None and self.loss != "ordinal":
            raise ValueError(
                f"class_order={list(self.class_order)} is for loss='ordinal' only, but loss is "
                f"{self.loss!r}. Set loss='ordinal', or leave class_order out."
            )


def class_probabilities(
    outputs: NDArray[np.float64], clip: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Turn the logits of segments into the probabilities of the clips that these are of."""
    return mean_per_clip(softmax(outputs, axis=1), clip).astype(np.float32)


def log_class_probabilities(
    outputs: NDArray[np.float64], clip: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Compute the logarithm of :func:`class_probabilities`, finite where that rounds to zero."""
    # ln of the mean over a clip's n segments: logsumexp of their logarithms, minus ln n
    counts = np.bincount(clip)[:, np.newaxis]
    log_total = np.full((len(counts), outputs.shape[1]), -np.inf)
    np.logaddexp.at(log_total, clip, log_softmax(outputs, axis=1))
    return (log_total - np.log(counts)).astype(np.float32)


def _check_sorted(target: ClassTarget) -> None:
    """Refuse classes whose order is not that of the columns."""
    if (np.diff(target.ranks()) < 0).any():
        raise ValueError(
            f"loss=OrdinalLoss() takes the classes in the order of the columns, "
            f"{target.labels.tolist()}, which is not their own. Set loss='ordinal', which knows "
            "their order."
        )


def _ordered_categories(y: Any) -> list | None:
    """Return the categories of an ordered Categorical, or of a Series or one column of it."""
    if getattr(y, "ndim", 1) == 2 and hasattr(y, "iloc"):
        y = y.iloc[:, 0]
    categorical = getattr(y, "cat", y)
    return categorical.categories.tolist() if getattr(categorical, "ordered", False) else None
