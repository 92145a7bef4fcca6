"""Errors and warnings that skaudio defines."""

__all__ = [
    "AudioFormatError",
    "DamagedFileError",
    "DivergedError",
    "SampleRateError",
    "SkaudioWarning",
    "StopTraining",
]


class AudioFormatError(ValueError):
    """A clip or a sound file is not what it should be.

    Raised for files that are missing, unreadable, empty or truncated, and for
    clips without samples or of the wrong shape. The message names the clip.
    """


class SampleRateError(AudioFormatError):
    """A clip has another sample rate than the one expected."""


class DamagedFileError(ValueError):
    """A file that skaudio wrote, as a checkpoint, is not what was written."""


class SkaudioWarning(UserWarning):
    """Something works but is probably not what was meant."""


class DivergedError(ArithmeticError):
    """The training loss became NaN or infinite.

    The estimator that raises it is fitted with the best weights from before.
    """


class StopTraining(Exception):  # noqa: N818 - nothing is wrong when a training ends
    """Raised by a callback at an epoch's end to end the training there."""
