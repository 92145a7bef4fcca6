"""What a cache asks of its steps, and how it runs them."""

from __future__ import annotations

from typing import Any

from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from skaudio.audio.loader import AudioLoader
from skaudio.features.temporal_statistics import TemporalStatistics

__all__ = ["check_stateless", "fit_to_files", "flatten", "last", "loaders", "run"]


def check_stateless(steps: Any) -> None:
    """Refuse steps whose result for a clip depends on other clips."""
    for step in flatten(steps):
        _check_step(step)


def _check_step(step: Any) -> None:
    # What a loader learns, the sample rate, is part of the name under which features are kept;
    # statistics learn only the number of bands.
    if get_tags(step).requires_fit and not isinstance(step, (AudioLoader, TemporalStatistics)):
        name = type(step).__name__
        raise ValueError(
            f"FeatureCache: {name} learns from the clips it is fitted on, so that its result for "
            "a clip depends on others and must not be shared by folds. Put it behind the cache: "
            f"make_pipeline(FeatureCache(...), {name}()). (A transformer of your own that learns "
            "nothing says so by the tag requires_fit=False.)"
        )


def fit_to_files(steps: Any, paths: list[str]) -> None:
    """Let steps learn the little that they may: a sample rate, a number of bands."""
    for loader in loaders(steps):
        loader.fit(paths)
    if any(isinstance(step, TemporalStatistics) for step in flatten(steps)):
        X: Any = paths[:1]
        for step in flatten(steps):
            X = step.transform(X) if isinstance(step, AudioLoader) else step.fit(X).transform(X)


def run(steps: Any, X: Any) -> Any:
    """Transform clips by all steps; those that learn nothing need no fit."""
    for step in flatten(steps):
        X = step.transform(X)
    return X


def flatten(steps: Any) -> list[Any]:
    """List the transformers of a pipeline, and of pipelines in it."""
    if not isinstance(steps, Pipeline):
        return [steps]
    inner = [step for _, step in steps.steps if step is not None and step != "passthrough"]
    return [transformer for step in inner for transformer in flatten(step)]


def last(steps: Any) -> Any:
    """Give the last transformer, None if there is none."""
    return next(reversed(flatten(steps)), None)


def loaders(steps: Any) -> list[AudioLoader]:
    """List the steps that read files."""
    return [step for step in flatten(steps) if isinstance(step, AudioLoader)]
