"""The skorch net inside the estimators."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skorch import NeuralNet
from skorch.callbacks import EarlyStopping, EpochTimer, PassthroughScoring
from torch import Tensor

from skaudio.augmentation import draw_mixup, mix
from skaudio.callbacks import KernelAveraging, NamedScores, NormScaling, StopTraining
from skaudio.estimators._batches import EqualLengthBatches
from skaudio.estimators._chance import INITIAL_WEIGHTS, STEP, seeded
from skaudio.exceptions import DivergedError

__all__ = ["AudioNet", "choose_device"]


def choose_device(device: str) -> str:
    """Resolve ``"auto"`` to the GPU if there is one."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


class AudioNet(NeuralNet):
    """Training steps with weights, mixup, mixed precision and chance of their own.

    Parameters
    ----------
    module : callable
        Returns a fresh module.
    seed : int
        What the initial weights, dropout, augmentation and mixup are drawn from.
    amp : {"bfloat16", "float16"} or None
        Precision of the training's forward pass on a GPU.
    mixup : float
        Concentration of mixup's beta distribution; 0 turns it off.
    **kwargs
        As for :class:`skorch.NeuralNet`. The criterion is called as
        ``criterion(output, target, weight)``.
    """

    device: str
    optimizer: Any
    criterion_: torch.nn.Module

    def __init__(
        self,
        module: Callable[[], torch.nn.Module],
        *,
        seed: int = 0,
        amp: str | None = None,
        mixup: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, **kwargs)
        self.seed = seed
        self.amp = amp
        self.mixup = mixup

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        return [
            ("epoch_timer", EpochTimer()),
            ("train_loss", PassthroughScoring("train_loss", on_train=True)),
            ("named_scores", NamedScores()),
            ("kernel_averaging", KernelAveraging()),
            ("norm_scaling", NormScaling()),
        ]

    def initialize_module(self) -> AudioNet:
        """Build the module from this net's own chance."""
        with seeded(self.device, self.seed, INITIAL_WEIGHTS):
            return super().initialize_module()

    def change(
        self, *, criterion: torch.nn.Module, optimizer: Any, lr: float, amp: str | None,
        mixup: float,
    ) -> None:  # fmt: skip
        """Take on other settings for further training.

        Another optimiser, or one with another loss's weights to learn, starts afresh; else it
        keeps what it has gathered.
        """
        losses = () if criterion is self.criterion_ else (criterion, self.criterion_)
        afresh = any(list(loss.parameters()) for loss in losses)
        afresh |= _parts_of(optimizer) != _parts_of(self.optimizer)
        self.criterion_, self.optimizer = criterion.to(self.device), optimizer
        self.lr, self.amp, self.mixup = lr, amp, mixup
        if afresh and hasattr(self, "optimizer_"):
            del self.optimizer_

    def prepare_training(self, callbacks: list[Any]) -> None:
        """Set the callbacks, and whatever else a loaded net lacks."""
        self.callbacks = callbacks
        if not self.initialized_:
            self.initialize()
        else:
            self._initialize_callbacks()
            if not hasattr(self, "optimizer_"):
                self._initialize_optimizer()
        for group in self.optimizer_.param_groups:
            group["lr"] = self.lr
        self.scaler_ = torch.amp.GradScaler(enabled=self.amp == "float16" and self._on_gpu)

    def get_split_datasets(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Batches come ready-made: a pair for training and for validation."""
        return X

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Batches iterate over themselves."""
        return dataset

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Turn to training once an epoch, not once a step."""
        super().on_epoch_begin(net, **kwargs)
        self._set_training(True)
        self.step_ = 0

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Record the learning rate of the epoch's last step; refuse to go on with broken weights.

        The net hears of an epoch's end before its callbacks do, so that none keeps such weights.
        """
        super().on_epoch_end(net, **kwargs)
        self.history.record("lr", self.optimizer_.param_groups[0]["lr"])
        weights, state = self.module_.parameters(), self.module_.buffers()
        if any(not w.isfinite().all() for w in weights) or any(b.isnan().any() for b in state):
            raise DivergedError(
                f"The weights are no longer finite at the end of epoch {len(self.history)}. Lower "
                "lr, or set clip_norm; the best weights before that were kept."
            )

    def notify(self, method_name: str, **kwargs: Any) -> None:
        """Tell the net, then its callbacks.

        skorch's early stopping asks for the end by an interrupt, which is not one by the user.
        """
        getattr(self, method_name)(self, **kwargs)
        for _, callback in self.callbacks_:
            try:
                getattr(callback, method_name)(self, **kwargs)
            except KeyboardInterrupt:
                if isinstance(callback, EarlyStopping):
                    raise StopTraining from None
                raise

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Run forward and backward on one batch."""
        inputs, target, weight = _unpack(batch)
        key = (STEP, len(self.history) - 1, self.step_)
        with seeded(self.device, self.seed, *key) as generator, self._autocast():
            blend = None
            if self.mixup:
                blend = draw_mixup(len(target), self.mixup, generator)
                inputs = _mix_inputs(inputs, *blend)
            logits, named = _split_output(self.infer(inputs))
            loss = self._mixed_loss(logits, target, weight, blend) + _sum_losses(named)
            self.scaler_.scale(loss).backward()
        self.step_ += 1
        if not math.isfinite(loss.item()):
            raise DivergedError(
                f"The training loss became {loss.item()} in epoch {len(self.history)}, step "
                f"{self.step_}. Lower lr, set clip_norm, or check the targets; the best weights "
                "before that were kept."
            )
        if self.scaler_.is_enabled():
            self.scaler_.unscale_(self.optimizer_)
        named = {name: value.detach() for name, value in named.items()}
        return {"loss": loss.detach(), "y_pred": logits.detach(), "named": named}

    def validation_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Run forward and loss on one batch."""
        self._set_training(False)
        inputs, target, weight = _unpack(batch)
        with torch.inference_mode():
            logits, _ = _split_output(self.infer(inputs))
            return {"loss": self.get_loss(logits, (target, weight)), "y_pred": logits}

    def get_loss(self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False) -> Tensor:
        """Loss of a batch, each clip counted with its weight."""
        output = y_pred.to(torch.promote_types(y_pred.dtype, torch.float32))
        target, weight = y_true
        if weight is not None:
            weight = weight.to(output.dtype).to(self.device)
        return self.criterion_(output, target.to(self.device), weight)

    def predict_outputs(self, batches: EqualLengthBatches) -> NDArray[np.float64]:
        """Give the network's output for each segment, in the segments' own order."""
        self._set_training(False)
        with torch.inference_mode():
            outputs = [_split_output(self.infer(inputs))[0].double().cpu() for inputs, _ in batches]
        sorted_outputs = torch.cat(outputs).numpy()
        result = np.empty_like(sorted_outputs)
        result[batches.order] = sorted_outputs
        return result

    def _mixed_loss(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None,
        blend: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        if blend is None:
            return self.get_loss(logits, (target, weight), training=True)
        partner, share = blend
        weight = torch.ones_like(share) if weight is None else weight
        own = self.get_loss(logits, (target, weight * share), training=True)
        other = (target[partner], weight[partner] * (1 - share))
        return own + self.get_loss(logits, other, training=True)

    def _step_optimizer(self, step_fn: Any) -> None:
        if not self.scaler_.is_enabled():
            super()._step_optimizer(step_fn)
            return
        step_fn()
        self.scaler_.step(self.optimizer_)
        self.scaler_.update()

    @contextmanager
    def _autocast(self) -> Iterator[None]:
        enabled = self.amp is not None and self._on_gpu
        dtype = getattr(torch, self.amp) if enabled and self.amp else None
        with torch.autocast("cuda", dtype=dtype, enabled=enabled):
            yield

    @property
    def _on_gpu(self) -> bool:
        return str(self.device).startswith("cuda")

    def __getstate__(self) -> dict[str, Any]:
        # What training needs is rebuilt by prepare_training: the optimiser's state is larger
        # than the model, and a user's callbacks need not be picklable.
        dropped = {"optimizer_", "callbacks_", "scaler_"}
        state = {name: value for name, value in self.__dict__.items() if name not in dropped}
        state["callbacks"] = None
        if self._on_gpu:
            for name in {"module_", "criterion_"} & set(state):
                state[name] = copy.deepcopy(state[name]).cpu()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._on_gpu:
            self.device = _gpu_at_hand(self.device)
            for name in {"module_", "criterion_"} & set(state):
                getattr(self, name).to(self.device)


def _parts_of(optimizer: Any) -> tuple[Any, dict[str, Any]]:
    """Take a partial apart: two of them never compare equal."""
    return getattr(optimizer, "func", optimizer), getattr(optimizer, "keywords", {})


def _gpu_at_hand(device: str) -> str:
    """Give a GPU of this machine for one of another; the CPU if there is none."""
    if not torch.cuda.is_available():
        return "cpu"
    index = torch.device(device).index
    return "cuda" if index is not None and index >= torch.cuda.device_count() else device


def _unpack(batch: Any) -> tuple[dict[str, Tensor], Tensor, Tensor | None]:
    inputs, y = batch
    return (inputs, *y) if isinstance(y, (tuple, list)) else (inputs, y, None)


def _split_output(output: Any) -> tuple[Tensor, dict[str, Tensor]]:
    return output if isinstance(output, tuple) else (output, {})


def _sum_losses(named: dict[str, Tensor]) -> Tensor | float:
    return sum(value for name, value in named.items() if name.endswith("_loss"))


def _mix_inputs(inputs: dict[str, Tensor], partner: Tensor, share: Tensor) -> dict[str, Tensor]:
    mixed = {"x": mix(inputs["x"], partner, share)}
    if "lengths" in inputs:
        mixed["lengths"] = torch.maximum(inputs["lengths"], inputs["lengths"][partner])
    return mixed
