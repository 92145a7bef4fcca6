"""Metrics of recognition quality, and scorers for model selection."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import config_context
from sklearn.metrics import make_scorer
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from skaudio._validation import check_groups, check_sample_weight

__all__ = [
    "ccc_scorer",
    "concordance_correlation",
    "uar_by_corpus",
    "uar_by_corpus_scorer",
    "uar_scorer",
    "unweighted_average_recall",
]


def unweighted_average_recall(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Compute the mean recall over the classes, each class with the same weight.

    The usual metric of speech emotion recognition, where it is called UAR. A classifier that
    guesses, or always answers with one class, gets one over the number of classes.

    Parameters
    ----------
    y_true : array-like of shape (n_clips,)
        True labels. The mean runs over the classes present here.
    y_pred : array-like of shape (n_clips,)
        Predicted labels. A label that is not in `y_true` counts as a wrong answer for its clip,
        but adds no class to the mean.
    sample_weight : array-like of shape (n_clips,), optional
        Weight of each clip, >= 0. A class whose clips all have weight 0 counts as absent.

    Returns
    -------
    float
        In [0, 1], the higher the better.

    Raises
    ------
    ValueError
        If the arrays differ in length or are empty, or all weights are zero.

    See Also
    --------
    sklearn.metrics.balanced_accuracy_score : The same number, with a warning for predicted
        labels that are not in `y_true`.
    uar_scorer : The same as a scorer, for ``scoring=``.
    concordance_correlation : For targets that are numbers.

    Examples
    --------
    >>> from skaudio.metrics import unweighted_average_recall
    >>> unweighted_average_recall(["calm", "calm", "calm", "angry"], ["calm"] * 4)
    0.5
    """
    truth, answer = column_or_1d(y_true), column_or_1d(y_pred)
    check_consistent_length(truth, answer, sample_weight)
    if len(truth) == 0:
        raise ValueError("y_true is empty, but expected at least one clip. Score on more clips.")
    weight = _some_weight(sample_weight, truth)
    _, position = np.unique(truth, return_inverse=True)
    total = np.bincount(position, weights=weight)
    right = np.bincount(position, weights=weight * (truth == answer))
    present = total > 0
    return float(np.mean(right[present] / total[present]))


def uar_by_corpus(y_true: ArrayLike, y_pred: ArrayLike, corpus: ArrayLike) -> dict[str, float]:
    """Compute the unweighted average recall of each corpus.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_clips,)
        True and predicted labels.
    corpus : array-like of shape (n_clips,)
        Name of the corpus that each clip is of.

    Returns
    -------
    dict of str to float
        In [0, 1], by the corpora's names, sorted.

    Raises
    ------
    ValueError
        If the arrays differ in length or are empty, or the name of a corpus is missing.

    See Also
    --------
    uar_by_corpus_scorer : The mean over corpora as a scorer, for ``scoring=``.
    unweighted_average_recall : Of all clips together.

    Examples
    --------
    >>> from skaudio.metrics import uar_by_corpus
    >>> uar_by_corpus(["calm", "angry", "dog"], ["calm", "calm", "dog"], ["de", "de", "esc"])
    {'de': 0.5, 'esc': 1.0}
    """
    truth, answer = column_or_1d(y_true), column_or_1d(y_pred)
    names = check_groups(corpus, "corpus").astype(str)
    check_consistent_length(truth, answer, names)
    if len(names) == 0:
        raise ValueError("y_true, y_pred and corpus are empty, but expected at least one clip.")
    return {
        str(name): unweighted_average_recall(truth[names == name], answer[names == name])
        for name in np.unique(names)
    }


def uar_by_corpus_scorer(estimator: Any, X: Any, y: ArrayLike) -> float:
    """Score a classifier by the mean over corpora of their unweighted average recall.

    A scorer, for ``scoring=``.

    Parameters
    ----------
    estimator : fitted classifier
    X : DataFrame
        Clips, with the column ``corpus``.
    y : array-like of shape (n_clips,)

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If `X` has no such column.

    See Also
    --------
    uar_by_corpus : The recall of each corpus.
    skaudio.estimators.MultiCorpusClassifier : Takes such clips.
    """
    if "corpus" not in getattr(X, "columns", ()):
        raise ValueError(
            f"X is a {type(X).__name__} without a column 'corpus', but the score is a mean over "
            "corpora. Pass a DataFrame that has one, or scoring='balanced_accuracy'."
        )
    recalls = uar_by_corpus(y, estimator.predict(X), X["corpus"])
    return float(np.mean(list(recalls.values())))


