"""Training that survives being killed."""

from __future__ import annotations

import copy
import os
import warnings
from contextlib import suppress
from pathlib import Path
from textwrap import shorten
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from skorch.callbacks import Callback

from skaudio._validation import check_paths, holds_paths
from skaudio.callbacks import BestWeights, EarlyStopping, StagedLearningRate
from skaudio.estimators._hashing import hash_by_value
from skaudio.exceptions import SkaudioWarning

__all__ = ["Checkpoints", "fingerprint"]

# Parameters that change neither the data nor a single bit of the result.
_WITHOUT_EFFECT = ("callbacks", "checkpoint_dir", "n_workers", "verbose")

# Parts of the net that steps of the training change; a loss may have weights too.
_CHANGING = ("module", "criterion", "optimizer", "scaler")

_KEPT = 2


def fingerprint(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    groups: Any = None,
    X_val: Any = None,
    y_val: Any = None,
) -> str:
    """Name a training run by its parameters and its data, alike in every process.

    Files count by path, size and time of change; all else by its content.

    Raises
    ------
    ValueError
        If a parameter cannot be told from others by its value, as a lambda.
    """
    parameters = estimator.get_params(deep=False)
    names = sorted(parameters.keys() - set(_WITHOUT_EFFECT))
    settings = {name: _hash_parameter(estimator, name, parameters[name]) for name in names}
    clips = [_identify_clips(X), _identify_clips(X_val)]
    labels = [_identify_labels(part) for part in (y, sample_weight, groups, y_val)]
    return hash_by_value((type(estimator).__name__, settings, clips, labels))


def _hash_parameter(estimator: Any, name: str, value: Any) -> str:
    try:
        return hash_by_value(value)
    except Exception as error:  # objects fail to be pickled in many ways
        raise ValueError(
            f"{type(estimator).__name__}: {name} is {shorten(repr(value), 120)}, but with "
            "checkpoint_dir another process has to know it by its name or its values. Use a "
            "function or class at the top level of a module, not a lambda or one inside a "
            "function, or set checkpoint_dir=None."
        ) from error


def _identify_clips(X: Any) -> Any:
    if X is None:
        return None
    if not holds_paths(X):
        return [np.asarray(clip) for clip in X] if _is_ragged(X) else np.asarray(X)
    files = [Path(path) for path in check_paths(X)]
    stats = [path.stat() if path.exists() else None for path in files]
    return [
        (str(path.resolve()), stat and (stat.st_size, stat.st_mtime_ns))
        for path, stat in zip(files, stats, strict=True)
    ]


def _is_ragged(X: Any) -> bool:
    """Tell whether numpy may be unable to make one array of clips."""
    return isinstance(X, (list, tuple)) or getattr(X, "ndim", 2) == 1


def _identify_labels(labels: Any) -> Any:
    """Give labels, weights or groups in one form, in whatever object they came."""
    if labels is None:
        return None
    array = np.asarray(labels)
    if array.dtype.kind in "biufc":
        return array
    return array.shape, [_plain(label) for label in array.ravel().tolist()]


