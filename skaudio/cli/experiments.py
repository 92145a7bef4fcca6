"""What the commands of EmoNet do: train on one corpus or on many, and evaluate."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import pandas as pd
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from skaudio.augmentation import FeatureNoise
from skaudio.callbacks import EpochLog, HistoryFile, TensorBoardEvents
from skaudio.cli.networks import PARTS
from skaudio.cli.reporting import LOG, bar_level
from skaudio.cli.results import (
    draw_confusion,
    evaluate_labels,
    tabulate,
    to_json,
    write_json,
    write_text,
)
from skaudio.cli.runs import CHECKPOINTS, FINISHED, configuration, open_run
from skaudio.cli.tables import check_labels, find_paths, read_table
from skaudio.estimators import AudioClassifier, MultiCorpusClassifier
from skaudio.exceptions import SkaudioWarning
from skaudio.features import MFCC, LogMelSpectrogram
from skaudio.losses import ClassificationLoss
from skaudio.networks import AdapterResNet, AdapterRNN, FusionNet, VGG16Net
from skaudio.persistence import load, save

__all__ = ["evaluate", "train_on_many", "train_on_one"]

_MODEL = "model.skaudio"

_NETWORKS = {"cnn": AdapterResNet, "rnn": AdapterRNN, "vgg16": VGG16Net, "fusion": FusionNet}

# Which parameter of the network an option sets.
_CONVOLUTIONS = {
    "number_of_resnet_blocks": "n_blocks", "number_of_filters": "n_filters",
    "widen_factor": "widen_factor", "dropout": "dropout", "rnn_dropout": "rnn_dropout",
    "input_bn": "input_norm", "share_feature_layer": "share_pooling",
}  # fmt: skip
_RECURRENT = {
    "hidden_dim": "n_hidden", "number_of_layers": "n_layers", "cell_type": "cell",
    "bidirectional": "bidirectional", "down_pool": "down_pool", "input_bn": "input_norm",
    "share_feature_layer": "share_pooling",
}  # fmt: skip
_PARAMETERS: dict[str, dict[str, str]] = {
    "cnn": _CONVOLUTIONS | {"classifier": "pooling", "individual_weight_decay": "adapter_l2"},
    "rnn": _RECURRENT | {
        "dropout": "rnn_dropout", "input_projection": "projection",
        "use_attention": "self_attention", "share_attention": "share_pooling",
    },
    "vgg16": {
        "weights": "weights", "freeze_up_to": "freeze_up_to", "classifier": "pooling",
        "dropout": "rnn_dropout", "share_feature_layer": "share_pooling",
    },
    "fusion": _CONVOLUTIONS | _RECURRENT,
}  # fmt: skip

_POOLINGS = {"avgpool": "average", "FCNAttention": "attention", "rnn": "rnn"}
_LOSSES: dict[str, ClassificationLoss] = {
    "crossentropy": "cross_entropy",
    "focal": "focal",
    "ordinal": "ordinal",
}

# Not part of what a run's result depends on.
_OUTSIDE = {"experiment_base_path", "n_workers"}


def train_on_one(network: str, options: dict, given: Collection[str], verbosity: int) -> None:
    """Train on one corpus, and evaluate the best model; see ``skaudio NETWORK single-task``."""
    task, base, start = options["task"], options["data_path"], options["initial_model"]
    tables = {part: options[f"{part}_csv"] for part in ("train", "val", "test")}
    train, val, test = (read_table(path, base) for path in tables.values())
    for part, table in (("val", val), ("test", test)):
        check_labels(tables[part], table, list(train["label"]), tables["train"])
    given_files = {"initial_model": start, "weights": options.get("weights")}
    files = tables | {name: path for name, path in given_files.items() if path is not None}
    parent = options["experiment_base_path"] / "single-task" / network / options["mode"] / task
    command = f"{network} single-task"
    initial = None if start is None else _open_start(network, options)
    with open_run(parent, configuration(command, _inside(options), files)) as run, _at_16_khz():
        if not (run / _MODEL).exists():
            model = _new_classifier(network, options, run, verbosity).set_params(
                lr_schedule="staged",
                lr_decay=_lr_decay(options),
                max_epochs=options["epochs"],
                patience=options["patience"],
                mode=options["mode"],
            )
            if initial is not None:
                _start_from(model, initial, network, options, given)
            model.fit(
                find_paths(train, base), train["label"].tolist(),
                X_val=find_paths(val, base), y_val=val["label"].tolist(),
            )  # fmt: skip
            model.set_params(pretrained=None if start is None else str(start.absolute()))
            _save(model, run)
        metrics = _evaluate_on(load(run / _MODEL), test, base, run, task)
        write_json(run / FINISHED, metrics)
    click.echo(json.dumps({"run": str(run), "task": task, **_in_short(metrics)}))


def train_on_many(network: str, options: dict, verbosity: int) -> None:
    """Train on several corpora, and evaluate each; see ``skaudio NETWORK multi-task``."""
    base, setup, tasks = options["data_path"], options["multi_task_setup"], options["tasks"]
    paths = {(task, part): setup / task / part for task in tasks for part in PARTS}
    tables = {key: read_table(path, base) for key, path in paths.items()}
    for task in tasks:
        known = list(tables[task, PARTS[0]]["label"])
        for part in PARTS[1:]:
            check_labels(paths[task, part], tables[task, part], known, paths[task, PARTS[0]])
    files = {f"{task}/{part}": path for (task, part), path in paths.items()}
    if options.get("weights") is not None:
        files["weights"] = options["weights"]
    parent = options["experiment_base_path"] / "multi-task" / network
    command = f"{network} multi-task"
    with open_run(parent, configuration(command, _inside(options), files)) as run, _at_16_khz():
        if not (run / _MODEL).exists():
            single = _new_classifier(network, options, run, verbosity).set_params(
                lr_schedule="multistep", max_epochs=3 * options["epochs"]
            )
            many = MultiCorpusClassifier(single, steps_per_epoch=options["steps_per_epoch"])
            (X, y), (X_val, y_val) = (
                _join({task: tables[task, part] for task in tasks}, base) for part in PARTS[:2]
            )
            _save(many.fit(X, y, X_val=X_val, y_val=y_val), run)
        model = load(run / _MODEL)
        metrics = {
            task: _evaluate_on(
                model.for_corpus(task), tables[task, PARTS[2]], base, run / task, task
            )
            for task in tasks
        }
        write_json(run / FINISHED, metrics)
    short = {task: _in_short(found) for task, found in metrics.items()}
    click.echo(json.dumps({"run": str(run), "tasks": short}))


def evaluate(network: str, options: dict, given: Collection[str]) -> None:
    """Evaluate a saved model; see ``skaudio NETWORK evaluate``."""
    task, base, path = options["task"], options["data_path"], options["val_csv"]
    file = options["initial_model"]
    model = _open(network, file, task)
    if isinstance(model, MultiCorpusClassifier):
        raise ValueError(
            f"{file}: was trained on the corpora {model.corpora_.tolist()}, but --task is "
            f"{task!r}. Name one of them."
        )
    _refuse_contradictions(network, model, file, options, given)
    table = read_table(path, base)
    check_labels(path, table, model.classes_.tolist(), file)
    model.set_params(batch_size=options["batch_size"])
    with _at_16_khz():
        predictions, metrics = _predict(model, table, base)
    write_text(options["predictions_output"], predictions.to_csv(index=False))
    click.echo(to_json({"task": task, **metrics}))


@contextmanager
def _at_16_khz() -> Iterator[None]:
    """Do not warn of files with fewer samples: these commands have one rate, as EmoNet has."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", ".*converted to 16000 Hz from a lower rate", SkaudioWarning
        )
        yield