def concordance_correlation(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: Literal["uniform_average", "raw_values"] = "uniform_average",
) -> float | NDArray[np.float64]:
    r"""Compute the concordance correlation coefficient, for targets such as arousal and valence.

    It is Pearson's correlation, lowered by any difference in mean or variance: only
    predictions on the line :math:`\hat y = y` get 1.

    Parameters
    ----------
    y_true : array-like of shape (n_clips,) or (n_clips, n_targets)
        True values.
    y_pred : array-like of the same shape
        Predicted values.
    sample_weight : array-like of shape (n_clips,), optional
        Weight of each clip, >= 0.
    multioutput : {"uniform_average", "raw_values"}, default="uniform_average"
        The mean over the targets, or one number for each.

    Returns
    -------
    float or ndarray of shape (n_targets,)
        In [-1, 1], the higher the better. Where nothing varies (one clip, constant targets or
        predictions) it is 1 for a perfect prediction and 0 for any other.

    Raises
    ------
    ValueError
        If a value is NaN or infinite, the shapes differ, or all weights are zero.

    See Also
    --------
    ccc_scorer : The same as a scorer, for ``scoring=``.
    skaudio.losses.ConcordanceLoss : The same as a training loss.
    unweighted_average_recall : For targets that are classes.

    Notes
    -----
    With weighted means :math:`\mu`, variances :math:`\sigma^2` (divided by the number of
    clips, not one less) and covariance :math:`\sigma_{y \hat y}`,

    .. math:: \rho_c = \frac{2 \sigma_{y \hat y}}
        {\sigma_y^2 + \sigma_{\hat y}^2 + (\mu_y - \mu_{\hat y})^2}

    References
    ----------
    .. [1] Lin, "A concordance correlation coefficient to evaluate reproducibility",
       Biometrics 45(1), 1989, equation 1.

    Examples
    --------
    >>> from skaudio.metrics import concordance_correlation
    >>> round(concordance_correlation([1, 2, 3], [2, 3, 4]), 3)
    0.571
    """
    if multioutput not in ("uniform_average", "raw_values"):
        raise ValueError(
            f"multioutput is {multioutput!r}, but expected 'uniform_average' or 'raw_values'."
        )
    truth, answer = _targets(y_true, "y_true"), _targets(y_pred, "y_pred")
    check_consistent_length(truth, answer, sample_weight)
    if truth.shape != answer.shape:
        raise ValueError(
            f"y_pred has {answer.shape[1]} targets per clip, but y_true has {truth.shape[1]}. "
            "Pass the same targets in both."
        )
    weight = _some_weight(sample_weight, truth)
    counted = weight > 0
    values = _concordance(truth[counted], answer[counted], weight[counted])
    return values if multioutput == "raw_values" else float(values.mean())


def _concordance(
    y_true: NDArray[np.float64], y_pred: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    # The coefficient does not change when both sides are shifted and scaled alike. After the
    # shift by the first target, constants are exactly zero, so that 0 / 0 is recognised; after
    # the scaling to magnitudes of at most 1 no square overflows (values above 1e154) or
    # underflows (below 1e-162).
    pair = np.stack([y_true, y_pred]) - y_true[0]  # side, clip, target
    size = np.abs(pair).max(axis=(0, 1))
    pair /= np.where(size > 0, size, 1.0)
    mean = np.average(pair, axis=1, weights=weight)
    centred = pair - mean[:, np.newaxis]
    moments = np.average(centred[[0, 1, 0]] * centred[[0, 1, 1]], axis=1, weights=weight)
    spread = moments[0] + moments[1] + (mean[0] - mean[1]) ** 2
    return np.where(size > 0, 2 * moments[2] / np.where(size > 0, spread, 1.0), 1.0)


def _targets(y: ArrayLike, name: str) -> NDArray[np.float64]:
    array = check_array(y, dtype=np.float64, ensure_2d=False, input_name=name)
    return array[:, np.newaxis] if array.ndim == 1 else array


def _some_weight(sample_weight: ArrayLike | None, y: NDArray[Any]) -> NDArray[np.float64]:
    weight = check_sample_weight(sample_weight, y)
    if not weight.any():  # older versions of scikit-learn accept this
        raise ValueError(
            "sample_weight is zero for every clip, but expected some weight. Pass a weight > 0 "
            "for the clips that count."
        )
    return weight


# The scorers request sample_weight by themselves, as the estimators' own ``score`` does, so
# that a user who enables metadata routing need not call set_score_request. scikit-learn allows
# a request to be set only while routing is enabled.
with config_context(enable_metadata_routing=True):
    uar_scorer = make_scorer(unweighted_average_recall).set_score_request(sample_weight=True)
    """Scorer for ``scoring=``: :func:`unweighted_average_recall` of ``predict``."""

    ccc_scorer = make_scorer(concordance_correlation).set_score_request(sample_weight=True)
    """Scorer for ``scoring=``: :func:`concordance_correlation` of ``predict``."""
