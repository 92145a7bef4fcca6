"""The one gate for what users hand in: clips, features, paths, weights, seeds.

Everything behind the gate is either an ndarray (clips of one length) or a list of
ndarrays (clips of several lengths), float32 and finite. Nobody rechecks. This is also
the only module that touches what scikit-learn keeps private.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import _fit_context as fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    Options,
    StrOptions,
)
from sklearn.utils._set_output import _wrap_data_with_container as wrap_output
from sklearn.utils.metaestimators import _BaseComposition as BaseComposition
from sklearn.utils.validation import (
    _check_feature_names_in as check_feature_names_in,
)
from sklearn.utils.validation import (
    _check_sample_weight,
    validate_data,
)

from skaudio.exceptions import AudioFormatError

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9, whose estimators know no callbacks

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stand in for the mixin of later versions."""

    def with_callbacks(method: Any) -> Any:
        """Return the method as it is."""
        return method


__all__ = [
    "BaseComposition",
    "CallbackSupportMixin",
    "Clips",
    "HasMethods",
    "Interval",
    "Options",
    "StrOptions",
    "check_feature_names_in",
    "check_features",
    "check_params",
    "check_paths",
    "check_sample_weight",
    "check_seed",
    "check_waveforms",
    "fit_context",
    "holds_paths",
    "is_path",
    "with_bands",
    "with_callbacks",
    "wrap_output",
]

Clips = NDArray[np.float32] | list[NDArray[np.float32]]
"""What leaves the gate: one array, or a list with one array per clip."""


def check_waveforms(estimator: Any, X: Any, *, reset: bool) -> Clips:
    """Check waveforms and give them back as float32.

    Parameters
    ----------
    estimator : BaseEstimator
        Learns ``n_features_in_`` when `reset`, and is held to it otherwise.
    X : array-like of shape (n_clips, n_samples), or sequence of 1-D array-likes
        Mono waveforms in [-1, 1].
    reset : bool
        True in ``fit``, False afterwards.

    Returns
    -------
    ndarray of shape (n_clips, n_samples), or list of ndarray of shape (n_samples,)

    Raises
    ------
    AudioFormatError
        If a clip has no samples, more than one axis, or integer samples of a sound file.
    ValueError
        If a sample is NaN or infinite, or scikit-learn's own rules are broken.
    """
    return _check_clips(estimator, X, reset=reset, what="waveform", ndims=(1,))


def check_features(estimator: Any, X: Any, *, reset: bool) -> Clips:
    """Check features and give them back as float32, in the form they came in.

    Parameters
    ----------
    estimator : BaseEstimator
        Learns ``n_features_in_`` when `reset`, and is held to it otherwise.
    X : array-like of shape (n_clips, n_bands, n_frames) or (n_clips, n_frames), or sequence \
            of array-likes of shape (n_bands, n_frames) or (n_frames,)
        Bands first, time last. Without a band axis a clip is a sequence of one band.
    reset : bool
        True in ``fit``, False afterwards.

    Returns
    -------
    ndarray with as many axes as `X`, or list of ndarray
        Use :func:`with_bands` for the form that always has the band axis.

    Raises
    ------
    AudioFormatError
        If a clip is empty, or differs from the others in its number of bands.
    ValueError
        If a value is NaN or infinite, or scikit-learn's own rules are broken.
    """
    return _check_clips(estimator, X, reset=reset, what="feature", ndims=(1, 2))


def with_bands(clips: Clips) -> Clips:
    """Give one-band sequences their band axis; leave the others as they are."""
    if isinstance(clips, np.ndarray):
        return clips[:, np.newaxis, :] if clips.ndim == 2 else clips
    return [clip[np.newaxis, :] if clip.ndim == 1 else clip for clip in clips]


def is_path(item: Any) -> bool:
    """Tell whether `item` names a file."""
    return isinstance(item, (str, os.PathLike))


def holds_paths(X: Any) -> bool:
    """Tell whether `X` is a collection of paths, judging by its first entry."""
    if hasattr(X, "iloc"):
        X = X.to_numpy()
    if isinstance(X, np.ndarray):
        return X.size > 0 and is_path(X.flat[0])
    return isinstance(X, Sequence) and len(X) > 0 and is_path(X[0])


