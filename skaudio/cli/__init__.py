"""The command ``skaudio``."""

from skaudio.cli.program import main

__all__ = ["main"]
