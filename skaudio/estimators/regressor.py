"""Estimate numbers from sound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_array

from skaudio._validation import StrOptions, fit_context
from skaudio.estimators._base import BaseAudioEstimator, mean_per_clip
from skaudio.estimators._losses import REGRESSION_LOSSES
from skaudio.estimators._parts import Part
from skaudio.losses import ConcordanceLoss
from skaudio.metrics import concordance_correlation

__all__ = ["AudioRegressor"]


class AudioRegressor(RegressorMixin, BaseAudioEstimator):
    """Neural network that estimates one or several numbers of a clip.

    The targets are standardised for the training, and predictions come in the targets' own units.

    Parameters
    ----------
    network : BaseNetwork, torch.nn.Module or callable, optional
        What recognises. One of :mod:`skaudio.networks`; a module of your own, which is copied,
        takes features of shape ``(batch, 1, n_bands, n_frames)`` and returns one column per target;
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
        none. Not with the concordance loss, which has no loss per clip to be shared.
    loss : {"squared_error", "absolute_error", "huber", "concordance"} or callable, \
            default="squared_error"
        A callable is given estimates and standardised targets of shape ``(batch, n_targets)``,
        and returns one loss per clip. A module is copied.
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
        What tells the best epoch. The score is the concordance correlation; ``"staged"`` goes by
        it in any case.
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
    target_mean_, target_scale_ : ndarray of shape (n_targets,)
        What the targets are standardised by.
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
    """

    _parameter_constraints: dict = {
        **BaseAudioEstimator._parameter_constraints,
        "loss": [StrOptions(set(REGRESSION_LOSSES)), callable],
    }

    _stratifies = False

    def __init__(
        self,
        network: Any = None,
        *,
        frontend: Any = None,
        window: float | None = None,
        window_aggregation: str = "center",
        augmentation: Any = None,
        mixup: float = 0.0,
        loss: str | Callable = "squared_error",
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
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> AudioRegressor:
        """Train for one more epoch, on these clips.

        The first call settles the scale of the targets.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`, but weights count as they are: they are not scaled to mean 1, so
            that they mean the same in every call.

        Returns
        -------
        self
        """
        return self._fit_one_epoch(X, y, sample_weight)

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
        y = mean_per_clip(outputs, clip) * self.target_scale_ + self.target_mean_
        return y[:, 0] if self._is_flat else y

    @property
    def _n_outputs(self) -> int:
        return len(self.target_mean_)

    def _check_options(self) -> None:
        super()._check_options()
        whole_batch = self.loss == "concordance" or isinstance(self.loss, ConcordanceLoss)
        if self.mixup and whole_batch:
            raise ValueError(
                f"mixup={self.mixup} shares the loss of each clip between two targets, but "
                "loss='concordance' is one number for the whole batch. Set mixup=0, or take "
                "'squared_error', 'absolute_error', 'huber' or another loss per clip."
            )

    def _check_y(self, y: Any, *, input_name: str = "y") -> NDArray:
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name=input_name)
        if y.ndim not in (1, 2):
            raise ValueError(
                f"{input_name} has shape {y.shape}, but expected (n_clips,) or "
                "(n_clips, n_targets)."
            )
        return y

    def _encode(
        self, y: NDArray, weight: NDArray | None, *, reset: bool, input_name: str = "y"
    ) -> NDArray:
        if reset:
            self._is_flat = y.ndim == 1
        y = y.reshape(len(y), -1)
        if reset:
            self.target_mean_ = np.average(y, axis=0, weights=weight)
            deviation = np.sqrt(np.average((y - self.target_mean_) ** 2, axis=0, weights=weight))
            self.target_scale_ = np.where(deviation > 0, deviation, 1.0)
        if y.shape[1] != self._n_outputs:
            raise ValueError(
                f"{input_name} has {y.shape[1]} targets, but the first fit had {self._n_outputs}."
            )
        return ((y - self.target_mean_) / self.target_scale_).astype(np.float32)

    def _weigh(self, target: NDArray, weight: NDArray | None) -> NDArray | None:
        return weight

    def _start_head(self, head: torch.nn.Linear, part: Part) -> None:
        """Let the untrained network answer with the targets' mean, which is zero here."""
        if head.bias is not None:
            torch.nn.init.zeros_(head.bias)

    @staticmethod
    def _validation_score(target: NDArray, output: NDArray) -> float:
        return float(concordance_correlation(target, output))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.input_tags.three_d_array = True
        return tags
