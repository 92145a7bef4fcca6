"""Features that are computed once and kept on disk."""

from __future__ import annotations

import os
import warnings
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skaudio._validation import Clips, HasMethods, check_params, check_paths, holds_paths
from skaudio.exceptions import AudioFormatError, SkaudioWarning
from skaudio.features._base import ClipTransformer
from skaudio.features._cache_steps import (
    check_stateless,
    fit_to_files,
    flatten,
    last,
    loaders,
    run,
)
from skaudio.features._cache_work import Files, gather, produce, read_all, tasks
from skaudio.features._fingerprint import file_key, steps_key
from skaudio.features._store import Entry, Store

__all__ = ["FeatureCache"]

# Computed by one call of the steps, and lost together in a crash.
_TASK_FILES = 16


class FeatureCache(ClipTransformer):
    """Compute the features of each sound file once, and read them from disk ever after.

    Put it at the front of a pipeline, around the steps from paths to features. Folds, grid
    points, processes and later runs then share the features; only what follows is repeated.

    Parameters
    ----------
    steps : transformer or Pipeline
        From paths to features, for example ``make_pipeline(AudioLoader(), LogMelSpectrogram())``.
        What it gives for a clip must depend on that clip and on its parameters alone: a
        transformer that learns from its training data belongs behind the cache.
    location : str or pathlib.Path
        Folder for the features, made if needed. Any number of caches may share it.
    n_jobs : int, optional
        Clips computed at a time, in threads unless :func:`joblib.parallel_config` says
        otherwise. None means 1, or what that context says; -1 means all cores.

    Attributes
    ----------
    steps_ : transformer or Pipeline
        The steps in use; an :class:`~skaudio.audio.AudioLoader` among them has learned the
        sample rate of the first file.

    Notes
    -----
    A clip's features are found by the file's resolved path, size and time of change, by
    the classes and parameters of the steps, by the sample rate the loader learned, and by
    skaudio's own code for reading files and making features; the file itself is not opened. So
    a changed file or parameter leads to fresh features, and only code of your own that changed
    under the same name needs a call of :meth:`clear`.

    Features are written under another name and then moved into place, so that any number of
    processes can work at once, share the work, and be killed; the next run goes on where the
    last one stopped. A damaged file is noticed by its checksum, reported and replaced. Nothing
    is removed by itself but what killed processes left behind.

    Waveforms pass through the steps without being kept.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from skaudio.audio import AudioLoader
    >>> from skaudio.features import FeatureCache, LogMelSpectrogram
    >>> steps = make_pipeline(AudioLoader(), LogMelSpectrogram(sample_rate=16000))
    >>> cache = FeatureCache(steps, "features")
    >>> cache.fit_transform(["take_07.wav", "take_08.wav"])  # doctest: +SKIP
    """

    _parameter_constraints: dict = {
        "steps": [HasMethods(["fit", "transform"])],
        "location": [str, os.PathLike],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self, steps: Any, location: str | os.PathLike[str], *, n_jobs: int | None = None
    ) -> None:
        self.steps = steps
        self.location = location
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None) -> FeatureCache:
        """Check the steps, and learn the sample rate if a loader does.

        No features are computed, but for those of the first file where a step has to know
        their shape (:class:`~skaudio.features.TemporalStatistics`).

        Parameters
        ----------
        X : sequence of str or pathlib.Path, or what else the steps take
            Paths as a list, array, Series or one-column DataFrame; or waveforms.
        y : None
            Ignored.

        Returns
        -------
        FeatureCache
            The cache itself.

        Raises
        ------
        AudioFormatError
            If a loader has to learn the sample rate and cannot read the first file.
        ValueError
            If a parameter is out of range, a step depends on its training data, or a step's
            parameter cannot be told from others by its value.
        """
        check_params(self)
        self.steps_ = clone(self.steps)
        check_stateless(self.steps_)
        if holds_paths(X):
            fit_to_files(self.steps_, check_paths(X))
        else:
            self.steps_.fit(X, y)
        for loader in loaders(self.steps_):
            loader.on_error = "stop"  # bad files are told from good ones here
        self._store()  # refuses parameters that it cannot tell apart
        return self

    def _transform(self, X: Any) -> Clips:
        check_is_fitted(self)
        if not holds_paths(X):
            return run(self.steps_, X)
        paths, store = check_paths(X), self._store()
        files: Files = {path: file_key(path) for path in paths}
        found, damaged = read_all(store, files)
        if damaged:
            warnings.warn(
                f"FeatureCache: {len(damaged)} files in {store.folder} are damaged, first that "
                f"of {damaged[0]}. Their features are computed again.",
                SkaudioWarning,
                stacklevel=3,
            )
        missing = {path: key for path, key in files.items() if path not in found}
        if missing:
            found |= self._compute(store, missing)
        return gather([found[path] for path in paths])

    def clear(self) -> None:
        """Remove all features in `location`, those of other steps too."""
        Store.clear(self._location())

    @available_if(lambda self: hasattr(last(self.steps), "get_feature_names_out"))
    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the features, those of the last step.

        Parameters
        ----------
        input_features : array-like of str, optional
            Handed to the last step.

        Returns
        -------
        ndarray of str
        """
        check_is_fitted(self)
        return last(self.steps_).get_feature_names_out(input_features)

    @property
    def n_features_in_(self) -> int:
        """Number of samples of the waveforms seen in ``fit``, where all had one length."""
        return self.steps_.n_features_in_

    @property
    def feature_names_in_(self) -> NDArray[np.object_]:
        """Names of the columns seen in ``fit``, where there were any."""
        return self.steps_.feature_names_in_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        return tags

    def _location(self) -> Path:
        return Path(self.location).expanduser()

    def _store(self) -> Store:
        rates = [loader.sample_rate_ for loader in loaders(self.steps_)]
        return Store(self._location(), steps_key(flatten(self.steps_), rates))

    def _compute(self, store: Store, missing: Files) -> dict[str, Entry]:
        store.sweep()
        report = any(loader.on_error == "report" for loader in loaders(self.steps))
        outcome: dict[str, Entry | AudioFormatError] = {}
        # First what nobody else works on, several files at a time. Then what others did, which
        # is mostly done by now; one at a time, as who waits for one lock must hold no other.
        for wait, size in ((False, _TASK_FILES), (True, 1)):
            results = Parallel(n_jobs=self.n_jobs, prefer="threads")(
                delayed(produce)(store, self.steps_, task, wait, report)
                for task in tasks(missing, size)
            )
            for done in results:
                outcome |= done
            missing = {path: key for path, key in missing.items() if path not in outcome}
        errors = [error for error in outcome.values() if isinstance(error, AudioFormatError)]
        if errors:
            lines = "\n".join(f"  {error}" for error in errors)
            raise AudioFormatError(f"{len(errors)} files cannot be used:\n{lines}")
        return {path: entry for path, entry in outcome.items() if isinstance(entry, Entry)}
