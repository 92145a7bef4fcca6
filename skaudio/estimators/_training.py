"""One training run: batches, callbacks, epochs, and how it may end."""

from __future__ import annotations

import warnings
from typing import Any

from skorch.callbacks import Callback, GradientNormClipping

from skaudio.callbacks import (
    BestWeights,
    EarlyStopping,
    EpochProgress,
    StagedLearningRate,
    StopTraining,
    ValidationScore,
)
from skaudio.estimators._batches import EqualLengthBatches, Targets, TrainingBatches
from skaudio.estimators._checkpoint import Checkpoints
from skaudio.estimators._clips import ClipSource, FileClips
from skaudio.estimators._net import AudioNet
from skaudio.estimators._optimization import make_schedule
from skaudio.estimators._parts import Part
from skaudio.estimators._segments import Segments, randomly_placed, whole
from skaudio.exceptions import DivergedError, SkaudioWarning

__all__ = ["n_readers", "train"]


def train(
    recipe: Any,
    net: AudioNet,
    training: Part,
    validation: Part | None,
    n_epochs: int,
    *,
    lr_schedule: str | None = None,
    checkpoints: Checkpoints | None = None,
) -> None:
    """Train a net, and leave it with the weights to predict with.

    Parameters
    ----------
    recipe : BaseAudioEstimator
        Its parameters say how to train.
    net : AudioNet
    training : Part
    validation : Part or None
    n_epochs : int
    lr_schedule : str or None
        Schedule of these epochs; None keeps the rate constant.
    checkpoints : Checkpoints, optional
        Where to save, and where to go on from.
    """
    batches = _training_batches(recipe, net, training), _validation_batches(recipe, validation)
    keeper = _make_keeper(recipe, validation)
    restores = validation is not None and recipe.early_stopping
    schedule = make_schedule(lr_schedule, keeper, recipe.patience, n_epochs, len(batches[0]))
    net.prepare_training(_list_callbacks(recipe, keeper, schedule, checkpoints, n_epochs))
    data = {"X": training.source, "y": training.target}
    net.notify("on_train_begin", **data)
    try:
        done = 0 if checkpoints is None else checkpoints.resume(net)
        batches[0].epoch += done
        net.fit_loop(batches, epochs=max(0, n_epochs - done))
    except StopTraining:
        pass
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", SkaudioWarning, stacklevel=4)
        checkpoints = None
    except DivergedError:
        restores = True
        raise
    finally:
        net.notify("on_train_end", **data)
        if restores:
            keeper.restore(net)
    if checkpoints is not None:
        checkpoints.finish()


def n_readers(recipe: Any, source: ClipSource) -> int:
    """Count the threads that read ahead: arrays in memory need none."""
    return recipe.n_workers if isinstance(source, FileClips) else 0


def _make_keeper(recipe: Any, validation: Part | None) -> BestWeights:
    if validation is None:
        return BestWeights("train_loss")
    # Stages go by the score, and start from the best weights by the same measure.
    monitor = "valid_score" if recipe.lr_schedule == "staged" else recipe.monitor
    return BestWeights(monitor, greater_is_better=monitor == "valid_score")


def _training_batches(recipe: Any, net: AudioNet, part: Part) -> TrainingBatches:
    lengths, window = part.source.lengths, recipe._window_length

    def segments(epoch: int) -> Segments:
        if window is None:
            return whole(lengths)
        return randomly_placed(lengths, window, net.seed, epoch)

    return TrainingBatches(
        part.source,
        Targets(part.target, part.weight),
        segments,
        batch_size=recipe.batch_size,
        seed=net.seed,
        first_epoch=len(net.history),
        n_workers=n_readers(recipe, part.source),
    )


def _validation_batches(recipe: Any, part: Part | None) -> EqualLengthBatches | None:
    if part is None:
        return None
    return EqualLengthBatches(
        part.source,
        recipe._segments(part.source.lengths, aggregation="center"),
        batch_size=recipe.batch_size,
        targets=Targets(part.target, part.weight),
        n_workers=n_readers(recipe, part.source),
    )


def _list_callbacks(
    recipe: Any,
    keeper: BestWeights,
    schedule: Callback | None,
    checkpoints: Checkpoints | None,
    n_epochs: int,
) -> list[Any]:
    """List the callbacks in the order in which an epoch's end wants them.

    What comes after the checkpoint follows from the history, so that it can be repeated when a
    run is resumed.
    """
    stops = recipe.early_stopping and not isinstance(schedule, StagedLearningRate)
    stopping = EarlyStopping(
        keeper.monitor, recipe.patience, greater_is_better=keeper.greater_is_better
    )
    callbacks = {
        "valid_score": ValidationScore(recipe._validation_score),
        "best_weights": keeper,
        "clip_norm": GradientNormClipping(recipe.clip_norm) if recipe.clip_norm else None,
        "checkpoints": checkpoints,
        "lr_schedule": schedule,
        "early_stopping": stopping if stops else None,
        "progress": EpochProgress(n_epochs) if recipe.verbose else None,
    }
    own = [(name, callback) for name, callback in callbacks.items() if callback is not None]
    return own + list(recipe.callbacks or [])
