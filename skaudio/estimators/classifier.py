"""Recognise classes of sound."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.utils import assert_all_finite
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from skaudio._validation import Interval, StrOptions, fit_context
from skaudio.estimators._base import BaseAudioEstimator, mean_per_clip
from skaudio.estimators._losses import CLASSIFICATION_LOSSES
from skaudio.estimators._parts import Part
from skaudio.metrics import unweighted_average_recall

__all__ = ["AudioClassifier"]


class AudioClassifier(ClassifierMixin, BaseAudioEstimator):
    """Neural network that names what is in a clip.

    Parameters
    ----------
    network : BaseNetwork, torch.nn.Module or callable, optional
        What recognises. One of :mod:`skaudio.networks`; a module of your own, which is copied,
        takes features of shape ``(batch, 1, n_bands, n_frames)`` and returns logits;
        or a callable with the signature of :meth:`skaudio.networks.BaseNetwork.build`. None
        means ``MTSNet()``.
    frontend : LogMelSpectrogram or MFCC, optional
        Computes features inside the network, batch by batch, so that `X` may hold waveforms or
        paths. Files are then read when their batch is due.
    window : float, optional
        Seconds of each clip to look at: a random window in each training epoch, the middle of
        the clip in prediction. Shorter clips are padded with silence. Needs a `frontend`.
    window_aggregation : {"center", "mean"}, default="center"
        Whether a prediction looks at the middle window, or averages over windows side by side
        that cover the whole clip.
    augmentation : Augmentation, optional
        What is changed at random while training, such as
        :class:`skaudio.augmentation.AdditiveNoise`; chains are made with
        :func:`skaudio.augmentation.make_chain`.
    mixup : float, default=0.0
        Concentration of the beta distribution that pairs of clips are mixed by [1]_; 0 mixes
        none.
    loss : {"cross_entropy", "focal", "ordinal"} or callable, default="cross_entropy"
        A callable is given logits of shape ``(batch, n_classes)`` and class numbers of shape
        ``(batch,)``, and returns one loss per clip. A module is copied.
    class_weight : {"balanced"} or dict, optional
        Weights by label, >= 0; labels left out weigh 1. "balanced" lets all classes count the
        same, whatever the number of their clips and the sum of their weights.
    label_smoothing : float, default=0.0
        Share of each target that is spread over all classes, with the cross-entropy.
    optimizer : {"adamw", "adam", "sgd", "rmsprop", "adadelta"} or callable, default="adamw"
        A callable is given the parameters and ``lr`` (and ``weight_decay`` unless that is 0), as
        any class of :mod:`torch.optim`. ``"sgd"`` has momentum 0.9.
    lr : float, default=0.003
        Learning rate to begin with.
    weight_decay : float, default=0.01
    lr_schedule : {"cosine", "one_cycle", "plateau", "staged"} or None, default="cosine"
        How the learning rate changes: it falls along a cosine; rises, then falls; falls tenfold
        after ``patience / 2`` epochs without improvement; falls in the three stages of EmoNet,
        each ending after `patience` epochs without a better validation score; stays.
    clip_norm : float, optional
        Largest norm of the gradient; longer ones are scaled down.
    max_epochs : int, default=30
    batch_size : int, default=32
    early_stopping : bool, default=False
        Hold back clips for validation, end the training after `patience` epochs without
        improvement, and keep the weights of the best epoch. Without `groups` the clips are drawn
        at random, so that a speaker may stand on both sides and validation scores are too high.
    validation_fraction : float, default=0.1
        Share of clips to hold back.
    monitor : {"valid_loss", "valid_score"}, default="valid_loss"
        What tells the best epoch. The score is the unweighted average recall; ``"staged"`` goes
        by it in any case.
    patience : int, default=10
    callbacks : list of skorch callbacks, optional
        For example ``[skorch.callbacks.TensorBoard(SummaryWriter())]``, which needs the extra
        ``skaudio[tensorboard]``. With skorch's ``LRScheduler``, set ``lr_schedule=None``.
    checkpoint_dir : str or Path, optional
        Folder for checkpoints. Each run has a subfolder of its own, named after its parameters
        and data. If a run was killed, the same :meth:`fit` continues it and ends with the same
        result as if nothing had happened; a finished run starts afresh. The state of `callbacks`
        is not saved.
    device : str, default="auto"
        A torch device such as ``"cpu"`` or ``"cuda:1"``; "auto" takes the GPU if there is one.
    amp : {"bfloat16", "float16"}, optional
        Precision of the training on a GPU; without one it does nothing.
    n_workers : int, default=1
        Threads that read files ahead; 0 reads them when they are due. The result does not depend
        on it.
    warm_start : bool, default=False
        Whether another call of :meth:`fit` goes on with the trained network. Loss, optimiser,
        `lr`, `mixup` and `amp` are then those set by now; network and front end stay. Such
        further training writes no checkpoints.
    random_state : int, RandomState instance or None, default=None
        With an integer the result is the same to the last bit on a CPU, for the same number of
        torch threads. Global random generators are left as they were.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_`` is the torch module.
    history_ : DataFrame
        One row per epoch: ``train_loss``, ``valid_loss``, ``valid_score``, ``lr``, ``dur``
        (seconds), and what the network reports of itself.
    n_features_in_ : int
        Bands seen in :meth:`fit`, or columns of a 2-D array.

    References
    ----------
    .. [1] Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.

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

    _parameter_constraints: dict = {
        **BaseAudioEstimator._parameter_constraints,
        "loss": [StrOptions(set(CLASSIFICATION_LOSSES)), callable],
        "class_weight": [None, StrOptions({"balanced"}), dict],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    }

    _stratifies = True

    def __init__(
        self,
        network: Any = None,
        *,
        frontend: Any = None,
        window: float | None = None,
        window_aggregation: str = "center",
        augmentation: Any = None,
        mixup: float = 0.0,
        loss: str | Callable = "cross_entropy",
        class_weight: str | dict | None = None,
        label_smoothing: float = 0.0,
        optimizer: str | Callable = "adamw",
        lr: float = 3e-3,
        weight_decay: float = 1e-2,
        lr_schedule: str | None = "cosine",
        clip_norm: float | None = None,
        max_epochs: int = 30,
        batch_size: int = 32,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        monitor: str = "valid_loss",
        patience: int = 10,
        callbacks: list | None = None,
        checkpoint_dir: Any = None,
        device: str = "auto",
        amp: str | None = None,
        n_workers: int = 1,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.network = network
        self.frontend = frontend
        self.window = window
        self.window_aggregation = window_aggregation
        self.augmentation = augmentation
        self.mixup = mixup
        self.loss = loss
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.lr_schedule = lr_schedule
        self.clip_norm = clip_norm
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.monitor = monitor
        self.patience = patience
        self.callbacks = callbacks
        self.checkpoint_dir = checkpoint_dir
        self.device = device
        self.amp = amp
        self.n_workers = n_workers
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=False)
    def partial_fit(
        self,
        X: Any,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> AudioClassifier:
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
            If `classes` differs from what an earlier call settled, or as in :meth:`fit`.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all labels at once and does not work in "
                "partial_fit. Pass a dict of weights, or sample_weight."
            )
        if classes is not None:
            self._expected_classes = self._check_classes(classes)
        try:
            return self._fit_one_epoch(X, y, sample_weight)
        finally:
            self.__dict__.pop("_expected_classes", None)

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Probability of each class.

        Parameters
        ----------
        X : as in :meth:`fit`

        Returns
        -------
        ndarray of shape (n_clips, n_classes)
            Columns in the order of ``classes_``; rows sum to 1.
        """
        outputs, clip = self._predict_outputs(X)
        return mean_per_clip(softmax(outputs, axis=1), clip).astype(np.float32)

    def predict_log_proba(self, X: Any) -> NDArray[np.float32]:
        """Logarithm of :meth:`predict_proba`, finite where a probability rounds to zero.

        Parameters
        ----------
        X : as in :meth:`fit`

        Returns
        -------
        ndarray of shape (n_clips, n_classes)
        """
        outputs, clip = self._predict_outputs(X)
        counts = np.bincount(clip)[:, np.newaxis]
        log_total = np.full((len(counts), outputs.shape[1]), -np.inf)
        np.logaddexp.at(log_total, clip, log_softmax(outputs, axis=1))
        return (log_total - np.log(counts)).astype(np.float32)

    def predict(self, X: Any) -> NDArray:
        """Most probable label of each clip.

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
    def _n_outputs(self) -> int:
        return len(self.classes_)

    def _check_classes(self, classes: ArrayLike) -> NDArray:
        given = np.unique(classes)
        if self.__sklearn_is_fitted__() and not np.array_equal(given, self.classes_):
            raise ValueError(
                f"`classes={given.tolist()}` is not the same as on last call to partial_fit or "
                f"fit, was: {self.classes_.tolist()}. Pass the same, leave it out, or start with "
                "a new estimator."
            )
        return given

    def _check_y(self, y: Any, *, input_name: str = "y") -> NDArray:
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name=input_name)
        check_classification_targets(y)
        return y

    def _encode(
        self, y: NDArray, weight: NDArray | None, *, reset: bool, input_name: str = "y"
    ) -> NDArray:
        if reset:
            self.classes_ = getattr(self, "_expected_classes", np.unique(y))
            if len(self.classes_) < 2:
                raise ValueError(
                    f"y holds one class only, {self.classes_.tolist()}, but a classifier needs "
                    "at least two."
                )
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(
                f"{input_name} holds the label {unknown.tolist()[0]!r}, which is not one of the "
                f"classes of the first fit: {self.classes_.tolist()}. Give all labels there "
                "(partial_fit has `classes`)."
            )
        return np.searchsorted(self.classes_, y).astype(np.int64)

    def _weigh(self, target: NDArray, weight: NDArray | None) -> NDArray | None:
        if self.class_weight is None:
            return weight
        if isinstance(self.class_weight, dict):
            by_class = _check_class_weight(self.class_weight, self.classes_)
        else:
            by_class = _balance(target, weight)
        return by_class[target] if weight is None else by_class[target] * weight

    def _start_head(self, head: torch.nn.Linear, training: Part) -> None:
        """Let the untrained network predict the shares of the classes."""
        shares = np.bincount(training.target, weights=training.weight, minlength=self._n_outputs)
        if not shares.any():  # a first chunk of classes that weigh nothing
            return
        prior = np.maximum(shares, 1e-3 * shares.max()) / shares.sum()
        if head.bias is not None and head.out_features == self._n_outputs:
            with torch.no_grad():
                head.bias.copy_(torch.from_numpy(np.log(prior)))

    @staticmethod
    def _validation_score(target: NDArray, output: NDArray) -> float:
        return unweighted_average_recall(target, output.argmax(axis=1))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def _balance(target: NDArray, weight: NDArray | None) -> NDArray[np.float64]:
    """Give each class number the factor that lets all classes weigh the same."""
    totals = np.bincount(target, weights=weight).astype(np.float64)
    present = totals > 0
    factors = np.zeros_like(totals)
    factors[present] = totals.sum() / (present.sum() * totals[present])
    return factors


def _check_class_weight(class_weight: dict, classes: NDArray) -> NDArray[np.float64]:
    """Give each class its weight, whether or not clips of it are at hand."""
    weights = compute_class_weight(class_weight, classes=classes, y=classes)
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise ValueError(
            f"class_weight gives {classes.tolist()[wrong[0]]!r} the weight {weights[wrong[0]]}, "
            "but expected a finite number >= 0."
        )
    if not weights.any():
        raise ValueError(
            f"class_weight gives all classes {classes.tolist()} the weight 0, so that nothing "
            "would be learned. Give at least one a weight > 0."
        )
    return weights
