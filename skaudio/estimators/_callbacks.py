"""What happens around the epochs of a training run: scores, best weights, its end, its progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skorch.callbacks import Callback
from tqdm import tqdm

from skaudio.exceptions import StopTraining

__all__ = [
    "BestWeights",
    "EpochProgress",
    "EpochTasks",
    "NamedScores",
    "StopOnPlateau",
    "ValidationScore",
    "fit_task",
]


class ValidationScore(Callback):
    """Record loss and score of all validation clips of a corpus together.

    Means over corpora become ``valid_loss`` and ``valid_score``; of several corpora each has a
    ``valid_score_<corpus>`` as well. Averages over batches would not do: clips of unequal length
    come in batches of their own, often one by one, where a concordance says nothing. The score of
    outputs that are not finite is NaN.

    Parameters
    ----------
    scores : sequence of callable
        ``score(y_true, y_pred) -> float`` of each corpus, on arrays with one row per clip;
        `y_pred` holds what the network returns.
    names : sequence of str or None
        What the corpora are called, if there are several.
    """

    def __init__(
        self, scores: Sequence[Callable[[NDArray, NDArray], float]], names: Sequence[str | None]
    ) -> None:
        self.scores = scores
        self.names = names

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Forget the epoch before."""
        self.batches_: dict[int, list[tuple[torch.Tensor, ...]]] = {}

    def on_batch_end(
        self, net: Any, batch: Any = None, training: bool = False, y_pred: Any = None, **kwargs: Any
    ) -> None:
        """Collect a validation batch."""
        if not training:
            inputs, target = batch
            kept = [inputs[name] for name in ("corpus", "weight") if name in inputs]
            collected = self.batches_.setdefault(int(inputs["corpus"][0]), [])
            collected.append((y_pred.detach().cpu(), target, *kept))

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Score what was collected."""
        if not self.batches_:
            return
        losses, scores = [], []
        for corpus, batches in sorted(self.batches_.items()):
            loss, score = self._evaluate(net, corpus, batches)
            losses.append(loss)
            scores.append(score)
            if self.names[corpus] is not None:
                net.history.record(f"valid_score_{self.names[corpus]}", score)
        net.history.record("valid_loss", float(np.mean(losses)))
        net.history.record("valid_score", float(np.mean(scores)))
        self.batches_ = {}

    def _evaluate(
        self, net: Any, corpus: int, batches: list[tuple[torch.Tensor, ...]]
    ) -> tuple[float, float]:
        output, target, *kept = (torch.cat(part) for part in zip(*batches, strict=True))
        inputs = dict(zip(("corpus", "weight"), kept, strict=False))
        with torch.inference_mode():
            loss = float(net.get_loss(output.to(net.device), target, inputs))
        if not output.isfinite().all():
            return loss, float("nan")
        return loss, float(self.scores[corpus](target.numpy(), output.numpy()))


class NamedScores(Callback):
    """Record what a network reports besides its logits, averaged over the training batches.

    A network may return ``(logits, named)``; each of the `named` scalars becomes a column of the
    history under its own name.
    """

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Forget the epoch before."""
        self.values_: dict[str, list[float]] = {}

    def on_batch_end(
        self, net: Any, training: bool = False, named: dict | None = None, **kwargs: Any
    ) -> None:
        """Collect a training batch."""
        if training:
            for name, value in (named or {}).items():
                self.values_.setdefault(name, []).append(float(value))

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Average what was collected."""
        for name, values in self.values_.items():
            net.history.record(name, float(np.mean(values)))


class _Monitor(Callback):
    """A callback that watches one column of the history since the training began."""

    def __init__(self, monitor: str, *, greater_is_better: bool = False) -> None:
        self.monitor = monitor
        self.greater_is_better = greater_is_better

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Remember where in the history this training begins."""
        self.first_epoch_ = len(net.history)

    def best_epoch(self, net: Any) -> int:
        """Return the epoch with the best value since the training began, counted within it."""
        sign = -1 if self.greater_is_better else 1
        values = sign * np.array(net.history[self.first_epoch_ :, self.monitor], dtype=float)
        # A NaN, the score of outputs that are not finite, is never best.
        return int(np.argmin(np.where(np.isnan(values), np.inf, values)))

    def n_epochs(self, net: Any) -> int:
        """Count the epochs since the training began."""
        return len(net.history) - self.first_epoch_