def _inside(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in _OUTSIDE}


def _new_classifier(network: str, options: dict, run: Path, verbosity: int) -> AudioClassifier:
    """Make a classifier with all that single-task and multi-task have in common."""
    noise = options["random_noise"]
    callbacks: list[Any] = [HistoryFile(run / "metrics.csv"), EpochLog()]
    if find_spec("tensorboard") is not None:
        callbacks.append(TensorBoardEvents(run / "tensorboard"))
    return AudioClassifier(
        _NETWORKS[network](**_network_parameters(network, options)),
        frontend=_make_frontend(network, options),
        crop=options["window"],
        augmentation=None if noise is None else FeatureNoise(noise),
        loss=_LOSSES[options["loss"]],
        class_weight="balanced" if options["balanced_weights"] else None,
        class_order=options["class_order"] or None,
        optimizer=options["optimizer"],
        lr=options["learning_rate"],
        label_smoothing=0.0,
        weight_decay=0.0,  # the networks penalise what EmoNet does
        clip_norm=None,
        batch_size=options["batch_size"],
        callbacks=callbacks,
        checkpoint_dir=run / CHECKPOINTS,
        n_jobs=options["n_workers"],
        random_state=options["seed"],
        verbose=bar_level(verbosity),
    )


def _network_parameters(network: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Turn options into parameters of the network; those that are not set are left out."""
    parameters: dict[str, Any] = {}
    for option, name in _PARAMETERS[network].items():
        value = options.get(option)
        if value is None:
            continue
        if name == "pooling":
            value = _POOLINGS[value]
        elif name == "adapter_l2":
            value = "size" if value else 1e-6
        elif name == "weights":
            value = str(value)
        elif name == "share_pooling":  # two options of the recurrent network
            value = value or parameters.get(name, False)
        parameters[name] = value
    return parameters


def _make_frontend(network: str, options: Mapping[str, Any]) -> Any:
    """Make EmoNet's features: decibels for pictures and beside them, else natural logarithms."""
    shared = {
        "sample_rate": 16000, "n_fft": 1024, "hop_length": 512, "center": False, "fmin": 20,
        "fmax": 8000, "htk": True, "triangles": "mel", "n_mels": options["num_mels"],
    }  # fmt: skip
    if options.get("num_mfccs") is not None:
        return MFCC(n_mfcc=options["num_mfccs"], mel_norm=None, log="ln", **shared)
    if network in ("vgg16", "fusion"):
        return LogMelSpectrogram(norm=None, log="db", ref="max", amin=1e-6, **shared)
    return LogMelSpectrogram(norm=None, log="ln", **shared)


def _lr_decay(options: dict) -> Any:
    """Let the rate fall faster on small corpora, unless their adapters are penalised instead."""
    if options["optimizer"] != "sgd":
        return 0.0
    return 1e-6 if options.get("individual_weight_decay") else "size"


def _open_start(network: str, options: dict) -> Any:
    """Load the model to start from, and refuse one that its mode cannot start from."""
    file, mode = options["initial_model"], options["mode"]
    model = _open(network, file, options["task"])
    if isinstance(model, MultiCorpusClassifier) and mode in ("finetune", "last-layer"):
        remedy = "" if network == "vgg16" else ", or -m adapters"
        raise ValueError(
            f"{file}: was trained on the corpora {model.corpora_.tolist()}, but {mode} starts from "
            f"the layers of one. Pass one of them as --task{remedy}."
        )
    return model


def _start_from(
    model: AudioClassifier, initial: Any, network: str, options: dict, given: Collection[str]
) -> None:
    """Start a training from the saved model, and take over what the user did not give."""
    # Goes with the decay of the learning rate, which is never taken from the file.
    own = {*given, "individual_weight_decay"}
    described = clone(initial.architecture_.network)
    described.set_params(**_network_parameters(network, _only(options, own)))
    frontend = clone(initial.architecture_.frontend)
    if "num_mels" in given or "num_mfccs" in given:
        frontend = model.frontend
    crop = initial.crop if isinstance(initial, AudioClassifier) else initial.estimator_.crop
    model.set_params(
        network=described,
        frontend=frontend,
        crop=options["window"] if "window" in given else crop,
        pretrained=FrozenEstimator(initial),
    )


def _only(options: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in given}


def _open(network: str, file: Path, task: str) -> Any:
    """Load a model, of several corpora the part of the task if that is among them."""
    model = load(file)
    if not isinstance(model, (AudioClassifier, MultiCorpusClassifier)):
        raise ValueError(
            f"{file}: holds a {type(model).__name__}, but expected a model that `skaudio "
            f"{network}` has trained."
        )
    found, wanted = model.architecture_, _NETWORKS[network]
    if not isinstance(found.network, wanted) or found.frontend is None:
        kinds = {kind.__name__: name for name, kind in _NETWORKS.items()}
        name = type(found.network).__name__
        remedy = f"`skaudio {kinds[name]}`" if name in kinds else "`skaudio evaluate`"
        raise ValueError(
            f"{file}: has the network {name}, but `skaudio {network}` works with "
            f"{wanted.__name__} and features that it computes itself. Try {remedy}."
        )
    if isinstance(model, MultiCorpusClassifier) and task in model.corpora_:
        return model.for_corpus(task)
    return model


def _refuse_contradictions(
    network: str, model: AudioClassifier, file: Path, options: dict, given: Collection[str]
) -> None:
    found = model.architecture_.network.get_params() | {
        "crop": model.crop, "n_mels": model.architecture_.frontend.n_mels,
    }  # fmt: skip
    wanted = _network_parameters(network, _only(options, given))
    wanted |= {
        name: options[option]
        for option, name in (("window", "crop"), ("num_mels", "n_mels"))
        if option in given
    }
    wrong = [
        f"{name} is {value!r} on the command line, {found[name]!r} in the file"
        for name, value in wanted.items()
        if found[name] != value
    ]
    if wrong:
        raise click.UsageError(
            f"-im {file} is another model: {'; '.join(wrong)}. Leave these options out: the file "
            "knows them."
        )


def _join(tables: Mapping[str, pd.DataFrame], base: Path) -> tuple[pd.DataFrame, list[str]]:
    """Put the tables of several corpora below one another, with a column ``corpus``."""
    parts = [
        pd.DataFrame({"file": find_paths(table, base), "corpus": task})
        for task, table in tables.items()
    ]
    labels = [label for table in tables.values() for label in table["label"]]
    return pd.concat(parts, ignore_index=True), labels


def _save(model: Any, run: Path) -> None:
    """Save a model without what concerns its training on this machine alone."""
    local = {"callbacks": None, "checkpoint_dir": None, "n_jobs": None, "verbose": 0}
    for part in (model, *(getattr(model, name, None) for name in ("estimator", "estimator_"))):
        if isinstance(part, AudioClassifier):
            part.set_params(**local)
    save(model, run / _MODEL)


def _predict(
    model: AudioClassifier, table: pd.DataFrame, base: Path
) -> tuple[pd.DataFrame, dict[str, Any]]:
    labels = model.classes_.tolist()
    probability = model.predict_proba(find_paths(table, base))
    predictions = tabulate(table["file"], probability, labels, table["label"])
    truth, answer = table["label"].tolist(), predictions["pred_label"].tolist()
    return predictions, evaluate_labels(truth, answer, labels)


def _evaluate_on(
    model: AudioClassifier, table: pd.DataFrame, base: Path, folder: Path, task: str
) -> dict[str, Any]:
    """Evaluate on the test clips, and write predictions and picture into a folder."""
    predictions, metrics = _predict(model, table, base)
    write_text(folder / "predictions.csv", predictions.to_csv(index=False))
    draw_confusion(folder / "confusion_matrix.png", metrics, task)
    LOG.info(
        "%s: unweighted average recall %.3f, accuracy %.3f on %d test clips",
        task, metrics["unweighted_average_recall"], metrics["accuracy"], metrics["n_clips"],
    )  # fmt: skip
    return metrics


def _in_short(metrics: Mapping[str, Any]) -> dict[str, Any]:
    names = ("n_clips", "unweighted_average_recall", "accuracy")
    return {name: metrics[name] for name in names}
