"""Which clips are of which corpus, and what is known of each corpus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skaudio.estimators._data import ClipSource, Corpus, make_training_set
from skaudio.estimators._targets import ClassTarget, check_class_weight
from skaudio.estimators.classifier import AudioClassifier
from skaudio.exceptions import AudioFormatError

__all__ = [
    "check_kind",
    "check_names",
    "hold_back",
    "labels_of",
    "make_corpora",
    "name_of",
    "naming",
    "split_names",
]

_COLUMN = "corpus"
_UNNAMED = "default"


def split_names(X: Any, corpus: Any) -> tuple[Any, Any]:
    """Separate clips from the names of their corpora, which are None if there are none."""
    if not hasattr(X, "columns"):
        return X, corpus
    clips = X
    if _COLUMN in X.columns:
        if corpus is not None:
            raise ValueError(
                "X has a column 'corpus', and corpus= was passed as well. Leave one of them out."
            )
        clips, corpus = X.drop(columns=_COLUMN), X[_COLUMN]
    if clips.shape[1] == 0:
        raise AudioFormatError(
            "X has the column 'corpus' only, but expected clips as well: a column of paths, for "
            "example."
        )
    # A single column holds clips, paths or arrays, one in each cell, unless it holds numbers.
    others = [
        str(name) for name, column in clips.items() if not pd.api.types.is_numeric_dtype(column)
    ]
    if others and clips.shape[1] > 1:
        raise AudioFormatError(
            f"X has {clips.shape[1]} columns beside 'corpus', of which {others[0]!r} holds no "
            "numbers, but expected one column of clips, or a table of numbers. Pass that of the "
            "clips and 'corpus' alone."
        )
    return clips.iloc[:, 0].tolist() if others else clips, corpus


def check_names(names: Any, n_clips: int) -> NDArray[np.str_]:
    """Return a name for each clip, as text; without names, all are of one corpus."""
    if names is None or isinstance(names, str):
        return np.full(n_clips, _UNNAMED if names is None else names)
    found = np.asarray(names, dtype=object)
    if found.shape != (n_clips,):
        raise ValueError(
            f"corpus has the shape {found.shape}, but there are {n_clips} clips: pass one name for "
            "each, or one for all."
        )
    missing = np.flatnonzero(pd.isna(found))
    if len(missing):
        raise ValueError(
            f"corpus is missing for clip {missing[0]} ({found[missing[0]]!r}), and for "
            f"{len(missing) - 1} more. Name the corpus of each clip."
        )
    return found.astype(str)


def check_labels(y: Any, source: ClipSource) -> NDArray:
    """Check the labels of all corpora together."""
    if y is None:
        raise ValueError(
            "Training requires y to be passed, but the target y is None. Pass one entry per clip."
        )
    labels = ClassTarget().check(y)
    if len(labels) != len(source):
        raise ValueError(
            f"X has {len(source)} clips, but y has {len(labels)} entries: pass one for each clip."
        )
    return labels


def check_kind(labels: NDArray, known: NDArray) -> None:
    """Refuse to mix text and numbers: they have no common order."""
    if (labels.dtype.kind in "OUS") != (known.dtype.kind in "OUS"):
        raise ValueError(
            f"y has labels such as {labels.tolist()[0]!r}, but those of the other corpora are like "
            f"{known.tolist()[0]!r}: text and numbers have no common order. Make all of them text."
        )


def make_corpora(
    model: AudioClassifier,
    source: ClipSource,
    y: Any,
    sample_weight: Any,
    groups: Any,
    names: Any,
    others: Any = (),
) -> list[Corpus]:
    """Divide clips among corpora; check and encode what is known of each.

    `others` are labels of further corpora, which `class_weight` may name.
    """
    labels = check_labels(y, source)
    is_unnamed = names is None
    names = check_names(names, len(source))
    given = {"sample_weight": sample_weight, "groups": groups}
    known = {what: None if v is None else np.asarray(v) for what, v in given.items()}
    for what, values in known.items():
        if values is not None and values.shape != (len(source),):
            raise ValueError(
                f"{what} has shape {values.shape}, but there are {len(source)} clips: pass one "
                "entry for each."
            )
    target = model._new_target(y)  # of all, as the order of an ordered Categorical is
    if isinstance(target.class_weight, Mapping):
        check_class_weight(target.class_weight, np.unique([*labels.tolist(), *others]))
    result = []
    for number, name in enumerate(np.unique(names)):
        rows = np.flatnonzero(names == name)
        weight, group = (None if v is None else v[rows] for v in known.values())
        with naming(None if is_unnamed else name):
            learned, training = make_training_set(
                source.subset(rows), labels[rows], _with_own(target, labels[rows]), weight, group,
                before=None, corpus=number,
            )  # fmt: skip
        result.append(Corpus(learned, training, name=None if is_unnamed else str(name)))
    return result


def _with_own(target: ClassTarget, labels: NDArray) -> ClassTarget:
    """Keep the weights of a corpus' own labels."""
    if not isinstance(target.class_weight, Mapping):
        return target
    own = set(labels.tolist())
    weights = {label: w for label, w in target.class_weight.items() if label in own}
    return replace(target, class_weight=weights or None)


def hold_back(model: AudioClassifier, corpus: Corpus, seed: int) -> Corpus:
    with naming(corpus.name):
        return model._hold_back(corpus, seed)


def labels_of(target: Any) -> NDArray:
    return target.labels  # only classes are learned here


def name_of(corpus: Corpus) -> str:
    return _UNNAMED if corpus.name is None else corpus.name


@contextmanager
def naming(corpus: str | None) -> Iterator[None]:
    """Say in errors which corpus they are about."""
    try:
        yield
    except ValueError as error:
        if corpus is None:
            raise
        raise type(error)(f"corpus {str(corpus)!r}: {error}") from error
