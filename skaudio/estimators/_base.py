"""What the classifier and the regressor share: from arrays to a trained net, and back."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
import torch
from joblib import effective_n_jobs
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from tqdm import tqdm

from skaudio._artifacts import hash_value
from skaudio._validation import (
    CallbackSupportMixin,
    HasMethods,
    Interval,
    StrOptions,
    check_seed,
    fit_context,
    with_callbacks,
)
from skaudio.augmentation import Augmentation, PresetName, make_chain, preset
from skaudio.estimators._batches import (
    EqualLengthBatches,
    count_epochs,
    count_rounds,
)
from skaudio.estimators._callbacks import fit_task
from skaudio.estimators._checkpoint import Checkpoints
from skaudio.estimators._data import (
    ClipSource,
    Corpus,
    check_clips,
    make_training_set,
    make_validation_set,
    search_has_groups,
)
from skaudio.estimators._module import Architecture, check_frontend, differences
from skaudio.estimators._net import AudioNet, StepSettings, choose_device
from skaudio.estimators._optimization import (
    OPTIMIZERS,
    SCHEDULES,
    OptimizerName,
    ScheduleName,
)
from skaudio.estimators._saved_net import as_constructed
from skaudio.estimators._split import split_dataset
from skaudio.estimators._targets import Target
from skaudio.estimators._torch_state import SPLIT, corpus_seed, rng_for, threads
from skaudio.estimators._trained_net import TrainedNetMixin, mean_per_clip
from skaudio.estimators._training import RunSettings, prediction_segments, train
from skaudio.estimators._transfer import (
    MODES,
    Mode,
    Pretrained,
    check_mode,
    open_pretrained,
    start_weights,
)
from skaudio.exceptions import warn
from skaudio.losses import RegressionLoss
from skaudio.networks.building import default_network, fill_in_default, skip_initial_weights
from skaudio.persistence.tensors import active_store

__all__ = ["BaseAudioEstimator"]

# Clips of which an answer is computed at once, at least: it does not depend on the others, and
# one by one would take longer.
_PREDICTED_TOGETHER = 32


class BaseAudioEstimator(TrainedNetMixin, CallbackSupportMixin, BaseEstimator, ABC):
    """Fits a network to clips; subclasses say what a target is."""

    target_: Any

    # Groups and weights pass through pipelines and searches without a call by the user.
    __metadata_request__fit: ClassVar = {"sample_weight": True, "groups": True}
    __metadata_request__partial_fit: ClassVar = {"sample_weight": True}
    __metadata_request__score: ClassVar = {"sample_weight": True}

    _parameter_constraints: dict = {
        "network": [None, HasMethods("build"), callable],
        "frontend": [None, HasMethods("transform")],
        "crop": [None, Interval(Real, 0, None, closed="neither")],
        "crop_aggregation": [StrOptions({"center", "mean"})],
        "augmentation": [
            None,
            StrOptions(set(get_args(PresetName))),
            HasMethods("apply"),
            list,
            tuple,
        ],
        "mixup": [Interval(Real, 0, None, closed="left")],
        "optimizer": [StrOptions(set(OPTIMIZERS)), callable],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "lr_schedule": [None, StrOptions(set(SCHEDULES))],
        "lr_decay": [Interval(Real, 0, None, closed="left"), StrOptions({"size"})],
        "clip_norm": [None, Interval(Real, 0, None, closed="neither")],
        "max_epochs": [None, Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "monitor": [StrOptions({"valid_loss", "valid_score"})],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "mode": [None, StrOptions(set(MODES))],
        "pretrained": "no_validation",
        "callbacks": [None, list, tuple],
        "checkpoint_dir": [None, str, Path],
        "device": [str],
        "amp": [None, StrOptions({"bfloat16", "float16"})],
        "n_jobs": [None, Integral],
        "n_threads": [None, Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # The constructor of the regressor, too; the classifier has some parameters more.
    def __init__(
        self,
        network: Any = None,
        *,
        frontend: Any = None,
        crop: float | None = None,
        crop_aggregation: Literal["center", "mean"] = "center",
        augmentation: Augmentation | Sequence[Augmentation] | PresetName | None = None,
        mixup: float = 0.0,
        loss: RegressionLoss | Callable = "squared_error",
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
        self.network = network
        self.frontend = frontend
        self.crop = crop
        self.crop_aggregation = crop_aggregation
        self.augmentation = augmentation
        self.mixup = mixup
        self.loss = loss
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.lr_schedule = lr_schedule
        self.lr_decay = lr_decay
        self.clip_norm = clip_norm
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.monitor = monitor
        self.patience = patience
        self.mode = mode
        self.pretrained = pretrained
        self.callbacks = callbacks
        self.checkpoint_dir = checkpoint_dir
        self.device = device
        self.amp = amp
        self.n_jobs = n_jobs
        self.n_threads = n_threads
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        X_val: Any = None,
        y_val: ArrayLike | None = None,
        groups_val: ArrayLike | None = None,
    ) -> Self:
        """Train the network.

        Parameters
        ----------
        X : ndarray of shape (n_clips, n_bands, n_frames), or list of ndarray of shape \
                (n_bands, n_frames)
            Features, bands first. With a `frontend`, waveforms in [-1, 1] of shape
            (n_clips, n_samples), a list of 1-D arrays, or paths to sound files. Without one, a
            2-D array holds sequences of one band.
        y : array-like of shape (n_clips,) or, in regression, (n_clips, n_targets)
            Labels of any kind, or numbers.
        sample_weight : array-like of shape (n_clips,), optional
            Weights >= 0. Clips of weight zero are left out.
        groups : array-like of shape (n_clips,), optional
            Clips of one group, such as a speaker, stay together when clips are held back for
            validation. A search or cross-validation passes them on only after
            ``sklearn.set_config(enable_metadata_routing=True)``; without it they serve its own
            folds alone, and with `early_stopping` a speaker may stand on both sides.
        X_val, y_val : as `X` and `y`, optional
            Validation clips, instead of holding back some of `X`.
        groups_val : array-like, optional
            Groups of `X_val`; only to warn when one of them is also in `groups`.

        Returns
        -------
        self

        Raises
        ------
        AudioFormatError
            If a clip or a file is not as described above; the message names it.
        ValueError
            If lengths disagree, values are NaN or infinite, or there are too few clips.
        DivergedError
            If the loss becomes NaN or infinite. The estimator is then fitted with the best
            weights from before.
        KeyboardInterrupt
            If the user interrupts. The estimator is then fitted with what it has learned so far;
            with `checkpoint_dir` the next call goes on from there.
        """
        self._check_options()
        fresh = not (self.warm_start and self._has_trained)
        pretrained = self._open_pretrained() if fresh else None
        before = None if fresh else self.target_
        target = self._new_target(y)
        source = self._check_clips(X, reset=fresh, frontend=self.frontend)
        corpus = Corpus(*make_training_set(source, y, target, sample_weight, groups, before=before))
        corpus = self._add_validation(corpus, X_val, y_val, groups_val)
        checkpoints = self._open_checkpoints([corpus], pretrained) if fresh else None
        seed = self._choose_seed(checkpoints, fresh=fresh)
        corpus = self._hold_back(corpus, seed)
        settings = self._run_settings([corpus])
        with threads(self.n_threads), fit_task(self, settings) as settings:
            self._prepare_net(corpus, seed, pretrained, fresh=fresh)
            train(self.net_, settings, [corpus], checkpoints)
        return self

    def set_params(self, **params: Any) -> Self:
        """Set parameters; ``network__...`` reach into the default network, too.

        Parameters
        ----------
        **params
            As for any scikit-learn estimator.

        Returns
        -------
        self
        """
        fill_in_default(self, "network", params)
        return super().set_params(**params)

    def embed(self, X: Any) -> NDArray[np.float32]:
        """Compute what the network's head sees: one vector for each clip.

        Parameters
        ----------
        X : as in :meth:`fit`

        Returns
        -------
        ndarray of shape (n_clips, n_values)
            The input of the layer ``head`` of the network, the mean over the crops of a clip.

        Raises
        ------
        ValueError
            If the network has no layer of that name.
        """
        check_is_fitted(self)
        head = getattr(self.net_.module_.network, "head", None)
        if not isinstance(head, torch.nn.Module):
            raise ValueError(
                f"{type(self).__name__}: the network {self.architecture_.network!r} has no layer "
                "`head` whose input could be returned. Give its last layer that name."
            )
        return mean_per_clip(*self._predict_outputs(X, seen_by=head)).astype(np.float32)

    def _fit_one_epoch(
        self, X: Any, y: ArrayLike, target: Target, sample_weight: ArrayLike | None
    ) -> Self:
        """Train for one epoch at a constant rate."""
        self._check_options()
        fresh = not self._has_trained
        pretrained = self._open_pretrained() if fresh else None
        before = None if fresh else self.target_
        source = self._check_clips(X, reset=fresh, frontend=self.frontend)
        corpus = Corpus(
            *make_training_set(source, y, target, sample_weight, before=before, rescale=False)
        )
        with threads(self.n_threads):
            seed = self._choose_seed(None, fresh=fresh)
            self._prepare_net(corpus, seed, pretrained, fresh=fresh)
            settings = replace(
                self._run_settings([corpus]), n_epochs=1, lr_schedule=None, lr_decay=0.0
            )
            train(self.net_, settings, [corpus])
        return self

    # ------------------------------------------------------------------ what subclasses say

    @abstractmethod
    def _new_target(self, y: Any) -> Target:
        """Make the target, still unlearned, for `y` as it came from the user."""

    @abstractmethod
    def _loss_options(self, target: Any) -> dict[str, Any]:
        """Return what the loss needs to know besides its name."""

    # ------------------------------------------------------------------------------- checks

    def _check_options(self) -> None:
        """Refuse combinations of parameters that make no sense together."""
        for name in ("network", "frontend", "augmentation"):
            value = getattr(self, name)
            # Another class may well be a callable that builds a network.
            if isinstance(value, type) and (name != "network" or hasattr(value, "build")):
                raise TypeError(
                    f"{name} is the class {value.__name__}, but expected an object of it. Call it: "
                    f"{name}={value.__name__}()."
                )
        augmentation = self._augmentation
        if augmentation is not None and not isinstance(augmentation, Augmentation):
            raise TypeError(
                f"augmentation is {augmentation!r}, but expected an object with `domains` and "
                "`apply`, such as TimeMask()."
            )
        check_mode(self.mode, self.pretrained, self.network)
        if self.frontend is not None:
            check_frontend(self.frontend)
        elif self.crop is not None:
            raise ValueError(
                f"crop={self.crop} is in seconds, but ready-made features have no seconds. Pass "
                "frontend=LogMelSpectrogram(...) with waveforms or paths, or set crop=None."
            )
        elif isinstance(self.augmentation, str):
            pass  # of a preset, what changes waveforms is not used
        elif augmentation is not None and augmentation.domains - {"feature"}:
            raise ValueError(
                f"augmentation={self.augmentation!r} changes waveforms, but without a frontend "
                "the clips are features. Pass frontend=LogMelSpectrogram(...) with waveforms or "
                "paths, or leave it out."
            )

    def _add_validation(self, corpus: Corpus, X: Any, y: Any, groups: Any) -> Corpus:
        """Check the user's own validation clips, if there are any."""
        if (X is None) != (y is None):
            raise ValueError("X_val and y_val go together: pass both or neither.")
        if X is not None:
            source = self._check_clips(X, reset=False, frontend=self.frontend)
            validation = make_validation_set(source, y, corpus.target, groups, corpus.training)
            return replace(corpus, validation=validation)
        if groups is not None:
            raise ValueError(
                "groups_val came without X_val and y_val: pass these as well, or leave it out."
            )
        self._check_staged()
        return corpus

    def _check_staged(self) -> None:
        """Refuse stages where no clips will be held back to end them by."""
        if self.lr_schedule == "staged" and not self.early_stopping:
            raise ValueError(
                "lr_schedule='staged' ends its stages by validation, but there is none. Set "
                "early_stopping=True, or pass X_val and y_val."
            )

    def _check_clips(self, X: Any, *, reset: bool, frontend: Any) -> ClipSource:
        sample_rate = None if frontend is None else frontend.sample_rate
        return check_clips(self, X, sample_rate, effective_n_jobs(self.n_jobs), reset=reset)

    # ----------------------------------------------------------------------------- training

    def _hold_back(self, corpus: Corpus, seed: int) -> Corpus:
        """Split off clips for validation, if there shall be any and the user brought none."""
        if corpus.validation is not None or not self.early_stopping:
            return corpus
        if corpus.training.groups is None and search_has_groups():
            warn(
                "The search has groups, but fit has none, so that a group may stand on both sides "
                "of the validation here. Call sklearn.set_config(enable_metadata_routing=True) and "
                "pass groups to the search: fit(X, y, groups=groups), or params={'groups': groups} "
                "of cross_validate."
            )
        seed = corpus_seed(seed, corpus.training.corpus)
        training, validation = split_dataset(
            corpus.training,
            self.validation_fraction,
            int(rng_for(seed, SPLIT).integers(2**31)),
            stratify=corpus.target.stratifies,
        )
        return replace(corpus, training=training, validation=validation)

    def _open_pretrained(self) -> Pretrained | None:
        """Look into what the training starts from, if it does start from something."""
        if self.pretrained is None or (self.mode == "scratch" and self.network is not None):
            return None
        pretrained = open_pretrained(self.pretrained, self._mode)
        if self.network is None:
            check_mode(self.mode, self.pretrained, pretrained.architecture.network)
        return pretrained

    def _open_checkpoints(
        self, corpora: Sequence[Corpus], pretrained: Pretrained | None, steps: int | None = None
    ) -> Checkpoints | None:
        """Find the folder of the run with these parameters and data."""
        if self.checkpoint_dir is None:
            return None
        # What the training starts from counts by its weights, wherever they come from.
        described = copy.copy(self)
        described.pretrained = None if pretrained is None else pretrained.identity()
        # Parameters that cannot change a bit of the result, such as n_jobs, do not count.
        run = [
            hash_value([described, steps], type(self).__name__),
            *(hash_value(corpus.identity(), corpus.name or "X") for corpus in corpora),
        ]
        return Checkpoints(Path(self.checkpoint_dir) / hash_value(run))

    def _choose_seed(self, checkpoints: Checkpoints | None, *, fresh: bool) -> int:
        """Take the seed of the net at hand, of the unfinished run, or of `random_state`."""
        if not fresh:
            return self.net_.seed
        seed = None
        if checkpoints is not None and not isinstance(self.random_state, Integral):
            seed = checkpoints.unfinished_seed()
        return check_seed(self.random_state) if seed is None else seed

    def _prepare_net(
        self, corpus: Corpus, seed: int, pretrained: Pretrained | None, *, fresh: bool
    ) -> None:
        """Make a net for these clips, or tell the one at hand how to train from now on."""
        if fresh:
            net = self._make_net([corpus], seed, pretrained)
            self.architecture_, self.net_ = net.architecture, net
        else:
            self._refuse_other_architecture()
            self.net_.change(self._step_settings([corpus]), (corpus.target,))
            self.net_.set_clip_counts([len(corpus.training)])
        self.target_ = corpus.target
        self.n_clips_ = len(corpus.training)

    def _make_net(
        self,
        corpora: Sequence[Corpus],
        seed: int,
        pretrained: Pretrained | None,
        n_outputs: tuple[int, ...] | None = None,
    ) -> AudioNet:
        """Make a net for these clips.

        `n_outputs` asks for a set of layers for each corpus; by default there is one corpus.
        """
        net = AudioNet(
            self._plan_architecture(corpora, pretrained, n_outputs),
            tuple(corpus.target for corpus in corpora),
            self._step_settings(corpora),
            device=choose_device(self.device),
            seed=seed,
        )
        # Weights that are taken over need no file of others.
        takes = pretrained is not None and self._mode != "scratch"
        with skip_initial_weights() if takes else nullcontext():
            net.prepare_training([])
        net.set_clip_counts([len(corpus.training) for corpus in corpora])
        start_weights(net, pretrained, corpora)
        return net

    def _plan_architecture(
        self,
        corpora: Sequence[Corpus],
        pretrained: Pretrained | None,
        n_outputs: int | tuple[int, ...] | None,
    ) -> Architecture:
        network = self._network
        n_outputs = n_outputs or corpora[0].target.n_outputs
        if pretrained is not None:
            network = pretrained.architecture.network if self.network is None else network
            n_outputs = pretrained.n_outputs(self._mode, n_outputs)
        lengths = np.concatenate([corpus.training.source.lengths for corpus in corpora])
        crop = self._crop_length(self.frontend)
        if crop is not None:
            lengths = np.array([crop])
        return Architecture.plan(
            network,
            self.frontend,
            n_bands=len(corpora[0].training.source.load(0, 0, 1)),
            n_outputs=n_outputs,
            length=int(lengths[0]) if lengths.min() == lengths.max() else None,
        )

    def _refuse_other_architecture(self) -> None:
        """Refuse to go on with a network that is not the one which the parameters describe."""
        before = self.architecture_
        # Without a network of its own, the first fit took that of `pretrained`.
        inherits = self.network is None and self.pretrained is not None
        for name, now, then in [
            ("network", before.network if inherits else self._network, before.network),
            ("frontend", self.frontend, before.frontend),
            ("mode", self._mode, self.net_.settings.mode),
        ]:
            if differences(now, then, name):
                raise ValueError(
                    f"{name} is {now!r}, but further training goes on with the {name} of the first "
                    f"fit, {then!r}. Set warm_start=False (or start with a new estimator) to train "
                    f"another one, or set {name} back."
                )

    def _step_settings(self, corpora: Sequence[Corpus]) -> StepSettings:
        return StepSettings(
            loss=self.loss,
            loss_options=tuple(self._loss_options(corpus.target) for corpus in corpora),
            optimizer=self.optimizer,
            weight_decay=self.weight_decay,
            lr=self.lr,
            augmentation=self._augmentation,
            mixup=self.mixup,
            amp=self.amp,
            mode=self._mode,
        )

    def _run_settings(
        self, corpora: Sequence[Corpus], steps_per_epoch: int | None = None
    ) -> RunSettings:
        n_epochs = self.max_epochs
        if n_epochs is None:
            sizes = [len(corpus.training) for corpus in corpora]
            n_rounds = steps_per_epoch or count_rounds(sizes, self.batch_size)
            n_epochs = count_epochs(n_rounds, staged=self.lr_schedule == "staged")
        return RunSettings(
            n_epochs=n_epochs,
            batch_size=self.batch_size,
            crop=self._crop_length(self.frontend),
            lr_schedule=self.lr_schedule,
            lr_decay=self.lr_decay,
            clip_norm=self.clip_norm,
            early_stopping=self.early_stopping,
            monitor=self.monitor,
            patience=self.patience,
            callbacks=tuple(self.callbacks or ()),
            verbose=int(self.verbose),
            steps_per_epoch=steps_per_epoch,
        )

    @property
    def _network(self) -> Any:
        return default_network() if self.network is None else self.network

    @property
    def _mode(self) -> Mode:
        return self.mode or "scratch"

    @property
    def _augmentation(self) -> Any:
        """The augmentation as one object, a list or a word being a chain."""
        if isinstance(self.augmentation, str):
            return preset(self.augmentation)
        if isinstance(self.augmentation, (list, tuple)):
            return make_chain(*self.augmentation) if self.augmentation else None
        return self.augmentation

    @property
    def _has_trained(self) -> bool:
        """Whether there is a net that has learned something, for an epoch at least."""
        return hasattr(self, "net_") and len(self.net_.history) > 0

    def _crop_length(self, frontend: Any) -> int | None:
        """Count the samples in a crop."""
        if self.crop is None or frontend is None:
            return None
        return max(1, round(self.crop * frontend.sample_rate))

    # --------------------------------------------------------------------------- prediction

    def _predict_outputs(
        self, X: Any, seen_by: torch.nn.Module | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Compute the network's output for each segment, and the clip that the segment is of.

        With `seen_by`, a layer, what reaches that layer takes the place of the output.
        """
        check_is_fitted(self)
        # The front end of the fit: parameters may have been changed since.
        source = self._check_clips(X, reset=False, frontend=self.architecture_.frontend)
        return self._run_net(self.net_, source, seen_by=seen_by)

    def _run_net(
        self,
        net: AudioNet,
        source: ClipSource,
        corpus: int = 0,
        seen_by: torch.nn.Module | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Compute a net's output for each segment of checked clips, and the segments' clips."""
        crop = self._crop_length(net.architecture.frontend)
        segments = prediction_segments(net, source, crop, self.crop_aggregation)
        batch_size = max(self.batch_size, _PREDICTED_TOGETHER)
        batches = EqualLengthBatches(source, segments, batch_size, corpus)
        # Short predictions are over before a bar would be seen.
        show = partial(tqdm, unit="batch", delay=2, dynamic_ncols=True) if self.verbose else iter
        with threads(self.n_threads):
            return net.predict_outputs(batches, show, seen_by), segments.clip

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if active_store() is not None and self.callbacks:
            # A training leaves in them what no file of ours can hold, such as an optimizer.
            state["callbacks"] = [as_constructed(entry) for entry in self.callbacks]
        return state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags
