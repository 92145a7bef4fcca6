"""The command ``skaudio``: its commands, what it says, and how it ends."""

from __future__ import annotations

import logging
import re
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import click

from skaudio.cli.everyday import EVERYDAY
from skaudio.cli.networks import NETWORKS
from skaudio.cli.options import GroupedGroup
from skaudio.cli.reporting import EPOCHS, LOG

__all__ = ["main"]

_FAILED, _INTERRUPTED = 1, 130

_ENGLISH = frozenset(["crop", "loss", "mode", "pooling", "weights"])


@dataclass
class _State:
    """What the end of the program has to know of the command that was run.

    Parameters
    ----------
    verbosity : int
    words : dict of str to str
        Which option of the command sets a parameter of the library.
    """

    verbosity: int = 0
    words: dict[str, str] = field(default_factory=dict)


def _tell_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        click.echo(f"skaudio {sys.modules[__name__.partition('.')[0]].__version__}")
        context.exit()


@click.group(cls=GroupedGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-v", "--verbose", count=True, help="A line per epoch; -vv: tracebacks, too.")
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_tell_version,
    help="Show the version and exit.",
)
@click.pass_context
def _program(context: click.Context, verbose: int) -> None:
    """Recognise what is in a sound: emotions, words, a dog's bark.

    Results go to standard output, progress and messages to standard error. The exit status is 0,
    1 after a failure, 2 after a mistake on the command line, 130 after an interrupt.
    """
    context.obj.verbosity = verbose


for _command in EVERYDAY:
    _program.add_command(_command)
for _command in NETWORKS:
    _program.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command ``skaudio``.

    Parameters
    ----------
    arguments : sequence of str, optional
        What stands behind the command's name; by default those of the process.

    Returns
    -------
    int
        Exit status: 0, or 1 after a failure, 2 after a mistake on the command line, 130 after an
        interrupt.

    See Also
    --------
    skaudio.AudioClassifier : The same from Python.
    skaudio.MultiCorpusClassifier : The same for several corpora.

    Examples
    --------
    >>> from skaudio.cli import main
    >>> status = main(["--version"])  # doctest: +ELLIPSIS
    skaudio ...
    """
    state = _State()
    with _messages(state):
        try:
            return _run(arguments, state)
        except click.ClickException as error:
            error.show()
            return error.exit_code
        except (click.Abort, KeyboardInterrupt):
            LOG.error("Interrupted.")
            return _INTERRUPTED
        except Exception as error:
            if state.verbosity > 1:
                traceback.print_exc()
            LOG.error("Error: %s", _in_words(error, state.words))
            return _FAILED


def _run(arguments: Sequence[str] | None, state: _State) -> int:
    # Not in click's standalone mode, which ends an interrupt with status 1, like a failure.
    args = None if arguments is None else list(arguments)
    status = _program.main(args, prog_name="skaudio", standalone_mode=False, obj=state)
    return status if isinstance(status, int) else 0


def _in_words(error: Exception, words: dict[str, str]) -> str:
    """Tell an error, and which options set the parameters that it names."""
    message = str(error) or type(error).__name__
    named = [name for name in words if re.search(_pattern(name), message)]
    if not named:
        return message
    options = ", ".join(f"{name} is {words[name]}" for name in named)
    return f"{message} (On the command line: {options}.)"


def _pattern(parameter: str) -> str:
    # Of an English word only "loss=...", "loss: got ..." and "loss is ..." name the parameter.
    end = r"(=|:| is\b)" if parameter in _ENGLISH else r"\b"
    return rf"(\b|__){parameter}{end}"


@contextmanager
def _messages(state: _State) -> Iterator[None]:
    """Send messages and warnings to standard error while the program runs."""
    handler = _StandardError()
    handler.addFilter(lambda record: state.verbosity > 0 or record.name != EPOCHS)
    root = logging.getLogger("skaudio")
    level, propagate = root.level, root.propagate
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    root.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)  # an assignment would not reset what loggers remember of it
        root.propagate = propagate


def _show_warning(message: Warning | str, *args: Any, **kwargs: Any) -> None:
    LOG.warning("Warning: %s", message)


class _StandardError(logging.Handler):
    """Write messages to standard error, above progress bars if there are any."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)
