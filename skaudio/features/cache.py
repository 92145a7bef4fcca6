"""Features that are computed once and kept on disk."""

from __future__ import annotations

import os
import random
import re
import shutil
import warnings
from itertools import pairwise
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.pipeline import FeatureUnion
from sklearn.utils import gen_batches, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from skaudio._artifacts import hash_value, remove_stale
from skaudio._validation import (
    Clips,
    HasMethods,
    check_params,
    check_paths,
    check_waveforms,
    holds_paths,
    remembered_rates,
)
from skaudio.audio import AudioLoader, Waveform, warn_of_upsampling
from skaudio.exceptions import AudioFormatError, SampleRateError, SkaudioWarning, warn
from skaudio.features._base import ClipTransformer, WaveformTransformer
from skaudio.features._cached_features import (
    Entry,
    Outcome,
    compute_task,
    entry_of_file,
    entry_of_waveform,
    flatten,
    gather,
    loaders,
    name_waveforms,
    read_all,
    run,
)
from skaudio.features.temporal_statistics import TemporalStatistics

__all__ = ["FeatureCache"]

# Part of the name of all features on disk. Raise it with every change to skaudio.audio or
# skaudio.features that changes a number for the same file and the same parameters; otherwise
# users would go on reading what the old code computed.
FEATURES_VERSION = 3

# Computed by one call of the steps, and lost together in a crash.
_CLIPS_PER_TASK = 16

_FOLDER = re.compile("features-[0-9a-f]{32}")