class BestWeights(_Monitor):
    """Keep the weights of the best epoch, and put them back when asked.

    Parameters
    ----------
    monitor : str
        Column of the history that tells which epoch is best.
    greater_is_better : bool, default=False

    Attributes
    ----------
    weights_ : dict of str to Tensor
        State of the module at the end of its best epoch, or at the beginning.
    """

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Keep the weights to begin with."""
        super().on_train_begin(net, **kwargs)
        self._keep(net)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Keep the weights if this epoch is the best so far."""
        if self.best_epoch(net) == self.n_epochs(net) - 1:
            self._keep(net)

    def restore(self, net: Any) -> None:
        """Put the kept weights into the module."""
        net.module_.load_state_dict(self.weights_)

    def _keep(self, net: Any) -> None:
        state = net.module_.state_dict()  # refers to the weights, which the next step changes
        self.weights_ = {name: value.detach().clone() for name, value in state.items()}


class StopOnPlateau(_Monitor):
    """End the training when a column of the history has stopped improving.

    Parameters
    ----------
    monitor : str
    patience : int, default=10
        Epochs without a new best value before the training ends.
    greater_is_better : bool, default=False
    """

    def __init__(
        self, monitor: str, patience: int = 10, *, greater_is_better: bool = False
    ) -> None:
        super().__init__(monitor, greater_is_better=greater_is_better)
        self.patience = patience

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Count the epochs since the best one."""
        if self.n_epochs(net) - 1 - self.best_epoch(net) >= self.patience:
            raise StopTraining


class EpochProgress(Callback):
    """Progress bar over the epochs that shows the newest losses.

    Parameters
    ----------
    n_epochs : int
        Epochs at the most.
    """

    shown = ("train_loss", "valid_loss", "valid_score")

    def __init__(self, n_epochs: int) -> None:
        self.n_epochs = n_epochs

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Draw the empty bar."""
        self.first_epoch_ = len(net.history)
        self.bar_ = tqdm(total=self.n_epochs, unit="epoch", dynamic_ncols=True)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Move on, at the first epoch of a resumed run by what had been done before."""
        newest = net.history[-1]
        shown = {name: f"{newest[name]:.3f}" for name in self.shown if name in newest}
        self.bar_.set_postfix(shown, refresh=False)
        self.bar_.update(len(net.history) - self.first_epoch_ - self.bar_.n)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Leave the bar as it is."""
        self.bar_.close()
        del self.bar_


class EpochTasks(Callback):
    """Tell scikit-learn's own callbacks, such as its progress bar, of every epoch.

    Parameters
    ----------
    context : sklearn.callback.CallbackContext
        Of the fit, which is a task; its epochs are the subtasks.
    estimator : BaseEstimator
        Passed on to the callbacks.
    """

    def __init__(self, context: Any, estimator: Any) -> None:
        self.context = context
        self.estimator = estimator

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin a subtask."""
        self.task_ = self.context.subcontext(task_name="epoch")
        self.task_.call_on_fit_task_begin(estimator=self.estimator)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """End it, and the training if a callback asks for that."""
        if self.task_.call_on_fit_task_end(estimator=self.estimator):
            raise StopTraining


@contextmanager
def fit_task(estimator: Any, settings: Any) -> Iterator[Any]:
    """Tell scikit-learn's callbacks of a fit; yield settings by which they hear of its epochs."""
    if not hasattr(estimator, "_init_callback_context"):  # scikit-learn before 1.9
        yield settings
        return
    # A fit that fails leaves its task unfinished, as scikit-learn's own estimators do.
    context = estimator._init_callback_context(max_subtasks=settings.n_epochs)
    context.call_on_fit_task_begin(estimator=estimator)
    yield replace(settings, callbacks=(EpochTasks(context, estimator), *settings.callbacks))
    context.call_on_fit_task_end(estimator=estimator)
