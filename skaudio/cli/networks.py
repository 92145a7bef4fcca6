"""The commands of EmoNet: single-task, multi-task and evaluate, for each of four networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from skaudio.cli.options import GroupedCommand, GroupedGroup, GroupedOption, given_options
from skaudio.cli.reporting import LOG

__all__ = ["NETWORKS", "PARTS"]

PARTS = ("train.csv", "val.csv", "test.csv")
"""Tables of a corpus in multi-task."""

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_NEW_FILE = click.Path(dir_okay=False, path_type=Path)
_NEW_FOLDER = click.Path(file_okay=False, path_type=Path)
_COUNT = click.IntRange(min=1)
_SHARE = click.FloatRange(0, 1, max_open=True)

_TASKS = {"s": "single-task", "m": "multi-task", "e": "evaluate"}
_MODES = ["scratch", "adapters", "last-layer", "finetune"]

# Headings of the help, in its order.
_DATA, _OUTPUT, _FEATURES, _NETWORK, _TRAINING = (
    "Data", "Output", "Features", "Network", "Training",
)  # fmt: skip

# Which option sets a parameter of the library, for errors that name the parameter.
_WORDS = {
    "pooling": "-c (FCNAttention takes clips of any length; -w cuts and pads them to one)",
    "crop": "-w", "class_order": "--class-order", "mode": "-m",
    "pretrained": "-im", "weights": "--weights", "freeze_up_to": "-ft", "loss": "-l", "lr": "-lr",
    "n_mels": "-nm", "n_mfcc": "-mfcc", "n_filters": "-nf", "widen_factor": "-wf",
    "n_blocks": "-N", "n_hidden": "-hd", "n_layers": "-nl", "down_pool": "--down-pool",
}  # fmt: skip


@dataclass(frozen=True)
class _Row:
    """An option, and where there is one: c cnn, r rnn, v vgg16, f fusion; s, m, e the commands."""

    networks: str
    commands: str
    names: tuple[str, ...]
    heading: str
    help: str
    attributes: dict[str, Any]

    def make(self) -> GroupedOption:
        return GroupedOption(self.names, heading=self.heading, help=self.help, **self.attributes)


def _row(where: str, names: str, heading: str, text: str, **attributes: Any) -> _Row:
    networks, commands = where.split()
    if "default" in attributes:
        attributes["show_default"] = True
    return _Row(networks, commands, tuple(names.split()), heading, text, attributes)


def _flag(where: str, names: str, heading: str, text: str) -> _Row:
    return _row(where, names, heading, text, is_flag=True)


# Options of `evaluate` have no defaults where the file says what holds.
_ROWS = (
    _row("crvf sme", "-dp --data-path", _DATA, "Folder that paths in CSV files start from.",
         type=_FOLDER, required=True),
    _row("crvf se", "-t --task", _DATA, "Name of the corpus.", required=True),
    _row("crvf m", "-t --tasks", _DATA, "Names of the corpora, each a folder in -mts.",
         required=True, many=True, metavar="NAME"),
    _row("crvf m", "-mts --multi-task-setup", _DATA,
         "Folder with train.csv, val.csv and test.csv of each corpus.", type=_FOLDER,
         required=True),
    _row("crvf s", "-tr --train-csv", _DATA,
         "Clips to train on: CSV with the columns file and label.", type=_FILE, required=True),
    _row("crvf s", "-v --val-csv", _DATA, "Clips that choose the best epoch.", type=_FILE,
         required=True),
    _row("crvf e", "-v --val-csv", _DATA, "Clips to evaluate on.", type=_FILE, required=True),
    _row("crvf s", "-te --test-csv", _DATA, "Clips to evaluate the result on.", type=_FILE,
         required=True),
    _row("crvf s", "-im --initial-model", _DATA,
         "Saved model to start from. What is not given on the command line is then as in it.",
         type=_FILE),
    _row("crvf e", "-im --initial-model", _DATA, "Saved model to evaluate.", type=_FILE,
         required=True),
    _row("crvf sm", "-nw --n-workers", _DATA, "Threads that read files ahead.", type=_COUNT,
         default=5),
    _row("crvf e", "-po --predictions-output", _OUTPUT, "CSV file for the predictions.",
         type=_NEW_FILE, required=True),
    _row("crvf sm", "-ebp --experiment-base-path", _OUTPUT, "Folder for the folders of all runs.",
         type=_NEW_FOLDER, default=Path("./residual-adapters")),
    _row("crvf sm", "-nm --num-mels", _FEATURES, "Mel bands.", type=_COUNT, default=128),
    _row("crvf e", "-nm --num-mels", _FEATURES, "Mel bands.", type=_COUNT),
    _row("r sm", "-mfcc --num-mfccs", _FEATURES,
         "Cepstral coefficients instead of log-mel bands.", type=_COUNT),
    _row("crvf sme", "-w --window", _FEATURES,
         "Seconds of each clip: drawn at random in training, the centre elsewhere. Without it "
         "whole clips.", type=click.FloatRange(min=0, min_open=True)),
    _row("crvf sm", "-rn --random-noise", _FEATURES,
         "Variance of noise that is added to training spectrograms.",
         type=click.FloatRange(min=0)),
    _row("cf sm", "-N --number-of-resnet-blocks", _NETWORK, "Blocks in each of three stages.",
         type=_COUNT, default=2),
    _row("c e", "-N --number-of-resnet-blocks", _NETWORK, "Blocks in each of three stages.",
         type=_COUNT),
    _row("cf sm", "-nf --number-of-filters", _NETWORK, "Channels of the first convolution.",
         type=_COUNT, default=32),
    _row("c e", "-nf --number-of-filters", _NETWORK, "Channels of the first convolution.",
         type=_COUNT),
    _row("cf sm", "-wf --widen-factor", _NETWORK, "Multiplies all channels.", type=_COUNT,
         default=1),
    _row("c e", "-wf --widen-factor", _NETWORK, "Multiplies all channels.", type=_COUNT),
    _row("cv sm", "-c --classifier", _NETWORK,
         "How the last map becomes a vector: averages, attention, or recurrent layers.",
         type=click.Choice(["avgpool", "FCNAttention", "rnn"]), default="avgpool"),
    _row("c e", "-c --classifier", _NETWORK, "How the last map becomes a vector.",
         type=click.Choice(["avgpool", "FCNAttention", "rnn"])),
    _row("rf sm", "-hd --hidden-dim", _NETWORK, "Size of the recurrent state.", type=_COUNT,
         default=512),
    _row("rf sm", "-nl --number-of-layers", _NETWORK, "Recurrent layers.", type=_COUNT, default=2),
    _row("rf sm", "-ct --cell-type", _NETWORK, "Kind of the recurrent layers.",
         type=click.Choice(["lstm", "gru"]), default="lstm"),
    _row("rf sm", "--bidirectional/--unidirectional", _NETWORK,
         "Whether recurrent layers read backwards as well.", default=False),
    _row("r sm", "--down-pool", _NETWORK, "Frames that are averaged to one.", type=_COUNT,
         default=8),
    _row("f sm", "--down-pool", _NETWORK,
         "Frames that are averaged to one before the recurrent layers.", type=_COUNT, default=1),
    _flag("r sm", "-ip --input-projection", _NETWORK, "A linear map of the bands comes first."),
    _flag("r sm", "-ua --use-attention", _NETWORK, "Self-attention between recurrent layers."),
    _flag("r sm", "-sa --share-attention", _NETWORK,
          "One attention for all corpora; the same as -sfl here."),
    _flag("crvf sme", "-sfl --share-feature-layer", _NETWORK,
          "One attention or pooling of frames for all corpora."),
    _flag("crf sm", "-ib --input-bn", _NETWORK, "Normalise the features first."),
    _flag("c e", "-ib --input-bn", _NETWORK, "Normalise the features first."),
    _row("cf sm", "-do --dropout", _NETWORK,
         "Dropout before the first and the second convolution of a block.", type=_SHARE, nargs=2,
         default=(0.0, 0.5)),
    _row("rv sm", "-do --dropout", _NETWORK, "Dropout before each recurrent layer.", type=_SHARE,
         default=0.2),
    _row("cf sm", "-rd --rnn-dropout --recurrent-dropout", _NETWORK,
         "Dropout before each recurrent layer.", type=_SHARE, default=0.2),
    _row("v sm", "--weights", _NETWORK,
         "File with ImageNet's weights, as torchvision names them. Without it all layers begin at "
         "random, and train.", type=_FILE),
    _row("v s", "-ft --freeze-up-to", _NETWORK,
         "Layers that keep --weights; without it all of them.", type=click.IntRange(0, 19)),
    _row("crf s", "-m --mode", _TRAINING,
         "What is trained, and whether it starts from -im.  [default: scratch, without -im]",
         type=click.Choice(_MODES)),
    _row("crf e", "-m --mode", _TRAINING, "Taken for the original's sake, and ignored.",
         type=click.Choice(_MODES)),
    _row("crvf sme", "-bs --batch-size", _TRAINING, "Clips in a batch.", type=_COUNT, default=64),
    _row("crvf s", "-e --epochs", _TRAINING, "Epochs at the most.", type=_COUNT, default=1000),
    _row("crvf m", "-e --epochs", _TRAINING, "Epochs at each of three learning rates.",
         type=_COUNT, default=50),
    _row("crvf s", "-p --patience", _TRAINING,
         "Epochs without a recall that is better by more than 0.005 before the next learning "
         "rate.", type=_COUNT, default=20),
    _row("crvf m", "-spe --steps-per-epoch", _TRAINING, "Batches of each corpus in an epoch.",
         type=_COUNT, default=20),
    _row("crvf sm", "-lr --learning-rate", _TRAINING,
         "The first of three learning rates, each a tenth of the one before.",
         type=click.FloatRange(0, 1, min_open=True), default=0.1),
    _row("crvf sm", "-o --optimizer", _TRAINING, "Optimiser; sgd has momentum 0.9.",
         type=click.Choice(["sgd", "rmsprop", "adam", "adadelta"]), default="sgd"),
    _row("crvf sm", "-l --loss", _TRAINING, "Training loss.",
         type=click.Choice(["crossentropy", "focal", "ordinal"]), default="crossentropy"),
    _row("crvf sm", "--class-order", _TRAINING,
         "All labels from the lowest to the highest, for the ordinal loss.", many=True,
         metavar="LABEL"),
    _flag("crvf sm", "-bw --balanced-weights", _TRAINING, "Let all classes count the same."),
    _flag("c sm", "-iwd --individual-weight-decay", _TRAINING,
          "Adapters of small corpora get a larger penalty, instead of a learning rate that falls "
          "faster."),
    _row("crvf sm", "--seed", _TRAINING, "The same seed gives the same result.",
         type=click.IntRange(min=0), default=0),
)  # fmt: skip


def _options(network: str, command: str) -> list[GroupedOption]:
    rows = [row for row in _ROWS if network in row.networks and command in row.commands]
    headings = [_DATA, _OUTPUT, _FEATURES, _NETWORK, _TRAINING]
    return [row.make() for row in sorted(rows, key=lambda row: headings.index(row.heading))]


def _make_group(name: str, text: str) -> click.Group:
    group = GroupedGroup(name, help=text)
    group.heading = "Networks of EmoNet, with its commands"  # type: ignore[attr-defined]
    run = {"s": _single_task, "m": _multi_task, "e": _evaluate}
    texts = {
        "s": "Train on one corpus, from scratch or from a saved model.",
        "m": "Train one network on several corpora together.",
        "e": "Evaluate a saved model; prints JSON.",
    }
    for letter, command in _TASKS.items():
        group.add_command(
            GroupedCommand(
                command,
                callback=_with_context(name, run[letter]),
                params=list(_options(name[0], letter)),
                help=texts[letter],
            )
        )
    return group


def _with_context(network: str, run: Callable) -> Callable:
    """Hand a command its network, its options, and which of them were given."""

    @click.pass_context
    def callback(context: click.Context, **options: Any) -> None:
        flags = {flag for parameter in context.command.params for flag in parameter.opts}
        context.obj.words = {
            name: option for name, option in _WORDS.items() if option.split()[0] in flags
        }
        run(network, options, given_options(context), context.obj.verbosity)

    return callback


def _single_task(network: str, options: dict, given: set[str], verbosity: int) -> None:
    _check_name("-t", options["task"])
    options["mode"] = _resolve_mode(network, options)
    _check_options(network, options, given)

    from skaudio.cli import experiments

    experiments.train_on_one(network, options, given, verbosity)


def _multi_task(network: str, options: dict, given: set[str], verbosity: int) -> None:
    setup = options["multi_task_setup"]
    for task in options["tasks"]:
        _check_name("-t", task)
        missing = [part for part in PARTS if not (setup / task / part).is_file()]
        if missing:
            raise click.BadParameter(
                f"{setup / task} has no {', '.join(missing)}, but expected a folder with "
                f"{', '.join(PARTS)}. Folders in {setup} are: {_list_folders(setup)}.",
                param_hint="-t",
            )
    if len(set(options["tasks"])) < len(options["tasks"]):
        raise click.BadParameter("a corpus is named twice. Name each once.", param_hint="-t")
    _check_options(network, options, given)

    from skaudio.cli import experiments

    experiments.train_on_many(network, options, verbosity)


def _evaluate(network: str, options: dict, given: set[str], verbosity: int) -> None:
    from skaudio.cli import experiments

    experiments.evaluate(network, options, given)


def _resolve_mode(network: str, options: dict) -> str:
    start, mode = options["initial_model"], options.get("mode")
    if network == "vgg16":
        return "scratch" if start is None else "finetune"
    if mode is None and start is not None:
        raise click.UsageError(
            f"-im {start} needs -m, which says what is trained: {', '.join(_MODES[1:])}."
        )
    if mode not in (None, "scratch") and start is None:
        raise click.UsageError(
            f"-m {mode} starts from a trained network: pass the file of a saved model as -im, or "
            "leave -m out to train from scratch."
        )
    return mode or "scratch"


def _check_options(network: str, options: dict, given: set[str]) -> None:
    """Refuse options that would do nothing; of those that the original took, warn."""
    if options["class_order"] and options["loss"] != "ordinal":
        raise click.UsageError("--class-order is for -l ordinal only. Add that, or leave it out.")
    if options.get("freeze_up_to") is not None and options["weights"] is None:
        raise click.UsageError(
            "-ft is for --weights only: random layers would stay random. Add --weights, or leave "
            "-ft out."
        )
    if options.get("freeze_up_to") is not None and options["initial_model"] is not None:
        raise click.UsageError(
            "-ft is for a training from --weights: with -im all layers are trained further. Leave "
            "one of the two out."
        )
    dropout = {"cnn": "rnn_dropout", "vgg16": "dropout"}.get(network)
    if dropout in given and options["classifier"] != "rnn" and options.get("initial_model") is None:
        flag = {"cnn": "-rd", "vgg16": "-do"}[network]
        LOG.warning(
            "Warning: %s is for the recurrent layers of -c rnn, and does nothing, as -c is %s.",
            flag, options["classifier"],
        )  # fmt: skip


def _check_name(flag: str, name: str) -> None:
    if name in ("", "..") or Path(name).name != name:
        raise click.BadParameter(
            f"{name!r} is to name a folder, so that it cannot be empty, dots, or hold a slash.",
            param_hint=flag,
        )


def _list_folders(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    return ", ".join(names) or "none"


NETWORKS = (
    _make_group("cnn", "Residual network, with adapters for each corpus."),
    _make_group("rnn", "Recurrent network, with adapters for each corpus."),
    _make_group("vgg16", "The convolutions of VGG16."),
    _make_group("fusion", "Residual and recurrent network side by side, with adapters."),
)
"""A command group for each network of EmoNet."""
