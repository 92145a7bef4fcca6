"""Errors and warnings that skaudio defines."""

__all__ = [
    "AudioFormatError",
    "DamagedFileError",
    "DivergedError",
    "FileVersionError",
    "SampleRateError",
    "SkaudioWarning",
    "StopTraining",
    "UntrustedFileError",
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


class DivergedError(ArithmeticError):
    """The training loss became NaN or infinite.

    The estimator that raises it is fitted with the best weights from before.
    """


class StopTraining(Exception):  # noqa: N818 - nothing is wrong when a training ends
    """Raised by a callback at an epoch's end to end the training there."""
