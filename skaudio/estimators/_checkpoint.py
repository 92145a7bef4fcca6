"""Training that survives being killed."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from skorch.callbacks import Callback

from skaudio._artifacts import DamagedFileError, read_checked, remove_stale, write_checked
from skaudio.estimators._callbacks import BestWeights, StopOnPlateau
from skaudio.estimators._optimization import StagedLearningRate
from skaudio.estimators._saved_net import plain_rows
from skaudio.exceptions import warn

__all__ = ["Checkpoints"]

# Parts of the net that steps of the training change; a loss may have weights too.
_CHANGING = ("module", "criterion", "optimizer", "scaler")

_ENTRIES = {"run", "seed", "history", "best", *_CHANGING}

# The newest, and the one before it in case the newest is damaged.
_KEPT = 2


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

    def unfinished_seed(self) -> int | None:
        """Return the seed of the unfinished run in the folder; None if there is no such run."""
        self._found = self._newest()  # for `resume`, so that damage is reported once
        return None if self._found is None else self._found["seed"]

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Write a checkpoint, and remove those that are no longer needed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "finished").unlink(missing_ok=True)
        # Made in memory first: a checksum needs the whole, and networks of this size are small.
        data = io.BytesIO()
        torch.save(self._state(net), data)
        path = self.folder / f"epoch_{len(net.history):05d}.pt"
        write_checked(path, data.getvalue(), durable=True)
        for old in sorted(self.folder.glob("epoch_*.pt"))[:-_KEPT]:
            old.unlink(missing_ok=True)

    def resume(self, net: Any) -> int:
        """Load the newest checkpoint of an unfinished run; return the epochs it has done.

        Raises
        ------
        StopTraining
            If the run had come to its end, but was killed before it could say so.
        """
        remove_stale(self.folder)
        state = self.__dict__.pop("_found", None) or self._newest()
        # Another seed is that of a process which began this run at the same time.
        if state is None or state["seed"] != net.seed or not self._load_weights(net, state):
            for path in self.folder.glob("epoch_*.pt"):
                path.unlink(missing_ok=True)
            return 0
        # Callbacks whose state follows from the history are called with it, once more for its last
        # epoch, as the process that was killed may not have come to that.
        net.history.extend(state["history"])
        _best_weights(net).weights_ = state["best"]
        for _, callback in net.callbacks_:
            if isinstance(callback, (StagedLearningRate, StopOnPlateau)):
                callback.on_epoch_end(net)
        return len(net.history)

    def finish(self) -> None:
        """Mark the run as finished, so that the next one starts afresh."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "finished").touch()

    def _load_weights(self, net: Any, state: dict[str, Any]) -> bool:
        """Put a state into the net; if it does not fit, warn and leave the net as it was."""
        before = copy.deepcopy(_weights(net))  # a state may fit in part, and be half loaded
        try:
            _check_optimizer(net, state)
            _set_weights(net, state)
        except Exception as error:  # what does not fit fails in many ways
            _set_weights(net, before)
            warn(
                f"{self.folder}: the checkpoints of this run do not fit the network, the loss or "
                f"the optimizer any more ({shorten(str(error), 200)}). Was the function that "
                "builds it changed? The training starts afresh."
            )
            return False
        return True

    def _state(self, net: Any) -> dict[str, Any]:
        return {
            "run": self.folder.name,
            "seed": net.seed,
            **_weights(net),
            "history": plain_rows(net.history),
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
        """Load a checkpoint; warn and return None if it is damaged or not of this run."""
        try:
            data = io.BytesIO(read_checked(path))
            state = torch.load(data, weights_only=True, map_location="cpu")
        except FileNotFoundError:  # removed by another process that does this run
            return None
        except DamagedFileError:
            fault = "is damaged"
        except Exception as error:  # whole, but written by something else
            fault = f"cannot be read ({type(error).__name__})"
        else:
            if not isinstance(state, dict) or not state.keys() >= _ENTRIES:
                fault = "lacks entries"
            elif state["run"] != self.folder.name:
                fault = "belongs to another run"
            else:
                return state
        warn(f"{path}: this checkpoint {fault}; the one before it is used instead.")
        return None


def _weights(net: Any) -> dict[str, Any]:
    """Return all that steps of the training change."""
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


def _best_weights(net: Any) -> BestWeights:
    return next(callback for _, callback in net.callbacks_ if isinstance(callback, BestWeights))
