"""Training that survives being killed."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from skorch.callbacks import Callback

from skaudio._validation import check_paths, holds_paths
from skaudio.callbacks import BestWeights, EarlyStopping, StagedLearningRate
from skaudio.exceptions import SkaudioWarning

__all__ = ["Checkpoints", "fingerprint"]

# Parameters that change neither the data nor a single bit of the result.
_WITHOUT_EFFECT = ("callbacks", "checkpoint_dir", "n_workers", "verbose")

_KEPT = 2


def fingerprint(estimator: Any, X: Any, *others: Any) -> str:
    """Name a training run by its parameters and its data.

    Files count by path, size and time of change; arrays by their content.
    """
    parameters = estimator.get_params(deep=False)
    for name in _WITHOUT_EFFECT:
        parameters.pop(name)
    data = [_identity(part) for part in (X, *others)]
    return joblib.hash((type(estimator).__name__, parameters, data))


def _identity(data: Any) -> Any:
    if data is None or not holds_paths(data):
        return data
    files = [Path(path) for path in check_paths(data)]
    stats = [path.stat() if path.exists() else None for path in files]
    return [
        (str(path.resolve()), stat and (stat.st_size, stat.st_mtime_ns))
        for path, stat in zip(files, stats, strict=True)
    ]


class Checkpoints(Callback):
    """Save the state of a training after each epoch, and take it up again.

    Parameters
    ----------
    folder : Path
        Of this run alone; made when the first checkpoint is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def settle_seed(self, seed: int) -> int:
        """Give the seed of the unfinished run in the folder, if there is one."""
        state = self._newest()
        return seed if state is None else state["seed"]

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Write a checkpoint beside its name, then move it there in one go."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "finished").unlink(missing_ok=True)
        path = self.folder / f"epoch_{len(net.history):05d}.pt"
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        with unfinished.open("wb") as file:
            torch.save(self._state(net), file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        for old in sorted(self.folder.glob("epoch_*.pt"))[:-_KEPT]:
            old.unlink()

    def resume(self, net: Any) -> int:
        """Load the newest checkpoint of an unfinished run; return the epochs it has done.

        Raises
        ------
        StopTraining
            If the run had come to its end, but was killed before it could say so.
        """
        state = self._newest()
        if state is None:
            for old in self.folder.glob("epoch_*.pt"):
                old.unlink()
            return 0
        net.module_.load_state_dict(state["module"])
        net.optimizer_.load_state_dict(state["optimizer"])
        net.scaler_.load_state_dict(state["scaler"])
        net.history.extend(state["history"])
        _best_weights(net).weights_ = state["best"]
        for _, callback in net.callbacks_:
            if isinstance(callback, (StagedLearningRate, EarlyStopping)):
                callback.on_epoch_end(net)
        return len(net.history)

    def finish(self) -> None:
        """Mark the run as finished, so that the next one starts afresh."""
        (self.folder / "finished").touch()

    def _state(self, net: Any) -> dict[str, Any]:
        rows = [{k: _plain(v) for k, v in row.items() if k != "batches"} for row in net.history]
        return {
            "run": self.folder.name,
            "seed": net.seed,
            "module": net.module_.state_dict(),
            "optimizer": net.optimizer_.state_dict(),
            "scaler": net.scaler_.state_dict(),
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


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _best_weights(net: Any) -> BestWeights:
    return next(callback for _, callback in net.callbacks_ if isinstance(callback, BestWeights))
