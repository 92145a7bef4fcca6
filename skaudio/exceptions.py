"""Errors and warnings that skaudio defines."""

from __future__ import annotations

import inspect
import warnings

__all__ = [
    "AudioFormatError",
    "DamagedFileError",
    "DivergedError",
    "FileVersionError",
    "SampleRateError",
    "SkaudioWarning",
    "StopTraining",
    "UntrustedFileError",
    "warn",
]


class AudioFormatError(ValueError):
    """A clip or a sound file is not what it should be.

    Raised for files that are missing, unreadable, empty or truncated, and for
    clips without samples or of the wrong shape. The message names the clip.
    """


class SampleRateError(AudioFormatError):
    """A clip has another sample rate than the one expected."""


class DamagedFileError(ValueError):
    """A file is not what skaudio wrote: torn, changed, or written by another program.

    Raised for saved models, checkpoints and cached features.
    """


class FileVersionError(ValueError):
    """A saved model has a format that this version of skaudio does not read."""


class UntrustedFileError(ValueError):
    """A saved model names classes or functions that nobody has declared safe.

    The message lists them. Pass those that you know as ``trusted`` of :func:`skaudio.load`.
    """


class SkaudioWarning(UserWarning):
    """Something works but is probably not what was meant."""


# Code between a user's line and ours: estimators are called by pipelines, searches and decorators.
_LIBRARIES = {"skaudio", "sklearn", "skorch", "joblib", "torch", "contextlib", "functools"}


def warn(message: str) -> None:
    """Warn of something, as of the line of the user's own code that led to it."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_back is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] not in _LIBRARIES:
            break
        frame, level = frame.f_back, level + 1
    warnings.warn(message, SkaudioWarning, stacklevel=level)


class DivergedError(ArithmeticError):
    """The training loss became NaN or infinite.

    The estimator that raises it is fitted with the best weights from before.
    """


class StopTraining(Exception):  # noqa: N818 - nothing is wrong when a training ends
    """Raised by a callback at an epoch's end to end the training there."""
