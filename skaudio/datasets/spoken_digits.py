"""Loading of the spoken digits that come with the package.

Twelve synthetic voices say the English digits at three tempi; ``data/spoken_digits.md`` is the
datasheet. All clips lie in one FLAC file, and a table says where each of them starts.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch

from skaudio.audio import read

__all__ = ["load_spoken_digits"]

_DATA = files("skaudio.datasets") / "data"
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def load_spoken_digits(*, return_X_y: bool = False, as_frame: bool = False) -> Any:
    """Load the bundled spoken digits: 720 clips, 12 voices, 3 tempi, 8 kHz.

    The corpus is made with espeak-ng, comes with the package and needs no download. Hold out
    whole voices (``groups=clips.speaker``) to measure how well a model recognises voices that it
    was not trained on.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        Return the entries that have one value per clip as pandas Series, and all of them
        together as the DataFrame ``frame``.

    Returns
    -------
    clips : Bunch
        data : list of ndarray of shape (n_samples,), float32
            Waveforms in [-1, 1], 0.2 to 1.1 s long.
        target : ndarray of shape (720,), str
            The digit as a word, ``"zero"`` to ``"nine"``.
        speaker : ndarray of shape (720,), str
            Name of the voice.
        tempo : ndarray of shape (720,), str
            ``"slow"``, ``"normal"`` or ``"fast"``.
        target_names : list of str
            The ten words in the order of counting.
        sample_rate : int
            8000, in Hz.
        frame : DataFrame with the columns waveform, digit, speaker, tempo
            With ``as_frame=True``, else None.
        DESCR : str
            The datasheet.
    (data, target) : tuple
        With ``return_X_y=True``.

    See Also
    --------
    make_chirps, make_tones : Synthetic sounds, of any number and length.

    Examples
    --------
    >>> from skaudio.datasets import load_spoken_digits
    >>> clips = load_spoken_digits()
    >>> len(clips.data), clips.sample_rate
    (720, 8000)
    >>> clips.target_names[:3]
    ['zero', 'one', 'two']
    """
    with as_file(_DATA / "spoken_digits.flac") as path:
        sound, sample_rate = read(path)
    with (_DATA / "spoken_digits.csv").open() as file:
        table = pd.read_csv(file)
    waveforms = np.split(sound, table["start"].to_numpy()[1:])
    clips = Bunch(
        data=waveforms,
        target=_words(table["digit"]),
        speaker=_words(table["speaker"]),
        tempo=_words(table["tempo"]),
        target_names=list(_DIGITS),
        sample_rate=sample_rate,
        frame=None,
        DESCR=(_DATA / "spoken_digits.md").read_text(encoding="utf-8"),
    )
    if as_frame:
        _turn_to_pandas(clips)
    return (clips.data, clips.target) if return_X_y else clips


def _words(column: pd.Series) -> NDArray[np.str_]:
    return np.asarray(column.tolist(), dtype=str)


def _turn_to_pandas(clips: Bunch) -> None:
    names = {"data": "waveform", "target": "digit", "speaker": "speaker", "tempo": "tempo"}
    clips.frame = pd.DataFrame({column: clips[key] for key, column in names.items()})
    for key, column in names.items():
        clips[key] = clips.frame[column]