def check_paths(X: Any) -> list[str]:
    """Check a collection of paths and give it back as a list of strings.

    Parameters
    ----------
    X : sequence, ndarray, Series or one-column DataFrame of str or pathlib.Path

    Returns
    -------
    list of str

    Raises
    ------
    AudioFormatError
        If an entry is not a path.
    """
    if is_path(X):
        raise ValueError(f"Expected a list of paths, got the single path {str(X)!r}. Pass [path].")
    if hasattr(X, "iloc") or isinstance(X, np.ndarray):
        X = np.asarray(X, dtype=object)
        if X.ndim == 2 and X.shape[1] == 1:
            X = X[:, 0]
        if X.ndim != 1:
            raise ValueError(f"Expected one column of paths, got an array of shape {X.shape}.")
    for i, item in enumerate(X):
        if not is_path(item):
            raise AudioFormatError(
                f"Clip {i} is {_describe(item)}, but the first clip is a path. "
                "Pass either paths or arrays, not both."
            )
    return [os.fspath(item) for item in X]


def check_params(estimator: Any) -> None:
    """Check an estimator's constructor arguments against its ``_parameter_constraints``."""
    estimator._validate_params()


def check_sample_weight(sample_weight: Any, X: Any) -> NDArray[np.float64]:
    """Give one non-negative float64 weight per clip; None means one each."""
    counted = np.empty((len(X), 1))  # only the length of X matters here
    return _check_sample_weight(sample_weight, counted, dtype=np.float64, ensure_non_negative=True)


def check_seed(random_state: Any) -> int:
    """Turn scikit-learn's `random_state` into one non-negative integer seed."""
    return int(check_random_state(random_state).randint(2**31 - 1))


def _check_clips(
    estimator: Any, X: Any, *, reset: bool, what: str, ndims: tuple[int, ...]
) -> Clips:
    if holds_paths(X):
        raise AudioFormatError(
            f"{type(estimator).__name__} got paths, but expected {what}s. "
            "Put AudioLoader() in front of it to read the files."
        )
    ragged = _as_list(X)
    clips: Clips
    if ragged is None:
        clips = _check_array(estimator, X, reset=reset, what=what, ndims=ndims)
    else:
        clips = _check_list(estimator, ragged, reset=reset, what=what, ndims=ndims)
    _check_finite(clips)
    return clips


def _as_list(X: Any) -> list[Any] | None:
    """Return the clips one by one, or None where `X` is to be read as one array."""
    if hasattr(X, "iloc") and getattr(X, "ndim", 0) == 1 and X.dtype == object:
        return list(X)
    if isinstance(X, np.ndarray):
        return list(X) if X.dtype == object and X.ndim == 1 and _is_clip(X) else None
    if not isinstance(X, (list, tuple)) or len(X) == 0:
        return None
    if any(getattr(clip, "ndim", 0) > 0 for clip in X):
        return list(X)
    lengths = {len(clip) if isinstance(clip, (list, tuple)) else -1 for clip in X}
    return list(X) if len(lengths) > 1 and -1 not in lengths else None


def _is_clip(X: NDArray[Any]) -> bool:
    return len(X) > 0 and np.ndim(X[0]) > 0


def _check_array(
    estimator: Any, X: Any, *, reset: bool, what: str, ndims: tuple[int, ...]
) -> NDArray[np.float32]:
    _refuse_pcm(getattr(X, "dtype", None), "X")
    if not reset and getattr(X, "ndim", 0) - 1 in ndims:
        _remember_axes(estimator, X.ndim - 1, reset=False)
    try:
        array = validate_data(
            estimator, X, reset=reset, dtype=np.float32, order="C", allow_nd=True,
            ensure_all_finite=False,
        )  # fmt: skip
    except ValueError as error:
        if "features, but" not in str(error) or getattr(X, "ndim", 2) != 2:
            raise
        raise ValueError(
            f"{error} A 2-D array keeps the width seen in fit; pass clips of other "
            "lengths as a list of arrays."
        ) from None
    if array.ndim - 1 not in ndims:
        raise AudioFormatError(
            f"X has shape {array.shape}, but {type(estimator).__name__} expected "
            f"{_wanted(what, ndims)}."
        )
    if array.shape[-1] == 0:
        raise AudioFormatError(f"X has shape {array.shape}: its clips are empty.")
    _remember_axes(estimator, array.ndim - 1, reset=reset)
    return array


