"""The skorch net inside the estimators: one training step, one prediction, and its pickle."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skorch import NeuralNet
from skorch.callbacks import EarlyStopping, EpochTimer, PassthroughScoring
from torch import Tensor

from skaudio.augmentation import Augmentation, draw_mixup, mix
from skaudio.callbacks import KernelAveraging, NormScaling
from skaudio.estimators._batches import EqualLengthBatches
from skaudio.estimators._callbacks import NamedScores
from skaudio.estimators._module import Architecture
from skaudio.estimators._optimization import make_optimizer
from skaudio.estimators._saved_net import plain_rows, rebuild, record
from skaudio.estimators._targets import Target
from skaudio.estimators._torch_state import INITIAL_WEIGHTS, STEP, seeded
from skaudio.estimators._transfer import eval_frozen, freeze
from skaudio.exceptions import DivergedError, StopTraining
from skaudio.losses import make_loss
from skaudio.networks.building import skip_initial_weights
from skaudio.persistence.tensors import active_store

__all__ = ["AudioNet", "StepSettings", "choose_device"]

_LAYER_CALLBACKS = (KernelAveraging, NormScaling)


@dataclass(frozen=True)
class StepSettings:
    """How one training step is made; the parameters mean what they do in the estimators.

    `loss_options` are further arguments for :func:`skaudio.losses.make_loss`, for each corpus.
    """

    loss: str | Callable
    loss_options: tuple[dict[str, Any], ...]
    optimizer: str | Callable
    weight_decay: float
    lr: float
    augmentation: Augmentation | None
    mixup: float
    amp: str | None
    mode: str = "scratch"


def choose_device(device: str) -> str:
    """Resolve ``"auto"`` to the GPU if there is one.

    Raises
    ------
    ValueError
        If torch does not know the device, or this machine has none such.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        index, kind = torch.device(device).index, torch.device(device).type
    except RuntimeError:
        raise ValueError(
            f"device is {device!r}, but expected 'auto', 'cpu', 'cuda' or another device of torch."
        ) from None
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda" and (index or 0) >= n_gpus:
        raise ValueError(
            f"device is {device!r}, but torch finds {n_gpus} CUDA devices here. Set device='auto' "
            "to use a GPU only where there is one."
        )
    try:
        torch.empty(0, device=device)
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        raise ValueError(
            f"device is {device!r}, which torch cannot use here ({error}). Set device='auto'."
        ) from None
    return device


