"""What the classifier and the regressor share: from arrays to a trained net, and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from skaudio._validation import HasMethods, Interval, StrOptions, check_seed, fit_context
from skaudio.estimators._batches import EqualLengthBatches
from skaudio.estimators._checkpoint import Checkpoints, fingerprint
from skaudio.estimators._losses import make_loss
from skaudio.estimators._module import build_module
from skaudio.estimators._net import AudioNet, choose_device
from skaudio.estimators._optimization import OPTIMIZERS, SCHEDULES, make_optimizer
from skaudio.estimators._parts import (
    Part,
    check_groups,
    check_part,
    check_source,
    check_validation,
    hold_back,
)
from skaudio.estimators._segments import Segments, centred, covering, whole
from skaudio.estimators._training import n_readers, train
from skaudio.exceptions import AudioFormatError
from skaudio.networks import MTSNet

__all__ = ["BaseAudioEstimator", "mean_per_clip"]


class BaseAudioEstimator(BaseEstimator, ABC):
    """Fits a network to clips; subclasses say what a target is."""

    network: Any
    loss: Any
    net_: AudioNet

    # Groups and weights pass through pipelines and searches without a call by the user.
    __metadata_request__fit: ClassVar = {"sample_weight": True, "groups": True}
    __metadata_request__partial_fit: ClassVar = {"sample_weight": True}
    __metadata_request__score: ClassVar = {"sample_weight": True}

    _parameter_constraints: dict = {
        "network": [None, HasMethods("build"), callable],
        "frontend": [None, HasMethods("layer_arguments")],
        "window": [None, Interval(Real, 0, None, closed="neither")],
        "window_aggregation": [StrOptions({"center", "mean"})],
        "augmentation": [None, HasMethods("apply")],
        "mixup": [Interval(Real, 0, None, closed="left")],
        "optimizer": [StrOptions(set(OPTIMIZERS)), callable],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "lr_schedule": [None, StrOptions(set(SCHEDULES))],
        "clip_norm": [None, Interval(Real, 0, None, closed="neither")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "monitor": [StrOptions({"valid_loss", "valid_score"})],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "callbacks": [None, list, tuple],
        "checkpoint_dir": [None, str, Path],
        "device": [str],
        "amp": [None, StrOptions({"bfloat16", "float16"})],
        "n_workers": [Interval(Integral, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

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
    ) -> Any:
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
            validation. A search or cross-validation hands them on to here only after
            ``sklearn.set_config(enable_metadata_routing=True)``; without it they serve its own
            folds alone, and with `early_stopping` a speaker may stand on both sides.
        X_val, y_val : as `X` and `y`, optional
            Clips to watch the training with, instead of holding back some of `X`.
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
        """
        self._check_options()
        fresh = not (self.warm_start and hasattr(self, "net_"))
        groups = check_groups(groups, sample_weight, y)
        part = check_part(self, X, y, sample_weight, reset=fresh)
        seed = check_seed(self.random_state) if fresh else self.net_.seed
        checkpoints = None
        if self.checkpoint_dir is not None and fresh:
            run = fingerprint(self, X, y, sample_weight, groups, X_val, y_val)
            checkpoints = Checkpoints(Path(self.checkpoint_dir) / run)
            if not isinstance(self.random_state, Integral):
                seed = checkpoints.settle_seed(seed)
        validation = None
        if X_val is not None or y_val is not None:
            validation = check_validation(self, X_val, y_val, groups=groups, groups_val=groups_val)
        elif self.early_stopping:
            part, validation = hold_back(
                part, groups, self.validation_fraction, seed, stratify=self._stratifies
            )
        elif self.lr_schedule == "staged":
            raise ValueError(
                "lr_schedule='staged' ends its stages by validation, but there is none. Set "
                "early_stopping=True, or pass X_val and y_val."
            )
        if fresh:
            self.net_ = self._make_net(part, seed)
        else:
            self._change_net()
        train(
            self,
            self.net_,
            part,
            validation,
            self.max_epochs,
            lr_schedule=self.lr_schedule,
            checkpoints=checkpoints,
        )
        return self

    def set_params(self, **params: Any) -> Any:
        """Set parameters; ``network__...`` reach into the default network, too.

        Parameters
        ----------
        **params
            As for any scikit-learn estimator.

        Returns
        -------
        self
        """
        if self.network is None and any(name.startswith("network__") for name in params):
            self.network = MTSNet()
        return super().set_params(**params)

    def _fit_one_epoch(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None) -> Any:
        self._check_options()
        fresh = not hasattr(self, "net_")
        part = check_part(self, X, y, sample_weight, reset=fresh, rescale=False)
        if fresh:
            self.net_ = self._make_net(part, check_seed(self.random_state))
        else:
            self._change_net()
        train(self, self.net_, part, None, 1)
        return self

    def _check_options(self) -> None:
        """Refuse combinations of parameters that make no sense together."""
        if self.window is not None and self.frontend is None:
            raise ValueError(
                f"window={self.window} is in seconds, but ready-made features have no seconds. "
                "Pass frontend=LogMelSpectrogram(...) with waveforms or paths, or set "
                "window=None."
            )
        if self.augmentation is not None and self.frontend is None:
            unused = self.augmentation.domains - {"feature"}
            if unused:
                raise ValueError(
                    f"augmentation={self.augmentation!r} changes waveforms, but without a "
                    "frontend the clips are features. Pass frontend=LogMelSpectrogram(...) with "
                    "waveforms or paths, or leave it out."
                )

    @abstractmethod
    def _check_y(self, y: Any, *, input_name: str = "y") -> NDArray:
        """Check targets as they come from the user."""

    @abstractmethod
    def _encode(
        self, y: NDArray, weight: NDArray | None, *, reset: bool, input_name: str = "y"
    ) -> NDArray:
        """Turn targets into what the loss wants, learning how if `reset`."""

    @abstractmethod
    def _weigh(self, target: NDArray, weight: NDArray | None) -> NDArray | None:
        """Combine the weights of clips and classes, unscaled; None if there are none."""

    @abstractmethod
    def _start_head(self, head: torch.nn.Linear, part: Part) -> None:
        """Set the bias of an untrained network's last layer."""

    def _make_net(self, part: Part, seed: int) -> AudioNet:
        """Build the net for these clips, with weights drawn from `seed`."""
        lengths = part.source.lengths
        if self._window_length is not None:
            lengths = np.array([self._window_length])
        build = partial(
            build_module,
            self.network,
            self.frontend,
            self.augmentation,
            n_bands=len(part.source.load(0, 0, 1)),
            n_outputs=self._n_outputs,
            length=int(lengths[0]) if lengths.min() == lengths.max() else None,
        )
        net = AudioNet(
            build,
            **self._training_settings(),
            device=choose_device(self.device),
            seed=seed,
            train_split=None,
            verbose=0,
        )
        self._loss_in_use = self._loss_wanted
        net.prepare_training([])
        head = getattr(net.module_.network, "head", None)
        if isinstance(head, torch.nn.Linear) and not isinstance(self.network, torch.nn.Module):
            self._start_head(head, part)
        return net

    def _change_net(self) -> None:
        """Tell the net how to train from now on; a loss that stays keeps what it has learned."""
        settings = self._training_settings()
        if self._loss_in_use == self._loss_wanted:
            settings["criterion"] = self.net_.criterion_
        self.net_.change(**settings)
        self._loss_in_use = self._loss_wanted

    @property
    def _loss_wanted(self) -> tuple[Any, float]:
        return self.loss, getattr(self, "label_smoothing", 0.0)

    def _training_settings(self) -> dict[str, Any]:
        """Give what the net is told about its training, and may be told anew."""
        loss, smoothing = self._loss_wanted
        return {
            "criterion": make_loss(loss, label_smoothing=smoothing),
            "optimizer": make_optimizer(self.optimizer, self.weight_decay),
            "lr": self.lr,
            "amp": self.amp,
            "mixup": self.mixup,
        }

    def _predict_outputs(self, X: Any) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Give the network's output for each segment, and the clip that the segment is of."""
        check_is_fitted(self)
        source = check_source(self, X, reset=False)
        segments = self._segments(source.lengths, aggregation=self.window_aggregation)
        self._check_frames(segments)
        batches = EqualLengthBatches(
            source,
            segments,
            batch_size=self.batch_size,
            n_workers=n_readers(self, source),
        )
        return self.net_.predict_outputs(batches), segments.clip

    def _segments(self, lengths: NDArray[np.int64], *, aggregation: str) -> Segments:
        """Say which parts of the clips a prediction looks at."""
        if self._window_length is not None:
            place = covering if aggregation == "mean" else centred
            return place(lengths, self._window_length)
        frontend = self.net_.module_.frontend
        if frontend is not None:
            lengths = frontend.padded_length(lengths)
        return whole(lengths)

    def _check_frames(self, segments: Segments) -> None:
        """Refuse clips of another length than a fixed-size network was built for."""
        module = self.net_.module_
        wanted = getattr(module.network, "n_frames", None)
        if wanted is None:
            return
        frames = segments.length
        if module.frontend is not None:
            frames = np.asarray(module.frontend.n_frames(frames))
        wrong = np.flatnonzero(frames != wanted)
        if len(wrong):
            raise AudioFormatError(
                f"Clip {segments.clip[wrong[0]]} has {frames[wrong[0]]} frames, but the network "
                f"was built for {wanted} frames. Cut or pad the clips as in fit, or use a network "
                "that takes any length, such as MTSNet(pooling='attention')."
            )

    @property
    def _window_length(self) -> int | None:
        """Samples in a window."""
        if self.window is None:
            return None
        return max(1, round(self.window * self.frontend.sample_rate))

    @property
    def history_(self) -> pd.DataFrame:
        """One row per epoch: losses, scores, learning rate, seconds."""
        check_is_fitted(self)
        rows = [
            {
                name: value
                for name, value in row.items()
                if name != "batches" and not name.endswith(("_best", "_batch_count"))
            }
            for row in self.net_.history
        ]
        return pd.DataFrame(rows).set_index("epoch")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "net_")


def mean_per_clip(values: NDArray[np.float64], clip: NDArray[np.int64]) -> NDArray[np.float64]:
    """Average the rows of each clip's segments; a clip with one segment keeps its bits."""
    counts = np.bincount(clip)
    if counts.max() == 1:
        return values
    means = np.zeros((len(counts), values.shape[1]))
    np.add.at(means, clip, values)
    return means / counts[:, np.newaxis]
