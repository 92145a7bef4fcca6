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

    See Also
    --------
    SampleRateError : The case of a wrong sample rate.
    skaudio.AudioLoader : Reads files, and can report all bad ones at once.
    """


class SampleRateError(AudioFormatError):
    """A clip has another sample rate than the one expected.

    See Also
    --------
    AudioFormatError : Whatever else can be wrong with a clip.
    skaudio.audio.Waveform : An array of samples that remembers its rate.
    """


class DamagedFileError(ValueError):
    """A file is not what skaudio wrote: torn, changed, or written by another program.

    Raised for saved models, checkpoints and cached features.

    See Also
    --------
    FileVersionError : The file is whole, but of another format.
    AudioFormatError : The same for sound files.
    """


class FileVersionError(ValueError):
    """A saved model has a format that this version of skaudio does not read.

    See Also
    --------
    skaudio.load : Loads a model.
    """


class UntrustedFileError(ValueError):
    """A saved model names classes or functions that nobody has declared safe.

    The message lists them. Pass those that you know as ``trusted`` of :func:`skaudio.load`.

    See Also
    --------
    skaudio.load : Loads a model.
    """


class SkaudioWarning(UserWarning):
    """Something works but is probably not what was meant.

    See Also
    --------
    warn : Warn of it.
    """


# Code between a user's line and ours: estimators are called by pipelines, searches and decorators.
_LIBRARIES = {"skaudio", "sklearn", "skorch", "joblib", "torch", "contextlib", "functools"}


def warn(message: str) -> None:
    """Warn of something, as of the line of the user's own code that led to it.

    Parameters
    ----------
    message : str

    Warns
    -----
    SkaudioWarning

    See Also
    --------
    SkaudioWarning : The kind of warning.
    """
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_back is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] not in _LIBRARIES:
            break
        frame, level = frame.f_back, level + 1
    warnings.warn(message, SkaudioWarning, stacklevel=level)


class DivergedError(ArithmeticError):
    """The training loss became NaN or infinite.

    The estimator that raises it is fitted with the best weights from before.

    See Also
    --------
    StopTraining : Ends a training of which nothing is wrong.
    """


class StopTraining(Exception):  # noqa: N818 - nothing is wrong when a training ends
    """Raised by a callback at an epoch's end to end the training there.

    See Also
    --------
    DivergedError : Ends a training that has gone wrong.
    """
