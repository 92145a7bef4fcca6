"""Checks of what users pass in: waveforms, features, paths, weights, seeds.

Clips that passed the checks are either an ndarray (clips of one length) or a list of ndarrays
(clips of several lengths), float32 and finite; no other code checks them again. This is also the
only module that uses private functions of scikit-learn.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from numbers import Number
from textwrap import shorten
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    Options,
    StrOptions,
)
from sklearn.utils._set_output import _get_output_config
from sklearn.utils._set_output import _wrap_data_with_container as wrap_output
from sklearn.utils.metaestimators import _BaseComposition as BaseComposition
from sklearn.utils.validation import (
    _check_feature_names_in as check_feature_names_in,
)
from sklearn.utils.validation import (
    _check_sample_weight,
    validate_data,
)

from skaudio.exceptions import AudioFormatError, SampleRateError

try:
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback import with_callbacks as _with_callbacks
except ImportError:  # scikit-learn before 1.9, whose estimators know no callbacks

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stand in for the mixin of later versions."""

    def _with_callbacks(method: Any) -> Any:
        return method


__all__ = [
    "LARGEST_SAMPLE",
    "BaseComposition",
    "CallbackSupportMixin",
    "Clips",
    "HasMethods",
    "Interval",
    "Options",
    "StrOptions",
    "check_feature_names_in",
    "check_features",
    "check_groups",
    "check_params",
    "check_paths",
    "check_sample_weight",
    "check_seed",
    "check_waveforms",
    "fit_context",
    "forget_clips",
    "holds_paths",
    "is_path",
    "keep_index",
    "remembered_rates",
    "validate_data",
    "with_bands",
    "with_callbacks",
    "wrap_output",
]

Clips = NDArray[np.float32] | list[NDArray[np.float32]]
"""Checked clips: one array, or a list with one array per clip."""

Method = TypeVar("Method", bound=Callable[..., Any])

# Samples larger than this are refused. Floats may hold samples that were never scaled, up to 2^31;
# and with |x| <= 1e10 the power of a frame of n samples, at most (n |x|)^2, stays below the 3.4e38
# of float32 for every n up to 1e9.
LARGEST_SAMPLE = 1e10

# Waveforms of integers are refused as samples that were not scaled to [-1, 1]. Smaller integers
# than this pass, since scikit-learn's checks of estimators use some; int16 and uint8, in which
# sound files are stored, never do.
_LARGEST_INTEGER = 255


def fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[Method], Method]:
    """Decorate a ``fit`` as scikit-learn does: parameters are checked first. Types stay known."""
    return _fit_context(prefer_skip_nested_validation=prefer_skip_nested_validation)


def with_callbacks(method: Method) -> Method:
    """Decorate a ``fit`` so that scikit-learn's callbacks end with it. Types stay known."""
    return _with_callbacks(method)


def check_waveforms(
    estimator: Any, X: Any, *, reset: bool, sample_rate: float | None = None
) -> Clips:
    """Check waveforms and convert them to plain arrays of float32.

    Parameters
    ----------
    estimator : BaseEstimator
        Learns ``n_features_in_`` when `reset`, and is held to it otherwise.
    X : array-like of shape (n_clips, n_samples), or sequence of 1-D array-likes
        Mono waveforms in [-1, 1].
    reset : bool
        True in ``fit``, False afterwards.
    sample_rate : float, optional
        Rate in Hz that the estimator, or its front end, is set to. Waveforms that remember theirs
        must have it; None takes any.

    Returns
    -------
    ndarray of shape (n_clips, n_samples), or list of ndarray of shape (n_samples,)

    Raises
    ------
    AudioFormatError
        If a clip has no samples, more than one axis, or integer samples of a sound file.
    SampleRateError
        If a clip remembers another sample rate than the estimator's.
    ValueError
        If a sample is NaN or infinite, or scikit-learn's own rules are broken.
    """
    clips = _check_clips(estimator, X, reset=reset, what="waveform", ndims=(1,))
    _check_samples(clips)
    if sample_rate is not None:
        _check_rates(remembered_rates(X), sample_rate, type(estimator).__name__)
    return clips


def remembered_rates(X: Any) -> list[int | None]:
    """List the sample rate in Hz that each clip remembers, None if it does not.

    Parameters
    ----------
    X : sequence of clips
        As :func:`check_waveforms` takes them.

    Returns
    -------
    list of int or None
        Empty for one plain array of clips, which remembers none.
    """
    if isinstance(X, np.ndarray) and X.dtype != object:
        return [getattr(X, "sample_rate", None)] * len(X)
    return [getattr(clip, "sample_rate", None) for clip in _as_list(X) or ()]


def check_features(estimator: Any, X: Any, *, reset: bool) -> Clips:
    """Check features and convert them to float32, in the form they came in.

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
    """Add the band axis to sequences of one band; return other features as they are."""
    if isinstance(clips, np.ndarray):
        return clips[:, np.newaxis, :] if clips.ndim == 2 else clips
    return [clip[np.newaxis, :] if clip.ndim == 1 else clip for clip in clips]


def keep_index(clips: Clips, X: Any, estimator: Any) -> Any:
    """Return clips made of a Series or table as a Series with its index, if pandas is asked for.

    They are no table themselves, but a later step may make one, and scikit-learn joins tables by
    their index.
    """
    if not hasattr(X, "iloc") or _get_output_config("transform", estimator)["dense"] != "pandas":
        return clips
    import pandas as pd  # here alone, as it takes long to import

    return pd.Series(list(clips), index=X.index)


def is_path(item: Any) -> bool:
    """Tell whether `item` names a file."""
    return isinstance(item, (str, os.PathLike))


def holds_paths(X: Any) -> bool:
    """Tell whether `X` is a collection of paths, judging by its first entry."""
    X = _from_polars(X)
    if hasattr(X, "iloc"):
        X = X.to_numpy()
    if isinstance(X, np.ndarray):
        return X.size > 0 and is_path(X.flat[0])
    return isinstance(X, Sequence) and len(X) > 0 and is_path(X[0])


def check_paths(X: Any) -> list[str]:
    """Check a collection of paths and convert it to a list of strings.

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
    X = _from_polars(X)
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
    """Convert to one non-negative float64 weight per clip; None means 1 for each."""
    counted = np.empty((len(X), 1))  # only the length of X matters here
    return _check_sample_weight(sample_weight, counted, dtype=np.float64, ensure_non_negative=True)


def check_groups(groups: Any, name: str = "groups") -> NDArray[Any]:
    """Make an array of groups, in which none is missing; `name` is what messages call it."""
    import pandas as pd  # here alone, as it takes long to import

    # As objects, since an array of texts makes the text "nan" of a missing one.
    missing = np.argwhere(pd.isna(np.asarray(groups, dtype=object)))
    if len(missing):
        raise ValueError(
            f"{name} has no value at {missing[0][0]}, and at {len(missing) - 1} more places, but "
            "expected a group for each clip. Fill them in, or leave the clips out."
        )
    groups = np.asarray(groups)
    if groups.shape[1:] == (1,):  # a table of one column
        groups = groups[:, 0]
    if groups.ndim != 1:
        raise ValueError(
            f"{name} has the shape {groups.shape}, but expected one group for each clip."
        )
    return groups


def check_seed(random_state: Any) -> int:
    """Turn scikit-learn's `random_state` into one non-negative integer seed."""
    return int(check_random_state(random_state).randint(2**31 - 1))


def _check_rates(rates: list[int | None], wanted: float, name: str) -> None:
    for i, rate in enumerate(rates):
        if rate is not None and rate != wanted:
            raise SampleRateError(
                f"Clip {i} was loaded at {rate} Hz, but {name} is set to sample_rate={wanted:g}. "
                f"Set both to one rate, as in AudioLoader(sample_rate={wanted:g}). If the clip was "
                "converted since, pass np.asarray(clip), which forgets the rate."
            )


def forget_clips(estimator: Any) -> None:
    """Remove what an estimator has learned of the shape of its clips."""
    for name in ("n_features_in_", "feature_names_in_", "_clip_ndim"):
        if hasattr(estimator, name):
            delattr(estimator, name)


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
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is reported
        if ragged is None:
            clips = _check_array(estimator, X, reset=reset, what=what, ndims=ndims)
        else:
            clips = _check_list(estimator, ragged, reset=reset, what=what, ndims=ndims)
    _check_finite(clips)
    return clips


def _from_polars(X: Any) -> Any:
    """Convert a Series of polars to a list; return anything else as it is."""
    is_series = hasattr(X, "to_list") and hasattr(X, "dtype")
    return X.to_list() if is_series and not hasattr(X, "iloc") else X


def _as_list(X: Any) -> list[Any] | None:
    """Return the clips one by one, or None where `X` is to be read as one array."""
    X = _from_polars(X)
    if hasattr(X, "iloc") and X.ndim == 2 and X.shape[1] == 1:
        X = X.iloc[:, 0]  # a column of clips; one of numbers is no list, and X is read as it is
    is_sequence = isinstance(X, (list, tuple))
    is_column = getattr(X, "ndim", 0) == 1 and getattr(X.dtype, "kind", "") == "O"
    if not is_sequence and not is_column:
        return None
    clips = list(X)
    if not clips or all(isinstance(clip, (Number, np.generic)) for clip in clips):
        return None  # without clips, or with numbers in their place: _check_array says so
    if is_sequence and all(isinstance(clip, (list, tuple)) for clip in clips):
        try:
            np.array(clips)
        except ValueError:  # of several lengths
            return clips
        return None
    return clips