class AudioNet(NeuralNet):
    """Training steps with weights, mixup, mixed precision and random generators of their own.

    Parameters
    ----------
    architecture : Architecture
        Builds the module.
    targets : tuple of Target
        Learned, of each corpus; the first one turns outputs into class numbers or standardised
        numbers in :meth:`predict`.
    settings : StepSettings
    device : str
    seed : int
        What the initial weights, dropout, augmentation and mixup are drawn from.
    """

    device: str
    criterion_: torch.nn.ModuleList

    def __init__(
        self,
        architecture: Architecture,
        targets: tuple[Target, ...],
        settings: StepSettings,
        *,
        device: str,
        seed: int,
    ) -> None:
        super().__init__(
            architecture.build,
            criterion=_make_losses(settings),
            optimizer=make_optimizer(settings.optimizer, settings.weight_decay),
            lr=settings.lr,
            device=device,
            train_split=None,
            verbose=0,
        )
        self.architecture = architecture
        self.targets = targets
        self.settings = settings
        self.seed = seed

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        own = [
            ("skaudio_epoch_timer", EpochTimer()),
            ("skaudio_train_loss", PassthroughScoring("train_loss", on_train=True)),
            ("skaudio_named_scores", NamedScores()),
            *((f"skaudio_{kind.__name__}", kind()) for kind in _LAYER_CALLBACKS),
        ]
        kinds = [_callback_class(entry) for entry in self.callbacks or []]
        # A user's own KernelAveraging(every="epoch") takes the place of the one here.
        return [
            (name, callback)
            for name, callback in own
            if not any(issubclass(kind, type(callback)) for kind in kinds)
        ]

    def initialize_module(self) -> AudioNet:
        """Build the module from this net's own seed."""
        with seeded(self.device, self.seed, INITIAL_WEIGHTS):
            super().initialize_module()
        self.module_.augmentation = self.settings.augmentation
        freeze(self.module_.network, self.settings.mode)
        return self

    def for_corpora(
        self, corpora: Sequence[int], other: AudioNet | None = None, *, mode: str = "scratch"
    ) -> AudioNet:
        """Make a net of its own with the layers of some corpora, and those of another net.

        Parameters
        ----------
        corpora : sequence of int
            Whose sets of layers to keep; the trunk is kept in any case.
        other : AudioNet, optional
            Of one corpus, with the same trunk. Its set becomes the last one.
        mode : str, default="scratch"
            What of the new net is frozen.

        Returns
        -------
        AudioNet
            Its network is a :class:`~skaudio.networks.CorpusModule`, as this one's.
        """
        parts = [(self, number) for number in corpora] + ([(other, 0)] if other else [])
        architecture = replace(
            self.architecture,
            n_outputs=tuple(net.architecture.outputs[number] for net, number in parts),
        )
        options = tuple(net.settings.loss_options[number] for net, number in parts)
        net = AudioNet(
            architecture,
            tuple(net.targets[number] for net, number in parts),
            replace(self.settings, loss_options=options, mode=mode),
            device=self.device,
            seed=self.seed,
        )
        with skip_initial_weights():
            net.prepare_training([])
        network, ours = net.module_.network, self.module_.network
        network.trunk.load_state_dict(ours.trunk.state_dict())
        for place, (source, number) in enumerate(parts):
            found = source.module_.network.sets[number].state_dict()
            network.sets[place].load_state_dict(found)
            net.criterion_[place].load_state_dict(source.criterion_[number].state_dict())
        net.history.extend(plain_rows(self.history))
        return net

    def set_clip_counts(self, n_clips: Sequence[int]) -> None:
        """Tell a network that wants to know them the numbers of clips of the corpora."""
        if hasattr(self.module_.network, "set_clip_counts"):
            self.module_.network.set_clip_counts(n_clips)

    def change(self, settings: StepSettings, targets: tuple[Target, ...]) -> None:
        """Take on other settings for further training.

        A loss that stays keeps what it has learned. The optimiser keeps what it has gathered,
        unless it is another one, or there is another loss with weights to learn.
        """
        self.targets = targets
        before, self.settings = self.settings, settings
        afresh = (settings.optimizer, settings.weight_decay) != (
            before.optimizer,
            before.weight_decay,
        )
        if (settings.loss, settings.loss_options) != (before.loss, before.loss_options):
            losses = self.criterion_, _make_losses(settings)
            afresh |= any(list(loss.parameters()) for loss in losses)
            self.criterion_ = losses[1].to(self.device)
        self.optimizer = make_optimizer(settings.optimizer, settings.weight_decay)
        self.lr = settings.lr
        self.module_.augmentation = settings.augmentation
        if afresh and hasattr(self, "optimizer_"):
            del self.optimizer_

    def prepare_training(self, callbacks: list[Any]) -> None:
        """Set the callbacks, and whatever else a loaded net lacks."""
        # A user's own KernelAveraging stands where the built-in one would: before the checkpoint,
        # which then holds what it does to the weights at an epoch's end.
        self.callbacks = sorted(
            callbacks, key=lambda entry: not issubclass(_callback_class(entry), _LAYER_CALLBACKS)
        )
        if not self.initialized_:
            self.initialize()
        else:
            self._initialize_callbacks()
            if not hasattr(self, "optimizer_"):
                self.reset_optimizer()
        self._set_initial_rates()
        enabled = self.settings.amp == "float16" and self._on_gpu
        self.scaler_ = torch.amp.GradScaler(enabled=enabled)

    def reset_optimizer(self) -> None:
        """Forget what the optimiser has gathered, such as momenta."""
        self._initialize_optimizer()
        self._set_initial_rates()

    def _set_initial_rates(self) -> None:
        for group in self.optimizer_.param_groups:
            group["lr"] = self.lr
            # torch's schedules look for it if they go on with an optimizer that is new.
            group.setdefault("initial_lr", self.lr)

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
        """Record the learning rate of the last step; refuse to go on with broken weights."""
        super().on_epoch_end(net, **kwargs)
        self.history.record("lr", self.optimizer_.param_groups[0]["lr"])
        weights, state = self.module_.parameters(), self.module_.buffers()
        if any(not w.isfinite().all() for w in weights) or any(b.isnan().any() for b in state):
            raise DivergedError(
                f"The weights are no longer finite at the end of epoch {len(self.history)}. Lower "
                "lr or clip_norm; the best weights before that were kept."
            )

    def drop_unfinished_epoch(self, *, validated: bool) -> None:
        """Remove the history's last row if its epoch did not come to an end."""
        needed = {"train_loss", "valid_score"} if validated else {"train_loss"}
        if self.history and not needed <= self.history[-1].keys():
            del self.history[-1]

    def notify(self, method_name: str, **kwargs: Any) -> None:
        """Tell the net, then all of its callbacks, also after one has asked for the end.

        skorch's early stopping asks for the end by an interrupt, which is not one by the user.
        """
        getattr(self, method_name)(self, **kwargs)
        stops = False
        for _, callback in self.callbacks_:
            try:
                getattr(callback, method_name)(self, **kwargs)
            except StopTraining:
                stops = True
            except KeyboardInterrupt:
                if not isinstance(callback, EarlyStopping):
                    raise
                stops = True
        if stops:
            raise StopTraining

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Run forward and backward on one batch."""
        inputs, target = batch
        # Random numbers follow from epoch and step, so that a resumed training draws the same.
        key = (STEP, len(self.history) - 1, self.step_)
        with seeded(self.device, self.seed, *key) as generator, self._autocast():
            pairs = None
            if self.settings.mixup:
                pairs = draw_mixup(len(target), self.settings.mixup, generator)
                inputs = _mix_inputs(inputs, *pairs)
            logits, named = _split_output(self.infer(inputs))
            loss = self._mixed_loss(logits, target, inputs, pairs)
            loss = loss + _sum_losses(named)
            self.scaler_.scale(loss).backward()
        self.step_ += 1
        if not math.isfinite(loss.item()):
            raise DivergedError(
                f"The training loss became {loss.item()} in epoch {len(self.history)}, step "
                f"{self.step_}. Lower lr or clip_norm, or check the targets; the best weights "
                "before that were kept."
            )
        if self.scaler_.is_enabled():  # before gradients are clipped to a norm
            self.scaler_.unscale_(self.optimizer_)
        named = {name: value.detach() for name, value in named.items()}
        return {"loss": loss.detach(), "y_pred": logits.detach(), "named": named}

    def validation_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Run forward and loss on one batch."""
        self._set_training(False)
        inputs, target = batch
        with torch.inference_mode():
            logits, _ = _split_output(self.infer(inputs))
            return {"loss": self.get_loss(logits, target, inputs), "y_pred": logits}

    def _set_training(self, training: bool = True) -> None:
        """Set the training mode, but leave in evaluation what is frozen."""
        super()._set_training(training)
        if training:
            eval_frozen(self.module_.network, self.settings.mode)

    def infer(self, x: dict[str, Tensor], **fit_params: Any) -> Any:
        """Run the module; weights are for the loss alone."""
        inputs = {name: part for name, part in x.items() if name not in ("weight", "corpus")}
        return super().infer(inputs, corpus=_corpus_of(x))

    def get_loss(self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False) -> Tensor:
        """Compute the loss of a batch, each clip counted with its weight, ``X["weight"]``."""
        return self._weighted_loss(y_pred, y_true, (X or {}).get("weight"), _corpus_of(X or {}))

    def predict_proba(self, X: Any) -> NDArray:
        """Return probabilities of classes, or standardised numbers, for batches."""
        return self.targets[0].probabilities(super().predict_proba(X))

    def predict(self, X: Any) -> NDArray:
        """Return class numbers, or standardised numbers, for batches of the first corpus."""
        return self.targets[0].decide(self.predict_proba(X))

    def predict_outputs(
        self,
        batches: EqualLengthBatches,
        show: Callable[[Iterable[Any]], Iterable[Any]] = iter,
        seen_by: torch.nn.Module | None = None,
    ) -> NDArray[np.float64]:
        """Compute the network's output for each segment, in the segments' own order.

        `show` wraps the batches, as a progress bar does. With `seen_by`, a layer of the network,
        what reaches that layer takes the place of the output.
        """
        self._set_training(False)
        with torch.inference_mode(), _inputs_of(seen_by) as seen:
            # In float64 from here on: softmax and means over crops then add no rounding of their
            # own to that of the network.
            outputs = []
            for inputs, _ in show(batches):
                output, _ = _split_output(self.infer(inputs))
                output = output if seen is None else seen.pop().flatten(1)
                outputs.append(output.double().cpu())
        sorted_outputs = torch.cat(outputs).numpy()
        result = np.empty_like(sorted_outputs)
        result[batches.order] = sorted_outputs  # undo the sorting by length
        return result

    def _weighted_loss(
        self, output: Tensor, target: Tensor, weight: Tensor | None, corpus: int
    ) -> Tensor:
        # Sums of losses in half precision would overflow at 65 504.
        output = output.to(torch.promote_types(output.dtype, torch.float32))
        if weight is not None:
            weight = weight.to(output.dtype).to(self.device)
        return self.criterion_[corpus](output, target.to(self.device), weight)

    def _mixed_loss(
        self,
        logits: Tensor,
        target: Tensor,
        inputs: dict[str, Tensor],
        pairs: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        weight, corpus = inputs.get("weight"), _corpus_of(inputs)
        if pairs is None:
            return self._weighted_loss(logits, target, weight, corpus)
        # The loss of a mixed target is the mixture of the losses: with cross-entropy the two are
        # the same, since it is linear in the target; with other losses this is their definition.
        partner, share = pairs
        weight = torch.ones_like(share) if weight is None else weight
        own = self._weighted_loss(logits, target, weight * share, corpus)
        others = weight[partner] * (1 - share)
        return own + self._weighted_loss(logits, target[partner], others, corpus)

    def _step_optimizer(self, step_fn: Any) -> None:
        if not self.scaler_.is_enabled():
            super()._step_optimizer(step_fn)
            return
        step_fn()
        self.scaler_.step(self.optimizer_)
        self.scaler_.update()

    @contextmanager
    def _autocast(self) -> Iterator[None]:
        amp = self.settings.amp
        enabled = amp is not None and self._on_gpu
        dtype = getattr(torch, amp) if enabled and amp else None
        with torch.autocast("cuda", dtype=dtype, enabled=enabled):
            yield

    @property
    def _on_gpu(self) -> bool:
        return str(self.device).startswith("cuda")

    def __getstate__(self) -> dict[str, Any]:
        store = active_store()
        if store is not None:
            return record(self, store)
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
        store = active_store()
        if store is not None:
            device = state["device"]
            if device.startswith("cuda"):
                device = _gpu_at_hand(device)
            rebuild(self, store, **state | {"device": device})
            return
        self.__dict__.update(state)
        if self._on_gpu:
            self.device = _gpu_at_hand(self.device)
            for name in {"module_", "criterion_"} & set(state):
                getattr(self, name).to(self.device)


def _gpu_at_hand(device: str) -> str:
    """Replace a GPU of another machine by one of this machine; by the CPU if there is none."""
    if not torch.cuda.is_available():
        return "cpu"
    index = torch.device(device).index
    return "cuda" if index is not None and index >= torch.cuda.device_count() else device


@contextmanager
def _inputs_of(layer: torch.nn.Module | None) -> Iterator[list[Tensor] | None]:
    """Collect what reaches a layer; None without one."""
    if layer is None:
        yield None
        return
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        hook.remove()


def _split_output(output: Any) -> tuple[Tensor, dict[str, Tensor]]:
    return output if isinstance(output, tuple) else (output, {})


def _sum_losses(named: dict[str, Tensor]) -> Tensor | float:
    return sum(value for name, value in named.items() if name.endswith("_loss"))


def _callback_class(entry: Any) -> type:
    """Return the class of a callback, given as it is, as its class, or in a pair with a name."""
    callback = entry[1] if isinstance(entry, tuple) else entry
    return callback if isinstance(callback, type) else type(callback)


def _make_losses(settings: StepSettings) -> torch.nn.ModuleList:
    return torch.nn.ModuleList(
        make_loss(settings.loss, **options) for options in settings.loss_options
    )


def _corpus_of(inputs: dict[str, Tensor]) -> int:
    """Return the number of the corpus that all clips of a batch are of."""
    return int(inputs["corpus"][0]) if "corpus" in inputs else 0


def _mix_inputs(inputs: dict[str, Tensor], partner: Tensor, share: Tensor) -> dict[str, Tensor]:
    mixed = inputs | {"x": mix(inputs["x"], partner, share)}
    # Where one of two clips has ended the other one is still heard.
    if "lengths" in inputs:
        mixed["lengths"] = torch.maximum(inputs["lengths"], inputs["lengths"][partner])
    return mixed
