"""The card of a saved model: what people and other programs want to know without loading it."""

from __future__ import annotations

import math
import platform
import sys
from importlib import metadata
from textwrap import shorten
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

__all__ = ["FORMAT", "make_card"]

FORMAT = 3
"""Raised whenever files written from then on cannot be read by the code before."""

_PACKAGES = {"numpy": "numpy", "sklearn": "scikit-learn", "torch": "torch", "skops": "skops"}

# Longer arrays are described by their shape. No array of parameters that a person chose, such as
# a list of classes, is as long; features of clips are.
_MOST_VALUES = 10_000


def make_card(model: Any) -> dict[str, Any]:
    """Describe a model by values that JSON has.

    Parameters
    ----------
    model : estimator or transformer

    Returns
    -------
    dict
        See :func:`skaudio.describe`.
    """
    fitted = _recogniser(model)
    parameters = _parameters(model)
    # Those of a search are its starting point; what it chose is in the best estimator.
    chosen = getattr(model, "best_estimator_", model)
    features = _feature_settings([chosen, *_parameters(chosen).values()])
    rates = {step["parameters"]["sample_rate"] for step in features} - {None}
    return {
        "format": FORMAT,
        "model": _name_of(model),
        "versions": _versions(),
        "labels": _plain(getattr(model, "classes_", None)),
        "sample_rate": rates.pop() if len(rates) == 1 else None,
        "features": features,
        "parameters": {name: _plain(value) for name, value in sorted(parameters.items())},
        "training": _training(fitted),
        "n_clips": _plain(getattr(fitted, "n_clips_", None)),
    }


def _parameters(model: Any) -> dict[str, Any]:
    return model.get_params(deep=True) if hasattr(model, "get_params") else {}


def _recogniser(model: Any) -> Any:
    """Find the estimator at the heart of searches, pipelines and wrappers."""
    while True:
        if hasattr(model, "best_estimator_"):
            model = model.best_estimator_
        elif isinstance(model, Pipeline):
            model = model.steps[-1][1]
        elif hasattr(model, "estimator_") and not hasattr(model, "n_clips_"):
            model = model.estimator_
        else:
            return model


def _feature_settings(parts: list[Any]) -> list[dict[str, Any]]:
    """Describe the parts that have a sample rate, each once: loaders and transformers."""
    found: dict[int, dict[str, Any]] = {}
    for part in parts:
        if hasattr(part, "get_params") and not isinstance(part, type):
            settings = part.get_params(deep=False)
            if "sample_rate" in settings:
                settings = {name: _plain(value) for name, value in settings.items()}
                found[id(part)] = {"name": _name_of(part), "parameters": settings}
    return list(found.values())


def _versions() -> dict[str, str]:
    ours = sys.modules[__name__.partition(".")[0]].__version__
    versions = {"skaudio": ours, "python": platform.python_version()}
    # From the packages' records, so that torch need not be imported.
    return versions | {name: metadata.version(package) for name, package in _PACKAGES.items()}


def _training(fitted: Any) -> dict[str, Any] | None:
    """Summarise the history: number of epochs, the last one and the best one."""
    history = getattr(fitted, "history_", None)
    if history is None or not len(history):
        return None
    settings = getattr(fitted, "estimator_", fitted)  # of several corpora
    monitor = getattr(settings, "monitor", "valid_loss")
    if getattr(settings, "lr_schedule", None) == "staged":
        monitor = "valid_score"
    best = None
    if monitor in history and history[monitor].notna().any():
        row = history[monitor].idxmin() if monitor == "valid_loss" else history[monitor].idxmax()
        best = {"epoch": int(row)} | _plain(history.loc[row].to_dict())
    return {"epochs": len(history), "last": _plain(history.iloc[-1].to_dict()), "best": best}


def _name_of(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _plain(value: Any) -> Any:
    """Replace what JSON lacks: numpy's types, numbers that are not finite, other objects."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        if value.size > _MOST_VALUES:
            return f"array of shape {value.shape} and dtype {value.dtype}"
        value = value.tolist()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    return shorten(repr(value), 500)
