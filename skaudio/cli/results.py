"""What a model achieved: metrics, predictions and the picture of a confusion matrix, as files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score, confusion_matrix

from skaudio.metrics import unweighted_average_recall

__all__ = ["draw_confusion", "evaluate_labels", "tabulate", "to_json", "write_json", "write_text"]


def tabulate(
    files: Sequence[str],
    probability: NDArray,
    labels: Sequence[str],
    truth: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Make the table of predictions.

    Parameters
    ----------
    files : sequence of str
    probability : ndarray of shape (n_clips, n_classes)
    labels : sequence of str
        Of the columns.
    truth : sequence of str, optional
        Label of each clip.

    Returns
    -------
    DataFrame
        Columns ``filename``, ``probability_<class>`` of each class, ``pred_label``, and, if known,
        ``true_label``.
    """
    columns = {f"probability_{label}": probability[:, i] for i, label in enumerate(labels)}
    predicted = np.asarray(labels, dtype=object)[probability.argmax(axis=1)]
    table = pd.DataFrame({"filename": list(files), **columns, "pred_label": predicted})
    return table if truth is None else table.assign(true_label=list(truth))


def evaluate_labels(
    truth: Sequence[str], predicted: Sequence[str], labels: Sequence[str]
) -> dict[str, Any]:
    """Compare labels.

    Parameters
    ----------
    truth, predicted : sequence of str
    labels : sequence of str
        In the order of the confusion matrix.

    Returns
    -------
    dict
        ``n_clips``, ``unweighted_average_recall``, ``accuracy``, ``recall`` (of each class, None
        where there are no clips), ``labels``, and ``confusion_matrix`` with a row for each true
        and a column for each predicted label.
    """
    counts = confusion_matrix(list(truth), list(predicted), labels=list(labels))
    recall = {
        label: float(row[i] / row.sum()) if row.sum() else None
        for i, (label, row) in enumerate(zip(labels, counts, strict=True))
    }
    return {
        "n_clips": len(truth),
        "unweighted_average_recall": unweighted_average_recall(list(truth), list(predicted)),
        "accuracy": float(accuracy_score(list(truth), list(predicted))),
        "recall": recall,
        "labels": list(labels),
        "confusion_matrix": counts.tolist(),
    }


def draw_confusion(path: Path, metrics: dict[str, Any], title: str) -> None:
    """Draw a confusion matrix, each row coloured by the share of the true class.

    Parameters
    ----------
    path : Path
        Of the PNG file.
    metrics : dict
        As :func:`evaluate_labels` returns it.
    title : str
    """
    from matplotlib.figure import Figure

    counts, labels = np.array(metrics["confusion_matrix"]), metrics["labels"]
    side = 2.5 + 0.55 * len(labels)  # inches
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.add_subplot()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    display = ConfusionMatrixDisplay(shares, display_labels=labels)
    display.plot(
        ax=axes, cmap="Blues", colorbar=False, xticks_rotation=45, im_kw={"vmin": 0, "vmax": 1}
    )
    for place, text in np.ndenumerate(display.text_):
        text.set_text(str(counts[place]))
    for label in axes.get_xticklabels():
        label.set(ha="right", rotation_mode="anchor")
    recall = metrics["unweighted_average_recall"]
    axes.set_title(f"{title}\nunweighted average recall {recall:.3f}, {metrics['n_clips']} clips")
    _replace(path, lambda part: figure.savefig(part, format="png", dpi=120))


def to_json(value: Any) -> str:
    """Write a value as JSON for people: a line each, but for lists of numbers."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    # A text in JSON has no line breaks, so that none is taken for such a list.
    return re.sub(r"\[\n[-\d.e,\s]*\]", lambda found: re.sub(r"\s+", "", found[0]), text)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON."""
    write_text(path, to_json(value) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text, so that under its name there is never a part of it.

    Parameters
    ----------
    path : Path
        A file, whose folder is made if needed; or a device or pipe, such as ``/dev/stdout``.
    text : str

    Raises
    ------
    OSError
        If it cannot be written, as on a full disk.
    """
    _replace(path, lambda part: part.write_text(text, encoding="utf-8"))


def _replace(path: Path, write: Any) -> None:
    try:
        if path.exists() and not path.is_file():
            write(path)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            write(part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        remedy = "Make space there or choose another folder"
        raise OSError(error.errno, f"{error.strerror}. {remedy}", str(path)) from error