def _check_array(
    estimator: Any, X: Any, *, reset: bool, what: str, ndims: tuple[int, ...]
) -> NDArray[np.float32]:
    values = np.asarray(X)
    if values.ndim == 1 and len(values) > 0:
        raise AudioFormatError(
            f"X has one axis of {len(values)} values, a single clip, but "
            f"{type(estimator).__name__} expected {_wanted(what, ndims)}. Reshape your data: "
            "pass [X]."
        )
    if values.dtype.kind != "c":  # of which scikit-learn has a message of its own
        _refuse_kinds(values, "X")
    _refuse_integers(values, "X", what)
    if not reset and getattr(X, "ndim", 0) - 1 in ndims:
        _remember_axes(estimator, X.ndim - 1, reset=False)
    array = _validate(estimator, X, reset=reset)
    if array.ndim - 1 not in ndims:
        raise AudioFormatError(
            f"X has shape {array.shape}, but {type(estimator).__name__} expected "
            f"{_wanted(what, ndims)}."
        )
    if array.shape[-1] == 0:
        raise AudioFormatError(f"X has shape {array.shape}: its clips are empty.")
    _remember_axes(estimator, array.ndim - 1, reset=reset)
    return array


def _validate(estimator: Any, X: Any, *, reset: bool) -> NDArray[np.float32]:
    """Let scikit-learn check an array; say more of what it refuses."""
    try:
        return validate_data(
            estimator, X, reset=reset, dtype=np.float32, order="C", allow_nd=True,
            ensure_all_finite=False,
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        values = np.asarray(X)
        if values.dtype.kind == "O" and values.ndim > 0:
            for place, value in np.ndenumerate(values):
                if not isinstance(value, (Number, np.generic)):
                    raise type(error)(
                        f"Clip {place[0]} holds {_describe(value)}, but expected numbers only "
                        f"({error}). Repair the clip or leave it out."
                    ) from None
        if "features, but" not in str(error) or values.ndim != 2:
            raise
        raise ValueError(
            f"{error} A 2-D array keeps the width seen in fit; pass clips of other "
            "lengths as a list of arrays."
        ) from None


def _check_list(
    estimator: Any, X: list[Any], *, reset: bool, what: str, ndims: tuple[int, ...]
) -> list[NDArray[np.float32]]:
    clips = []
    for i, item in enumerate(X):
        if isinstance(item, np.ndarray):
            _refuse_kinds(item, f"Clip {i}")
        try:
            values = np.asarray(item)
            clip = np.ascontiguousarray(values, dtype=np.float32)
        except (TypeError, ValueError):
            clip = None
        if clip is None or values.ndim not in ndims:
            raise AudioFormatError(
                f"Clip {i} is {_describe(item)}, but {type(estimator).__name__} expected "
                f"{_wanted(what, ndims)}."
            )
        if clip.size == 0:
            raise AudioFormatError(
                f"Clip {i} is empty (shape {clip.shape}). Leave it out or record it again."
            )
        _refuse_integers(values, f"Clip {i}", what)
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
    if reset:
        forget_clips(estimator)
    _remember_axes(estimator, ndim, reset=reset)
    if ndim == 1:
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


def _check_samples(clips: Clips) -> None:
    """Refuse samples so large that their power would overflow."""
    for i, clip in enumerate(clips):
        with np.errstate(over="ignore"):
            energy = np.dot(clip, clip)  # bounds every sample: x_t^2 <= sum x^2
        if energy > LARGEST_SAMPLE**2 and (peak := np.abs(clip).max()) > LARGEST_SAMPLE:
            raise AudioFormatError(
                f"Clip {i} holds samples up to {peak:.4g}, but expected waveforms in [-1, 1]. "
                "Divide by the largest value that the format can hold, or leave the clip out."
            )


def _refuse_kinds(values: NDArray[Any], where: str) -> None:
    """Refuse complex numbers, text, dates and records, of which some would pass for numbers."""
    if values.dtype.kind not in "fiubO":
        raise AudioFormatError(
            f"{where} holds values of type {values.dtype}, but expected real numbers."
        )


def _refuse_integers(values: NDArray[Any], where: str, what: str) -> None:
    """Refuse integer samples that were not scaled to [-1, 1]."""
    dtype = values.dtype.newbyteorder("=")
    if dtype in (np.int16, np.uint8):
        scale = "32768" if dtype == np.int16 else "128 and subtract 1"
    elif what == "waveform" and dtype.kind in "iu" and _exceeds(values):
        scale = "32768 if they come from 16 bits, by 2147483648 if from 32 bits"
    else:
        return
    raise AudioFormatError(
        f"{where} holds {dtype} samples as sound files store them, but expected floats in "
        f"[-1, 1]. Divide by {scale}."
    )


def _exceeds(values: NDArray[Any]) -> bool:
    # Not by np.abs: the absolute value of the lowest integer overflows.
    return values.size > 0 and max(int(values.max()), -int(values.min())) > _LARGEST_INTEGER


def _wanted(what: str, ndims: tuple[int, ...]) -> str:
    if ndims == (1,):
        return f"{what}s: one row of samples per clip, mono"
    return f"{what}s: (n_bands, n_frames) per clip, or (n_frames,) for one band"


def _describe(item: Any) -> str:
    shape = getattr(item, "shape", None)
    if shape:
        return f"{type(item).__name__} of shape {shape}"
    return shorten(repr(item), 80, placeholder=" ...")