class FeatureCache(ClipTransformer):
    """Compute the features of each sound once, and read them from disk from then on.

    Put it first in a pipeline, around the steps from paths to features. Folds, grid points,
    processes and later runs then share the features; only the steps that follow are repeated.

    Parameters
    ----------
    steps : transformer or Pipeline
        From paths to features, for example ``make_pipeline(AudioLoader(), LogMelSpectrogram())``.
        The features of a clip must depend on that clip and on the parameters alone: a transformer
        that learns from its training data belongs after the cache.
    location : str or pathlib.Path
        Folder for the features, made if needed. Any number of caches may share it.
    n_jobs : int, optional
        Clips computed at a time, in threads unless :func:`joblib.parallel_config` says
        otherwise. None means 1, or what that context says; -1 means all cores.
    verbose : int, default=0
        Whether to show a progress bar of the files that are computed.

    Attributes
    ----------
    steps_ : transformer or Pipeline
        The steps in use; an :class:`~skaudio.audio.AudioLoader` among them may have learned the
        sample rate of the first file.

    See Also
    --------
    skaudio.audio.AudioLoader : The usual first step.

    Notes
    -----
    A file's features are found by its resolved path, size and time of change, by the
    classes and parameters of the steps, and by the sample rate that a loader learned; the file
    itself is not opened. A waveform's features are found by its samples and the rate that it
    remembers, in place of the path. A changed clip or parameter therefore leads to new features.
    Only a change in code of your own under the same name needs a call of :meth:`clear`.

    Features are written under a temporary name and then renamed, so that any number of processes
    can work at once and can be killed; the next run continues where the last one stopped.
    Processes that start together take the files in random orders and so share most of the work.
    A damaged file is noticed by its checksum, reported and replaced. Nothing else is ever removed
    but the temporary files of killed processes.

    Clips that are neither pass through the steps without being kept.

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
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        steps: Any,
        location: str | os.PathLike[str],
        *,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.steps = steps
        self.location = location
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> FeatureCache:
        """Check the steps, and learn the sample rate if a loader does.

        No features are computed, except those of the first file where a step has to know
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
        SampleRateError
            If a loader and the features after it are set to different sample rates.
        ValueError
            If a parameter is out of range, a step depends on its training data, or a step's
            parameter cannot be told from others by its value.
        """
        check_params(self)
        self.steps_ = clone(self.steps)
        for step in flatten(self.steps_):
            _check_stateless(step)
            if isinstance(step, WaveformTransformer):
                step._check()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SkaudioWarning)  # of which all has been said
            if holds_paths(X):
                _fit_to_files(self.steps_, check_paths(X))
            else:
                _fit_to_clips(self.steps_, X, y)
        _check_rates(self.steps_)
        for loader in loaders(self.steps_):
            loader.set_params(on_error="stop", verbose=0)  # the cache does both itself
        self._folder()  # refuses parameters that it cannot tell apart
        return self

    def _transform(self, X: Any) -> Clips:
        check_is_fitted(self)
        folder = self._folder()
        if holds_paths(X):
            names = check_paths(X)
            clips: dict[str, Any] = {path: path for path in names}
            files = {path: entry_of_file(folder, path) for path in names}
            return self._look_up(names, clips, files, stack=False)
        first = next(iter(flatten(self.steps_)), None)
        if not isinstance(first, (AudioLoader, WaveformTransformer)):
            return run(self.steps_, X)[0]  # whatever a transformer of the user takes
        waveforms = check_waveforms(first, X, reset=False)
        rates = remembered_rates(X) or [None] * len(waveforms)
        names = name_waveforms(waveforms, rates)
        clips = {
            name: clip if rate is None else Waveform(clip, rate)
            for name, clip, rate in zip(names, waveforms, rates, strict=True)
        }
        files = {name: entry_of_waveform(folder, name) for name in clips}
        try:
            return self._look_up(names, clips, files, stack=isinstance(waveforms, np.ndarray))
        except AudioFormatError as error:
            fault = error
        # It counts clips within a part of those that were missing. Given all of them, the steps
        # name the clip by its place.
        run(self.steps_, X)
        raise fault

    def _look_up(
        self, names: list[str], clips: dict[str, Any], files: dict[str, Path | None], *, stack: bool
    ) -> Clips:
        """Read the features of clips, and compute those that are missing."""
        found, damaged = read_all(files)
        if damaged:
            warn(
                f"FeatureCache: {len(damaged)} files in {self._folder()} are damaged, first that "
                f"of {damaged[0]}. Their features are computed again."
            )
        missing = {name: file for name, file in files.items() if name not in found}
        if missing:
            found |= self._compute(clips, missing)
        return gather([found[name] for name in names], stack=stack)

    def clear(self) -> None:
        """Remove all features in `location`, those of other steps too."""
        for folder in self._location().glob("features-*"):
            if _FOLDER.fullmatch(folder.name):
                shutil.rmtree(folder, ignore_errors=True)

    @available_if(lambda self: hasattr(_last(self.steps), "get_feature_names_out"))
    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the features, as the last step makes them of those before it.

        Parameters
        ----------
        input_features : array-like of str, optional
            Passed to the first step. A step that names no features, such as a loader, passes no
            names on.

        Returns
        -------
        ndarray of str
        """
        check_is_fitted(self)
        names = input_features
        for step in flatten(self.steps_):
            known = hasattr(step, "get_feature_names_out")
            names = step.get_feature_names_out(names) if known else None
        return names

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

    def _folder(self) -> Path:
        """Name the folder of the features of these steps."""
        rates = [loader.sample_rate_ for loader in loaders(self.steps_)]
        made_by = hash_value([FEATURES_VERSION, rates, flatten(self.steps_)], "steps")
        return self._location() / f"features-{made_by}"

    def _compute(self, clips: dict[str, Any], files: dict[str, Path | None]) -> dict[str, Entry]:
        """Compute and keep the features of clips that are not there yet."""
        for folder in {file.parent for file in files.values() if file is not None}:
            remove_stale(folder)
        names = list(files)
        tasks = [names[part] for part in gen_batches(len(names), _CLIPS_PER_TASK)]
        # Several processes often start on the same files, as in a search with n_jobs. In random
        # orders they seldom do the same task, and each looks again for what others have done.
        random.Random().shuffle(tasks)
        report = any(loader.on_error == "report" for loader in loaders(self.steps))
        results = Parallel(n_jobs=self.n_jobs, prefer="threads", return_as="generator_unordered")(
            delayed(compute_task)(
                self.steps_,
                {name: clips[name] for name in task},
                {name: files[name] for name in task},
                report,
            )
            for task in tasks
        )
        outcomes: dict[str, Outcome] = {}
        with tqdm(total=len(files), unit="file", disable=not self.verbose) as bar:
            for part in results:
                outcomes |= part
                bar.update(len(part))
        self._warn_of_upsampling(outcomes)
        done = {name: outcomes[name].result for name in names}
        errors = [result for result in done.values() if isinstance(result, AudioFormatError)]
        if errors:
            lines = "\n".join(f"  {error}" for error in errors)
            raise AudioFormatError(f"{len(errors)} files cannot be used:\n{lines}")
        return {name: result for name, result in done.items() if isinstance(result, Entry)}

    def _warn_of_upsampling(self, outcomes: dict[str, Outcome]) -> None:
        rates = {path: outcome.recorded_rate for path, outcome in outcomes.items()}
        known = {path: rate for path, rate in sorted(rates.items()) if rate is not None}
        for loader in loaders(self.steps_):
            if loader.sample_rate is not None:
                warn_of_upsampling(list(known), list(known.values()), loader.sample_rate)


