"""Commands for everybody: fit, predict, evaluate and info."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from skaudio.cli.options import GroupedCommand, GroupedOption, given_options

__all__ = ["EVERYDAY"]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

_CLASSES = {
    "mts": "MTSNet", "diffres": "DiffResNet", "separable": "SeparableNet", "cnn": "AdapterResNet",
    "rnn": "AdapterRNN", "vgg16": "VGG16Net", "fusion": "FusionNet",
}  # fmt: skip

_DATA_PATH = GroupedOption(
    ["--data-path"],
    heading="Data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that relative paths start from.  [default: that of TABLE]",
)
_CORPUS = GroupedOption(
    ["--corpus"],
    heading="Data",
    metavar="NAME",
    help="Corpus of the clips, for a model of several.",
)


# Options of "fit" that only the training of a network has.
_OF_NETWORKS = ("network", "groups", "sample_rate", "crop", "augmentation", "epochs", "balanced")


def _command(name: str, *options: click.Parameter) -> Any:
    def decorate(function: Any) -> click.Command:
        command = GroupedCommand(
            name, callback=click.pass_context(function), params=list(options), help=function.__doc__
        )
        command.heading = "For everybody"  # type: ignore[attr-defined]
        return command

    return decorate


def _training(name: str, text: str, **attributes: Any) -> GroupedOption:
    return GroupedOption([name], heading="Training", help=text, show_default=True, **attributes)


@_command(
    "fit",
    click.Argument(["table"], type=_FILE),
    GroupedOption(
        ["-o", "--output"],
        heading="Data",
        type=click.Path(dir_okay=False, path_type=Path),
        required=True,
        metavar="MODEL",
        help="File for the model, such as voices.skaudio.",
    ),
    _DATA_PATH,
    GroupedOption(
        ["--groups"],
        heading="Data",
        metavar="COLUMN",
        help="Column of TABLE, such as speaker. Some of these groups are held back to tell when "
        "to stop, and which epoch is best.",
    ),
    _training("--pipeline", "Train audio_pipeline for voices or for other sounds instead of a "
              "network. With up to some thousand clips the first thing to try.",
              type=click.Choice(["voice", "sound"])),
    _training("--network", "The network to train.", type=click.Choice(list(_CLASSES)),
              default="mts"),
    _training("--sample-rate", "Hz that files are converted to.", type=click.IntRange(1000),
              default=16000),
    _training("--crop", "Seconds of each clip to look at, drawn at random in training.",
              type=click.FloatRange(min=0, min_open=True)),
    _training("--augmentation", "Change the clips at random in training, as suits voices or other "
              "sounds.", type=click.Choice(["voice", "sound"])),
    _training("--epochs", "Epochs, at the most.  [default: those of 2000 steps, 10 to 150]",
              type=click.IntRange(min=1)),
    _training("--balanced", "Let all classes count the same.", is_flag=True),
    _training("--seed", "The same seed gives the same model.", type=click.IntRange(min=0),
              default=0),
    _training("--n-jobs", "Threads that read files ahead.", type=click.IntRange(min=1),
              default=2),
)  # fmt: skip
def _fit(context: click.Context, **options: Any) -> None:
    """Train a model on the files in a table.

    TABLE is a CSV file with the columns file and label.
    """
    from skaudio.cli import models
    from skaudio.cli.results import to_json

    superfluous = [name for name in _OF_NETWORKS if name in given_options(context)]
    if options["pipeline"] is not None and superfluous:
        flag = f"--{superfluous[0].replace('_', '-')}"
        raise click.UsageError(f"{flag} is for networks. Leave it out, or --pipeline.")
    context.obj.words = {"early_stopping": "--groups", "max_epochs": "--epochs"}
    told = models.fit(options, _CLASSES[options["network"]], context.obj.verbosity)
    click.echo(to_json({"model": str(options["output"]), **told}))


@_command(
    "predict",
    click.Argument(["model"], type=_FILE),
    click.Argument(["files"], nargs=-1, required=True, type=click.Path(path_type=Path)),
    _CORPUS,
)
def _predict(context: click.Context, model: Path, files: tuple[Path, ...], corpus: str) -> None:
    """Recognise what is in files, by a saved model; prints CSV."""
    from skaudio.cli import models

    click.echo(models.predict(model, files, corpus).to_csv(index=False), nl=False)


@_command(
    "evaluate",
    click.Argument(["model"], type=_FILE),
    click.Argument(["table"], type=_FILE),
    _DATA_PATH,
    _CORPUS,
    GroupedOption(
        ["--predictions"],
        heading="Output",
        type=click.Path(dir_okay=False, path_type=Path),
        help="CSV file for the prediction of each clip.",
    ),
)
def _evaluate(context: click.Context, model: Path, **options: Any) -> None:
    """Evaluate a saved model on a table; prints JSON.

    TABLE is a CSV file with the columns file and label.
    """
    from skaudio.cli import models
    from skaudio.cli.results import to_json

    click.echo(to_json(models.evaluate(model, options)))


@_command("info", click.Argument(["file"], metavar="MODEL|FILE", type=_FILE))
def _info(context: click.Context, file: Path) -> None:
    """Describe a saved model or a sound file; prints JSON."""
    from skaudio.cli.results import to_json

    with file.open("rb") as opened:
        is_model = opened.read(2) == b"PK"  # a zip archive, which no sound file is
    if is_model:
        from skaudio.persistence import describe

        told = describe(file)
    else:
        from skaudio.audio import probe

        found = probe(file)
        told = {
            "sample_rate": found.sample_rate,
            "n_channels": found.n_channels,
            "n_samples": found.n_samples,
            "seconds": round(found.n_samples / found.sample_rate, 6),
        }
    click.echo(to_json(told))


EVERYDAY = (_fit, _predict, _evaluate, _info)
"""The commands."""
