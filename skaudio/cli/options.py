"""Options of commands: with a heading in the help, and with several values behind one flag."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import click

__all__ = ["GroupedCommand", "GroupedGroup", "GroupedOption", "given_options"]

_NEGATIVE_NUMBER = re.compile(r"-\d")


class GroupedOption(click.Option):
    """Option that stands under a heading in the help.

    Parameters
    ----------
    *names, **attributes
        As of :class:`click.Option`.
    heading : str
    many : bool, default=False
        Whether the flag takes all values that follow: ``-t A B`` is ``-t A -t B``.
    """

    def __init__(
        self, names: Sequence[str], *, heading: str, many: bool = False, **attributes: Any
    ) -> None:
        super().__init__(names, multiple=many, **attributes)
        self.heading = heading
        self.many = many

    def make_metavar(self, *args: Any, **kwargs: Any) -> str:
        """Show by dots that more may follow."""
        metavar = super().make_metavar(*args, **kwargs)
        return f"{metavar}..." if self.many else metavar


class GroupedCommand(click.Command):
    """Command whose help has a heading for each kind of option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, with a flag put before each of several values."""
        return super().parse_args(ctx, list(self._repeat_flags(args)))

    def _repeat_flags(self, args: Sequence[str]) -> Iterator[str]:
        many = {
            name for parameter in self.params if getattr(parameter, "many", False)
            for name in parameter.opts
        }  # fmt: skip
        flag, is_first = None, False
        for argument in args:
            if argument.startswith("-") and not _NEGATIVE_NUMBER.match(argument):
                flag, is_first = (argument if argument in many else None), True
            elif flag is not None:
                if not is_first:
                    yield flag
                is_first = False
            yield argument

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings."""
        _write(formatter, [
            (getattr(parameter, "heading", "Other"), parameter.get_help_record(ctx))
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option)
        ])  # fmt: skip


class GroupedGroup(click.Group):
    """Group whose help lists its commands under their ``heading``."""

    command_class = GroupedCommand

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under their headings."""
        _write(formatter, [
            (getattr(command, "heading", "Commands"), (name, command.get_short_help_str(70)))
            for name, command in self.commands.items()
        ])  # fmt: skip

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which they were added."""
        return list(self.commands)


def _write(
    formatter: click.HelpFormatter, records: Sequence[tuple[str, tuple[str, str] | None]]
) -> None:
    by_heading: dict[str, list[tuple[str, str]]] = {}
    for heading, record in records:
        if record is not None:
            by_heading.setdefault(heading, []).append(record)
    for heading, lines in by_heading.items():
        with formatter.section(heading):
            formatter.write_dl(lines)


def given_options(context: click.Context) -> set[str]:
    """Name the options that the user gave, those left at their defaults not among them."""
    command_line = click.core.ParameterSource.COMMANDLINE
    return {name for name in context.params if context.get_parameter_source(name) is command_line}