class Checkpoints(Callback):
    """Save the state of a training after each epoch, and take it up again.

    Parameters
    ----------
    folder : Path
        Of this run alone; made when the first checkpoint is written. ``~`` is the user's home.

    Notes
    -----
    Should two processes do the same run at once, the last to write wins. Each checkpoint is
    whole in itself, so that it does not matter whose it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser()

    def settle_seed(self, seed: int) -> int:
        """Give the seed of the unfinished run in the folder, if there is one."""
        state = self._newest()
        return seed if state is None else state["seed"]

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Write a checkpoint beside its name, then move it there in one go."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "finished").unlink(missing_ok=True)
        path = self.folder / f"epoch_{len(net.history):05d}.pt"
        unfinished = path.with_suffix(f".{uuid4().hex}.tmp")
        with unfinished.open("wb") as file:
            torch.save(self._state(net), file)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):  # another process that starts this run sweeps it away
            unfinished.replace(path)
        for old in sorted(self.folder.glob("epoch_*.pt"))[:-_KEPT]:
            old.unlink(missing_ok=True)

    def resume(self, net: Any) -> int:
        """Load the newest checkpoint of an unfinished run; return the epochs it has done.

        Raises
        ------
        StopTraining
            If the run had come to its end, but was killed before it could say so.
        """
        self._remove("epoch_*.tmp")
        state = self._newest()
        # Another seed is that of a process which began this run at the same time.
        if state is None or state["seed"] != net.seed or not self._load_weights(net, state):
            self._remove("epoch_*.pt")
            return 0
        net.history.extend(state["history"])
        _best_weights(net).weights_ = state["best"]
        for _, callback in net.callbacks_:
            if isinstance(callback, (StagedLearningRate, EarlyStopping)):
                callback.on_epoch_end(net)
        return len(net.history)

    def finish(self) -> None:
        """Mark the run as finished, so that the next one starts afresh."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "finished").touch()

    def _remove(self, pattern: str) -> None:
        for path in self.folder.glob(pattern):
            path.unlink(missing_ok=True)

    def _load_weights(self, net: Any, state: dict[str, Any]) -> bool:
        """Put a state into the net; if it does not fit, warn and leave the net as it was."""
        before = copy.deepcopy(_weights(net))
        try:
            _check_optimizer(net, state)
            _set_weights(net, state)
        except Exception as error:  # what does not fit fails in many ways
            _set_weights(net, before)
            warnings.warn(
                f"{self.folder}: the checkpoints of this run do not fit the network, the loss or "
                f"the optimizer any more ({shorten(str(error), 200)}). Was the function that "
                "builds it changed? The training starts afresh.",
                SkaudioWarning,
                stacklevel=2,
            )
            return False
        return True

    def _state(self, net: Any) -> dict[str, Any]:
        rows = [{k: _plain(v) for k, v in row.items() if k != "batches"} for row in net.history]
        return {
            "run": self.folder.name,
            "seed": net.seed,
            **_weights(net),
            "history": rows,
            "best": _best_weights(net).weights_,
        }

    def _newest(self) -> dict[str, Any] | None:
        if (self.folder / "finished").exists():
            return None
        for path in sorted(self.folder.glob("epoch_*.pt"), reverse=True):
            state = self._load(path)
            if state is not None:
                return state
        return None

    def _load(self, path: Path) -> dict[str, Any] | None:
        """Load a checkpoint; warn and give None if it is torn or not of this run."""
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")
        except FileNotFoundError:  # removed by another process that does this run
            return None
        except Exception as error:  # torn files fail in many ways
            flaw = f"cannot be read ({type(error).__name__})"
        else:
            if isinstance(state, dict) and state.get("run") == self.folder.name:
                return state
            flaw = "belongs to another run"
        warnings.warn(
            f"{path}: this checkpoint {flaw}; the one before it is used instead.",
            SkaudioWarning,
            stacklevel=2,
        )
        return None


def _weights(net: Any) -> dict[str, Any]:
    """Give all that steps of the training change."""
    return {name: getattr(net, f"{name}_").state_dict() for name in _CHANGING}


def _set_weights(net: Any, state: dict[str, Any]) -> None:
    for name in _CHANGING:
        getattr(net, f"{name}_").load_state_dict(state[name])


def _check_optimizer(net: Any, state: dict[str, Any]) -> None:
    """Refuse the state of an optimizer of another kind: torch would take it, and fail later."""
    saved = state["optimizer"]["param_groups"][0]
    missing = net.optimizer_.param_groups[0].keys() - saved.keys()
    if missing:
        raise ValueError(f"The saved optimizer is one without {', '.join(sorted(missing))}")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _best_weights(net: Any) -> BestWeights:
    return next(callback for _, callback in net.callbacks_ if isinstance(callback, BestWeights))
