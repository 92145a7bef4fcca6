"""What the commands for everybody do: fit, predict with, and evaluate any saved model."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from sklearn.base import is_classifier, is_regressor
from sklearn.metrics import mean_absolute_error
from sklearn.pipeline import Pipeline

import skaudio.networks as networks
from skaudio.callbacks import EpochLog
from skaudio.cli.reporting import bar_level
from skaudio.cli.results import evaluate_labels, tabulate, write_text
from skaudio.cli.tables import check_labels, find_paths, read_numbers, read_table
from skaudio.estimators import AudioClassifier, MultiCorpusClassifier
from skaudio.features import LogMelSpectrogram
from skaudio.metrics import concordance_correlation
from skaudio.persistence import describe, load, save
from skaudio.pipelines import audio_pipeline

__all__ = ["evaluate", "fit", "predict"]


def fit(options: Mapping[str, Any], network: str, verbosity: int) -> dict[str, Any]:
    """Train a model on a table, and save it; see ``skaudio fit``.

    Returns
    -------
    dict
        Labels and number of clips, and of a network what its card says of the training.
    """
    path, groups = options["table"], options["groups"]
    base = options["data_path"] or path.parent
    table = read_table(path, base)
    if groups is not None:
        _check_groups(path, table, groups)
    files, labels = find_paths(table, base), table["label"].tolist()
    if len(set(labels)) < 2:
        raise ValueError(f"{path}: has the single label {labels[0]!r}, but expected several.")
    _check_output(options["output"])
    if options["pipeline"] is not None:
        pipeline = audio_pipeline(options["pipeline"], random_state=options["seed"])
        pipeline.set_params(loader__n_jobs=options["n_jobs"]).fit(files, labels)
        save(pipeline.set_params(loader__n_jobs=None), options["output"])
        return {"labels": pipeline.classes_.tolist(), "n_clips": len(files)}
    model = AudioClassifier(
        getattr(networks, network)(),
        frontend=LogMelSpectrogram(sample_rate=options["sample_rate"]),
        crop=options["crop"],
        augmentation=options["augmentation"],
        class_weight="balanced" if options["balanced"] else None,
        max_epochs=options["epochs"],
        early_stopping=groups is not None,
        callbacks=[EpochLog()],
        n_jobs=options["n_jobs"],
        random_state=options["seed"],
        verbose=bar_level(verbosity),
    )
    model.fit(files, labels, groups=None if groups is None else table[groups].tolist())
    save(model.set_params(callbacks=None, n_jobs=None, verbose=0), options["output"])
    card = describe(options["output"])
    return {name: card[name] for name in ("labels", "n_clips", "training")}


def predict(path: Path, files: Sequence[Path], corpus: str | None) -> pd.DataFrame:
    """Let a saved model recognise what is in files; see ``skaudio predict``."""
    return _predict(_open(path, corpus), list(map(str, files)))


def evaluate(path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Compare a saved model with the labels of a table; see ``skaudio evaluate``."""
    model = _open(path, options["corpus"])
    base = options["data_path"] or options["table"].parent
    table = read_table(options["table"], base)
    truth: Any = table["label"].tolist()
    if is_classifier(model):
        check_labels(options["table"], table, _labels(model), path)
    else:
        truth = read_numbers(options["table"], table)
    found = _predict(model, find_paths(table, base)).assign(filename=table["file"])
    if "prediction_0" in found:
        raise ValueError(
            f"{path}: estimates {len(found.columns) - 1} numbers for each clip, but the table's "
            "label is a single one. Evaluate it from Python, as with sklearn.metrics."
        )
    answer = found.iloc[:, -1].tolist()
    if options["predictions"] is not None:
        written = found.assign(true_label=table["label"])
        write_text(options["predictions"], written.to_csv(index=False))
    if is_classifier(model):
        return evaluate_labels(truth, answer, _labels(model))
    return {
        "n_clips": len(truth),
        "concordance_correlation": concordance_correlation(truth, answer),
        "mean_absolute_error": float(mean_absolute_error(truth, answer)),
    }


def _check_output(path: Path) -> None:
    """Find out before the training whether its result can be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise click.BadParameter(
            f"nothing can be written to {path.parent} ({error}). Choose another folder.",
            param_hint="-o",
        ) from error


def _check_groups(path: Path, table: pd.DataFrame, column: str) -> None:
    """Refuse a column of groups that no validation clips can be chosen by."""
    fault = None
    if column not in table:
        fault = f"has no column {column!r}, but {', '.join(table.columns)}."
    elif not isinstance(table[column], pd.Series):
        fault = f"has several columns {column!r}. Leave one."
    elif empty := table["file"][table[column] == ""].tolist():
        fault = (
            f"has no {column} of {len(empty)} clips, such as {empty[0]}. Fill the cells, or leave "
            "the lines out."
        )
    elif table[column].nunique() < 2:
        fault = (
            f"has the single {column} {table[column].iloc[0]!r}, but expected several, of which "
            "some validate the training. Leave --groups out."
        )
    if fault is not None:
        raise click.BadParameter(f"{path} {fault}", param_hint="--groups")


def _open(path: Path, corpus: str | None) -> Any:
    """Load a model that recognises; of several corpora the part for one."""
    model = load(path)
    if isinstance(model, MultiCorpusClassifier):
        if corpus is None:
            raise click.UsageError(
                f"{path} knows the corpora {', '.join(model.corpora_)}. Say which one the files "
                "are of, with --corpus."
            )
        return model.for_corpus(corpus)
    if corpus is not None:
        raise click.UsageError(f"{path} was not trained on several corpora. Leave --corpus out.")
    if not is_classifier(model) and not is_regressor(model):
        raise ValueError(
            f"{path}: holds a {type(model).__name__}, which recognises nothing, but expected a "
            "classifier or regressor, or a pipeline with one at its end."
        )
    return model


def _labels(model: Any) -> list[str]:
    return [str(label) for label in model.classes_]


def _predict(model: Any, files: list[str]) -> pd.DataFrame:
    if is_classifier(model) and hasattr(model, "predict_proba"):
        table = tabulate(files, model.predict_proba(files), _labels(model))
        last = model.steps[-1][1] if isinstance(model, Pipeline) else model
        # A network chooses the most probable label, which spares a second pass through it. Others
        # may not: classifiers with a threshold, or support vector machines.
        if not isinstance(last, AudioClassifier):
            table["pred_label"] = np.asarray(model.predict(files)).astype(str)
        return table
    answer = np.asarray(model.predict(files))
    if is_classifier(model):
        return pd.DataFrame({"filename": files, "pred_label": answer.astype(str)})
    if answer.ndim > 1 and answer.shape[1] == 1:  # fitted on one column
        answer = answer[:, 0]
    if answer.ndim > 1:
        columns = {f"prediction_{i}": answer[:, i] for i in range(answer.shape[1])}
        return pd.DataFrame({"filename": files, **columns})
    return pd.DataFrame({"filename": files, "prediction": answer})