def _check_list(
    estimator: Any, X: list[Any], *, reset: bool, what: str, ndims: tuple[int, ...]
) -> list[NDArray[np.float32]]:
    clips = []
    for i, item in enumerate(X):
        _refuse_pcm(getattr(item, "dtype", None), f"Clip {i}")
        try:
            clip = np.ascontiguousarray(item, dtype=np.float32)
        except (TypeError, ValueError):
            clip = None
        if clip is None or np.ndim(item) not in ndims:
            raise AudioFormatError(
                f"Clip {i} is {_describe(item)}, but {type(estimator).__name__} expected "
                f"{_wanted(what, ndims)}."
            )
        if clip.size == 0:
            raise AudioFormatError(
                f"Clip {i} is empty (shape {clip.shape}). Leave it out or record it again."
            )
        clips.append(clip)
    _check_bands(estimator, clips, reset=reset)
    return clips


def _check_bands(estimator: Any, clips: list[NDArray[np.float32]], *, reset: bool) -> None:
    """Hold the clips of a list to one number of axes and of bands, that of ``fit``."""
    ndim = clips[0].ndim
    for i, clip in enumerate(clips):
        if clip.ndim != ndim or clip.shape[:-1] != clips[0].shape[:-1]:
            raise AudioFormatError(
                f"Clip {i} has shape {clip.shape}, but clip 0 has {clips[0].shape}: all clips "
                "need the same bands (the first axis) and may differ in frames (the last)."
            )
    _remember_axes(estimator, ndim, reset=reset)
    if ndim == 1:
        if reset and hasattr(estimator, "n_features_in_"):
            del estimator.n_features_in_
        return
    if reset:
        estimator.n_features_in_ = len(clips[0])
    elif getattr(estimator, "n_features_in_", len(clips[0])) != len(clips[0]):
        raise ValueError(
            f"X has {len(clips[0])} bands, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} bands as in fit."
        )


def _remember_axes(estimator: Any, ndim: int, *, reset: bool) -> None:
    if reset:
        estimator._clip_ndim = ndim
    elif getattr(estimator, "_clip_ndim", ndim) != ndim:
        names = {1: "one axis (time)", 2: "two axes (bands, time)"}
        raise AudioFormatError(
            f"The clips have {names[ndim]}, but {type(estimator).__name__} was fitted on clips "
            f"with {names[estimator._clip_ndim]}."
        )


def _check_finite(clips: Clips) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        # A sum is one cheap pass; it is finite only if every value is, or it overflows.
        totals = [clip.sum() for clip in clips]
    for i, (clip, total) in enumerate(zip(clips, totals, strict=True)):
        if np.isfinite(total) or np.isfinite(clip).all():
            continue
        name = "NaN" if np.isnan(clip).any() else "infinity or a value too large for float32"
        raise ValueError(
            f"Input X contains {name}, first in clip {i}. Repair the clip or leave it out."
        )


def _refuse_pcm(dtype: Any, where: str) -> None:
    if dtype in (np.int16, np.uint8):
        raise AudioFormatError(
            f"{where} holds {dtype} samples as sound files store them, but expected floats in "
            f"[-1, 1]. Divide by {'32768' if dtype == np.int16 else '128 and subtract 1'}."
        )


def _wanted(what: str, ndims: tuple[int, ...]) -> str:
    if ndims == (1,):
        return f"{what}s: one row of samples per clip, mono"
    return f"{what}s: (n_bands, n_frames) per clip, or (n_frames,) for one band"


def _describe(item: Any) -> str:
    shape = getattr(item, "shape", None)
    return f"{type(item).__name__} of shape {shape}" if shape is not None else repr(item)