def _last(steps: Any) -> Any:
    """Return the last transformer, None if there is none."""
    return next(reversed(flatten(steps)), None)


def _check_stateless(step: Any) -> None:
    """Refuse a step whose result for a clip depends on other clips."""
    if isinstance(step, FeatureUnion):
        raise ValueError(
            "FeatureCache: does not look into FeatureUnion. Put a FeatureCache of the same "
            "location around each of its parts instead."
        )
    # What a loader learns, the sample rate, is part of the name under which features are kept;
    # statistics learn only the number of bands.
    if get_tags(step).requires_fit and not isinstance(step, (AudioLoader, TemporalStatistics)):
        name = type(step).__name__
        raise ValueError(
            f"FeatureCache: {name} learns from the clips it is fitted on, so that its result for "
            "a clip depends on others and must not be shared by folds. Put it after the cache: "
            f"make_pipeline(FeatureCache(...), {name}()). (A transformer of your own that learns "
            "nothing says so by the tag requires_fit=False.)"
        )


def _check_rates(steps: Any) -> None:
    """Refuse features set to another rate than the loader before them, before files are read."""
    for loader, features in pairwise(flatten(steps)):
        if isinstance(loader, AudioLoader) and isinstance(features, WaveformTransformer):
            rates = loader.sample_rate_, features.sample_rate
            if None not in rates and rates[0] != rates[1]:
                raise SampleRateError(
                    f"FeatureCache: AudioLoader returns waveforms at {rates[0]} Hz, but "
                    f"{type(features).__name__} is set to sample_rate={rates[1]:g}. Set both to "
                    f"one rate, as in AudioLoader(sample_rate={rates[1]:g})."
                )


def _fit_to_clips(steps: Any, X: Any, y: Any) -> None:
    """Let the first step check all clips, and the others learn from what it makes of one."""
    first, *others = flatten(steps) or [None]
    if not isinstance(first, (AudioLoader, WaveformTransformer)):
        steps.fit(X, y)
        return
    first.fit(X, y)
    one = X[:1] if hasattr(X, "__getitem__") else np.asarray(X)[:1]
    for step, following in pairwise([first, *others]):
        one = step.transform(one)
        following.fit(one)


def _fit_to_files(steps: Any, paths: list[str]) -> None:
    """Let steps learn the little that they may: a sample rate, a number of bands."""
    for loader in loaders(steps):
        loader.fit(paths)
    if any(isinstance(step, TemporalStatistics) for step in flatten(steps)):
        X: Any = paths[:1]
        for step in flatten(steps):
            X = step.load(X)[0] if isinstance(step, AudioLoader) else step.fit(X).transform(X)
