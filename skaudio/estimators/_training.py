"""One training run: batches, callbacks, epochs, and how it may end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from skorch.callbacks import Callback, GradientNormClipping, PrintLog
from tqdm import tqdm

from skaudio.estimators._batches import (
    EqualLengthBatches,
    Segments,
    TrainingBatches,
    centre_crops,
    covering_crops,
    whole_clips,
)
from skaudio.estimators._callbacks import (
    BestWeights,
    EpochProgress,
    StopOnPlateau,
    ValidationScore,
)
from skaudio.estimators._checkpoint import Checkpoints
from skaudio.estimators._data import ClipSource, Corpus, Dataset
from skaudio.estimators._net import AudioNet
from skaudio.estimators._optimization import StagedLearningRate, make_schedule
from skaudio.exceptions import AudioFormatError, DivergedError, SkaudioWarning, StopTraining, warn
from skaudio.losses import size_rule

__all__ = ["RunSettings", "prediction_segments", "train"]


@dataclass(frozen=True)
class RunSettings:
    """How a training run is made; the parameters mean what they do in the estimators.

    `crop` is in samples. `steps_per_epoch` counts batches of each corpus; None is about all clips.
    """

    n_epochs: int
    batch_size: int
    crop: int | None
    lr_schedule: str | None
    lr_decay: float | str
    clip_norm: float | None
    early_stopping: bool
    monitor: str
    patience: int
    callbacks: Sequence[Any]
    verbose: int
    steps_per_epoch: int | None = None

    @property
    def staged(self) -> bool:
        """Whether the run goes by stages, which end by the validation score."""
        return self.lr_schedule == "staged"


def train(
    net: AudioNet,
    settings: RunSettings,
    corpora: Sequence[Corpus],
    checkpoints: Checkpoints | None = None,
) -> None:
    """Train a net, and leave it with the weights to predict with.

    Parameters
    ----------
    net : AudioNet
    settings : RunSettings
    corpora : sequence of Corpus
        With validation clips all of them, or none.
    checkpoints : Checkpoints, optional
        Where to save, and where to go on from.

    Raises
    ------
    DivergedError
        If the loss becomes NaN or infinite.
    KeyboardInterrupt
        If the user interrupts.

    Notes
    -----
    However the run ends, with `early_stopping` or stages the net is left with the best weights so
    far, otherwise with the newest; after a divergence always with the best.
    """
    training = _training_batches(net, settings, [corpus.training for corpus in corpora])
    held_back = [corpus.validation for corpus in corpora if corpus.validation is not None]
    validation = _ValidationBatches(net, settings, held_back) if held_back else None
    best = _best_weights(settings, validated=validation is not None)
    restores = validation is not None and (settings.early_stopping or settings.staged)
    callbacks = _list_callbacks(net, settings, best, checkpoints, corpora, len(training))
    net.prepare_training(callbacks)
    data = _seen_by_callbacks(corpora)
    try:
        net.notify("on_train_begin", **data)
        # Epochs that a checkpoint brings are not repeated, and count among `n_epochs`.
        done = 0 if checkpoints is None else checkpoints.resume(net)
        training.epoch += done
        net.fit_loop((training, validation), epochs=max(0, settings.n_epochs - done))
    except StopTraining:
        pass
    except KeyboardInterrupt:
        with suppress(SkaudioWarning):  # where warnings are errors this stays an interrupt
            _warn_of_interrupt(len(net.history), resumes=checkpoints is not None)
        raise
    except DivergedError:
        restores = True  # also of a training that is not validated: its newest weights are broken
        raise
    finally:
        net.drop_unfinished_epoch(validated=validation is not None)
        if restores:  # first, since a user's callback may fail
            best.restore(net)
        net.notify("on_train_end", **data)
    if checkpoints is not None:
        checkpoints.finish()


def _warn_of_interrupt(epoch: int, *, resumes: bool) -> None:
    later = "; the same fit goes on from the last epoch's end" if resumes else ""
    warn(
        f"Training interrupted in epoch {epoch}. The estimator is fitted with what it has learned "
        f"so far{later}."
    )


def prediction_segments(
    net: AudioNet, source: ClipSource, crop: int | None, aggregation: str
) -> Segments:
    """Say which parts of the clips a prediction looks at.

    Raises
    ------
    AudioFormatError
        If the network takes clips of one length only, and one has another.
    """
    if crop is not None:
        take = covering_crops if aggregation == "mean" else centre_crops
        segments = take(source.lengths, crop)
    else:
        # Clips of as many frames get one length, so that they can share a batch: the samples
        # between two hops change no feature.
        segments = whole_clips(net.module_.padded_length(source.lengths))
    _check_frames(net, segments)
    return segments


def _check_frames(net: AudioNet, segments: Segments) -> None:
    """Refuse clips of another length than a fixed-size network was built for."""
    module = net.module_
    wanted = getattr(module.network, "n_frames", None)
    if wanted is None:
        return
    frames = module.n_frames(segments.length)
    wrong = np.flatnonzero(frames != wanted)
    if len(wrong):
        raise AudioFormatError(
            f"Clip {segments.clip[wrong[0]]} has {frames[wrong[0]]} frames, but the network "
            f"was built for {wanted} frames. Cut or pad the clips as in fit, or use a network "
            "that takes any length, such as MTSNet()."
        )


def _training_batches(
    net: AudioNet, settings: RunSettings, datasets: Sequence[Dataset]
) -> TrainingBatches:
    return TrainingBatches(
        datasets,
        crop=settings.crop,
        batch_size=settings.batch_size,
        seed=net.seed,
        n_rounds=settings.steps_per_epoch,
        first_epoch=len(net.history),
    )


class _ValidationBatches:
    """Batches of equal length of each data set, one data set after the other."""

    def __init__(self, net: AudioNet, settings: RunSettings, datasets: Sequence[Dataset]) -> None:
        self.parts = [
            EqualLengthBatches(
                dataset,
                prediction_segments(net, dataset.source, settings.crop, "center"),
                settings.batch_size,
            )
            for dataset in datasets
        ]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(self.parts)


def _seen_by_callbacks(corpora: Sequence[Corpus]) -> dict[str, Any]:
    """Return clips and targets as skorch hands them to callbacks; lists of those of each corpus."""
    clips = [corpus.training.source for corpus in corpora]
    targets = [corpus.training.target for corpus in corpora]
    return {"X": clips, "y": targets} if len(corpora) > 1 else {"X": clips[0], "y": targets[0]}


def _best_weights(settings: RunSettings, *, validated: bool) -> BestWeights:
    if not validated:
        return BestWeights("train_loss")
    # Stages go by the score, and start from the best weights by the same measure.
    monitor = "valid_score" if settings.staged else settings.monitor
    return BestWeights(monitor, greater_is_better=monitor == "valid_score")


def _list_callbacks(
    net: AudioNet,
    settings: RunSettings,
    best: BestWeights,
    checkpoints: Checkpoints | None,
    corpora: Sequence[Corpus],
    n_batches: int,
) -> list[Any]:
    """List the callbacks in the order in which an epoch's end wants them.

    What comes after the checkpoint follows from the history, so that it can be repeated when a
    run is resumed.
    """
    decay = settings.lr_decay
    n_clips = sum(len(corpus.training) for corpus in corpora)
    schedule = make_schedule(
        settings.lr_schedule,
        best,
        settings.patience,
        settings.n_epochs,
        n_batches,
        size_rule(n_clips) if isinstance(decay, str) else decay,
    )
    stops = settings.early_stopping and not isinstance(schedule, StagedLearningRate)
    clipping = GradientNormClipping(settings.clip_norm) if settings.clip_norm else None
    stopping = StopOnPlateau(
        best.monitor, settings.patience, greater_is_better=best.greater_is_better
    )
    callbacks: dict[str, Callback | None] = {
        "valid_score": ValidationScore(
            [target.score for target in net.targets],
            [corpus.name for corpus in corpora],
        ),
        "best_weights": best,
        "clip_norm": clipping,
        "checkpoints": checkpoints,
        "lr_schedule": schedule,
        "early_stopping": stopping if stops else None,
        "progress": _progress(settings),
    }
    own = [
        (f"skaudio_{name}", callback)
        for name, callback in callbacks.items()
        if callback is not None
    ]
    return own + list(settings.callbacks)


def _progress(settings: RunSettings) -> Callback | None:
    if settings.verbose > 1:
        return PrintLog(sink=tqdm.write)  # with print it would go by verbose of the net
    return EpochProgress(settings.n_epochs) if settings.verbose else None
