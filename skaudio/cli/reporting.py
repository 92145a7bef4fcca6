"""Loggers of the command, and progress bars only where somebody looks at them."""

from __future__ import annotations

import logging
import sys

__all__ = ["EPOCHS", "LOG", "bar_level"]

EPOCHS = "skaudio.epochs"
"""Logger of lines per epoch, which appear with ``-v``; log files always have them."""

LOG = logging.getLogger("skaudio.cli")


def bar_level(verbosity: int) -> int:
    """Return an estimator's `verbose`: bars on a terminal, unless there are lines instead."""
    return int(verbosity == 0 and sys.stderr.isatty())
