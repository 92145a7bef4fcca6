"""What a network learns to tell of a clip: its class, or numbers.

A target knows how values from the user are checked, encoded for the loss, weighed and scored,
how many outputs a network needs for them, and what their first bias is. An estimator composes
one; nothing else in the package asks whether it is classes or numbers that are learned.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from skaudio.metrics import concordance_correlation, unweighted_average_recall

__all__ = ["ClassTarget", "NumberTarget", "Target", "check_class_weight"]

_LARGEST = float(np.finfo(np.float32).max)  # losses are computed in float32


class Target(ABC):
    """How one kind of target is treated.

    Objects are made unlearned, from an estimator's parameters; :meth:`learn` returns one that
    knows the classes, or the scale, of a training set.
    """

    stratifies: ClassVar[bool]
    """Whether splits keep the shares of the classes."""

    @abstractmethod
    def check(self, y: Any, name: str = "y") -> NDArray:
        """Check targets as they come from the user; `name` is what messages call them."""

    @abstractmethod
    def learn(self, y: NDArray, weight: NDArray | None, before: Self | None = None) -> Self:
        """Learn how to encode from checked targets; what `before` has learned stays as it is."""

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Outputs that a network needs."""

    @abstractmethod
    def encode(self, y: NDArray, name: str = "y") -> NDArray:
        """Turn checked targets into what the loss wants."""

    @abstractmethod
    def decide(self, output: NDArray) -> NDArray:
        """Turn outputs of a network into the most likely encoded targets."""

    @abstractmethod
    def identity(self) -> Any:
        """Return what tells this target from others, to be hashed."""

    @abstractmethod
    def is_like(self, other: Target) -> bool:
        """Tell whether outputs that were learned for another target say the same here."""

    @abstractmethod
    def probabilities(self, output: NDArray) -> NDArray:
        """Turn outputs of a network into probabilities of classes; numbers stay as they are."""

    @abstractmethod
    def score(self, target: NDArray, output: NDArray) -> float:
        """Compare encoded targets with outputs of a network; the higher the better."""

    @abstractmethod
    def first_bias(self, target: NDArray, weight: NDArray | None) -> NDArray[np.float64]:
        """Return what an untrained network should answer, shape (n_outputs,)."""

    def weigh(
        self, target: NDArray, weight: NDArray | None, *, rescale: bool = True, name: str = "y"
    ) -> NDArray[np.float64] | None:
        """Weigh encoded targets, by default to mean 1; None where all count the same.

        `rescale` has to be off where these clips are one chunk among others, so that a weight
        means the same in each chunk. `name` is what messages call the targets.
        """
        if weight is None:
            return None
        with np.errstate(over="ignore"):
            mean = weight.mean()
        if not np.isfinite(mean) or (not rescale and weight.max() > _LARGEST):
            raise ValueError(
                f"sample_weight and class_weight give clips weights up to {weight.max():.3g}, "
                "whose sum overflows. Divide them by a constant: only their ratios matter."
            )
        if rescale and not weight.any():
            raise ValueError(
                f"All clips weigh 0 after class_weight, so that {name} would say nothing. Raise "
                f"the weight of a class that {name} holds."
            )
        if np.all(weight == (weight[0] if rescale else 1)):
            return None
        return weight / mean if rescale else weight


@dataclass(frozen=True)
class ClassTarget(Target):
    """Labels of any kind, encoded as class numbers.

    Parameters
    ----------
    class_weight : {"balanced"}, dict or None
        Weights by label.
    order : sequence of labels or None
        All labels from the lowest to the highest, for the ordinal loss.
    classes : ndarray of shape (n_classes,) or None
        The labels, sorted. Given beforehand, :meth:`learn` takes these.
    factors : ndarray of shape (n_classes,) or None
        Learned: what each class number's weight is multiplied by.
    """

    class_weight: Any = None
    order: Sequence[Any] | None = None
    classes: NDArray | None = None
    factors: NDArray[np.float64] | None = None

    stratifies: ClassVar[bool] = True

    def check(self, y: Any, name: str = "y") -> NDArray:
        if isinstance(y, (list, tuple)):  # numpy would make text of mixed labels
            _sortable(np.array([*y, None], dtype=object)[:-1], name)
        if isinstance(y, pd.DataFrame) and y.shape[1] == 1 and _is_extension(y.iloc[:, 0]):
            y = y.iloc[:, 0]
        if _is_extension(y):
            values = np.asarray(y, dtype=object)
            _refuse_missing(values, name)  # numpy would make NaN of them,
            y = pd.Series(values).infer_objects().to_numpy()  # and 1.0 of what is True or 1
        y = _sortable(column_or_1d(y, warn=True), name)
        assert_all_finite(y, input_name=name)
        check_classification_targets(y)
        return y

    def learn(self, y: NDArray, weight: NDArray | None, before: Self | None = None) -> Self:
        order, classes = self.order, self.classes
        if before is not None:
            order, classes = before.order if order is None else order, before.classes
        if classes is None:
            classes = np.unique(y)
        if len(classes) < 2:
            raise ValueError(
                f"y holds one class only, {classes.tolist()}, but a classifier needs at least two. "
                "Add clips of another class."
            )
        learned = replace(self, classes=classes, order=order)
        if isinstance(self.class_weight, Mapping):
            # Without its keys, of which a saved file takes texts and numbers alone.
            factors = check_class_weight(self.class_weight, classes)
            return replace(learned, class_weight=None, factors=factors)
        if self.class_weight == "balanced":
            return replace(learned, factors=_balance(learned.encode(y), weight, len(classes)))
        return learned

    @property
    def n_outputs(self) -> int:
        return len(self.labels)

    @property
    def labels(self) -> NDArray:
        """The classes, once learned."""
        assert self.classes is not None, "learn comes first"
        return self.classes

    def encode(self, y: NDArray, name: str = "y") -> NDArray:
        unknown = np.setdiff1d(y, self.labels)
        if len(unknown):
            remedy = (
                "Pass all labels there (partial_fit has `classes`)"
                if name == "y"
                else "Leave such clips out, or add some to y"
            )
            raise ValueError(
                f"{name} holds the label {unknown.tolist()[0]!r}, which is not one of the classes "
                f"that are trained: {self.labels.tolist()}. {remedy}."
            )
        return np.searchsorted(self.labels, y).astype(np.int64)

    def decide(self, output: NDArray) -> NDArray:
        return output.argmax(axis=1)

    def identity(self) -> Any:
        # As lists, since equal labels may come as strings or objects.
        return self.labels.tolist(), None if self.order is None else list(self.order)

    def is_like(self, other: Target) -> bool:
        return isinstance(other, ClassTarget) and np.array_equal(self.labels, other.labels)

    def probabilities(self, output: NDArray) -> NDArray:
        return softmax(output, axis=1)

    def score(self, target: NDArray, output: NDArray) -> float:
        return unweighted_average_recall(target, self.decide(output))

    def first_bias(self, target: NDArray, weight: NDArray | None) -> NDArray[np.float64]:
        """Return the logarithm of the classes' shares, which the softmax turns into the shares.

        Rare classes, and those that weigh nothing, count as a thousandth of the largest, so that
        the logarithm stays finite. Of a class that is missing in a first chunk nothing is known:
        it counts as the mean of the others.
        """
        shares = np.bincount(target, weights=weight, minlength=self.n_outputs).astype(float)
        if not shares.any():  # a first chunk of classes that weigh nothing
            return np.zeros(self.n_outputs)
        is_there = np.bincount(target, minlength=self.n_outputs) > 0
        shares[~is_there] = shares[is_there].mean()
        return np.log(np.maximum(shares, 1e-3 * shares.max()) / shares.sum())

    def weigh(
        self, target: NDArray, weight: NDArray | None, *, rescale: bool = True, name: str = "y"
    ) -> NDArray[np.float64] | None:
        if self.factors is not None:
            by_class = self.factors[target]
            weight = by_class if weight is None else by_class * weight
        return super().weigh(target, weight, rescale=rescale, name=name)

    def ranks(self) -> NDArray[np.int64]:
        """Return the rank of each class number, for losses that know an order.

        Raises
        ------
        ValueError
            If `order` does not list the labels, or labels that are neither numbers nor numbers
            written as text come without an order.
        """
        labels = self.labels.tolist()
        if self.order is not None:
            order = list(self.order)
            # cross_val_predict and voting number the sorted labels before they call `fit`.
            if labels == list(range(len(labels))) and not set(order) & set(labels):
                if len(labels) < len(order):
                    raise ValueError(
                        f"y holds the numbers {labels} in place of the labels of class_order="
                        f"{list(self.order)}, and lacks one of them, so that it is not known which "
                        "they stand for. Use folds that have each class, such as those of "
                        "StratifiedKFold, or cross_val_predict with method='predict'."
                    )
                order = [sorted(order).index(label) for label in order]
            order = [label for label in order if label in labels]  # a fold may lack some
            if len(order) != len(set(order)) or set(order) != set(labels):
                raise ValueError(
                    f"class_order={list(self.order)} does not list each of the classes {labels} "
                    "once. Pass all of them, from the lowest to the highest."
                )
            return np.array([order.index(label) for label in labels])
        try:
            values = np.array([float(label) for label in labels])
        except (TypeError, ValueError):
            values = np.array([np.nan])
        # "nan" is text that is no number, and "1" and "1.0" are one number.
        if np.isnan(values).any() or len(np.unique(values)) < len(labels):
            raise ValueError(
                f"loss='ordinal' needs to know the order of the classes {labels}. Pass "
                "class_order=[...] from the lowest to the highest, or y as an ordered pandas "
                "Categorical."
            )
        # The position of each value among the sorted ones: sorting the order inverts it.
        return values.argsort(kind="stable").argsort(kind="stable")


@dataclass(frozen=True)
class NumberTarget(Target):
    """One or several numbers, standardised for the training.

    Parameters
    ----------
    mean, scale : ndarray of shape (n_targets,) or None
        Learned: (weighted) mean and deviation; a constant target has the scale 1.
    is_flat : bool
        Learned: whether `y` came as one axis.
    """

    mean: NDArray[np.float64] | None = None
    scale: NDArray[np.float64] | None = None
    is_flat: bool = True

    stratifies: ClassVar[bool] = False

    def check(self, y: Any, name: str = "y") -> NDArray:
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name=name)
        if y.ndim not in (1, 2):
            raise ValueError(
                f"{name} has shape {y.shape}, but expected (n_clips,) or (n_clips, n_targets)."
            )
        return y

    def learn(self, y: NDArray, weight: NDArray | None, before: Self | None = None) -> Self:
        if before is not None:
            return before
        columns = y.reshape(len(y), -1)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = np.average(columns, axis=0, weights=weight)
            deviation = np.sqrt(np.average((columns - mean) ** 2, axis=0, weights=weight))
        if not np.isfinite(deviation).all():
            largest = np.abs(columns).max()
            raise ValueError(
                f"y holds values up to {largest:.3g}, whose squares or weighted sums overflow. "
                "Divide y (or sample_weight) by a constant."
            )
        # A mean of equal values is off by rounding, the more so the more there are, and looks like
        # a deviation; so does the rounding of nearly equal ones.
        is_constant = columns.max(axis=0) == columns.min(axis=0)
        mean = np.where(is_constant, columns[0], mean)
        varies = ~is_constant & (deviation > 10 * np.finfo(np.float64).eps * np.abs(mean))
        return replace(self, mean=mean, scale=np.where(varies, deviation, 1.0), is_flat=y.ndim == 1)

    @property
    def n_outputs(self) -> int:
        return len(self._moments[0])

    @property
    def _moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        assert self.mean is not None, "learn comes first"
        assert self.scale is not None
        return self.mean, self.scale

    def encode(self, y: NDArray, name: str = "y") -> NDArray:
        columns = y.reshape(len(y), -1)
        mean, scale = self._moments
        if columns.shape[1] != self.n_outputs:
            raise ValueError(
                f"{name} has {columns.shape[1]} targets, but the first fit had {self.n_outputs}. "
                "Pass as many, or start with a new estimator."
            )
        encoded = (columns - mean) / scale
        if np.abs(encoded).max() > _LARGEST:
            raise ValueError(
                f"{name} holds {np.abs(columns).max():.3g}, which is too far from the training "
                f"set's mean of {mean[0]:.3g} (deviation {scale[0]:.3g}) for float32. Remove it."
            )
        return encoded.astype(np.float32)

    def decode(self, output: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn outputs of a network into the targets' own units, with the axes of `y`."""
        mean, scale = self._moments  # float64, so that large targets keep their digits
        y = output * scale + mean
        return y[:, 0] if self.is_flat else y

    def decide(self, output: NDArray) -> NDArray:
        return output

    def identity(self) -> Any:
        return self.mean, self.scale

    def is_like(self, other: Target) -> bool:
        return False  # numbers have no names by which they could be known again

    def probabilities(self, output: NDArray) -> NDArray:
        return output

    def score(self, target: NDArray, output: NDArray) -> float:
        return float(concordance_correlation(target, output))

    def first_bias(self, target: NDArray, weight: NDArray | None) -> NDArray[np.float64]:
        """Return zeros: the mean, once standardised."""
        return np.zeros(self.n_outputs)


def _is_extension(y: Any) -> bool:
    """Tell whether labels have a type of pandas' own, such as Int64 or category."""
    return isinstance(getattr(y, "dtype", None), pd.api.extensions.ExtensionDtype)


def _refuse_missing(labels: NDArray, name: str) -> None:
    missing = np.flatnonzero(pd.isna(labels))
    if len(missing):
        raise ValueError(
            f"{name} has no label for clip {missing[0]}, but {labels[missing[0]]!r}. Add the label "
            "or leave the clip out."
        )


def _sortable(labels: NDArray, name: str) -> NDArray:
    """Return labels held as objects in a dtype that can be sorted, if they are of one kind."""
    if labels.dtype != object:
        return labels
    _refuse_missing(labels, name)
    texts = [isinstance(label, str) for label in labels]
    if all(texts):
        return labels
    if any(texts):
        i, j = texts.index(True), texts.index(False)
        raise ValueError(
            f"{name} mixes text and other labels, such as {labels[i]!r} of clip {i} and "
            f"{labels[j]!r} of clip {j}, which have no common order. Make all of them text."
        )
    return np.array(labels.tolist())


def _balance(target: NDArray, weight: NDArray | None, n_classes: int) -> NDArray[np.float64]:
    """Return the factors that let all classes at hand weigh the same, with mean 1 over clips.

    With W_c the total weight of class c, W their sum and C the number of classes at hand, the
    factor W / (C * W_c) gives each class the total W / C.
    """
    totals = np.bincount(target, weights=weight, minlength=n_classes).astype(np.float64)
    present = totals > 0
    factors = np.zeros_like(totals)
    factors[present] = totals.sum() / (present.sum() * totals[present])
    return factors


def check_class_weight(class_weight: Mapping, classes: NDArray) -> NDArray[np.float64]:
    """Return each class' weight, whether or not clips of it are at hand."""
    known = classes.tolist()
    unknown = [label for label in class_weight if label not in known]
    without = [label for label in known if label not in class_weight]
    # A fold may lack a class that has a weight; but where a class has none, a label that nobody
    # knows is probably a misspelt one.
    if unknown and without:
        raise ValueError(
            f"class_weight has the label {unknown[0]!r}, which is not one of the classes {known}, "
            f"and no weight for {without[0]!r}. Correct the label, or leave it out: labels left "
            "out weigh 1."
        )
    weights = compute_class_weight(dict(class_weight), classes=classes, y=classes)
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise ValueError(
            f"class_weight gives {known[wrong[0]]!r} the weight {weights[wrong[0]]}, but expected "
            "a finite number >= 0."
        )
    if not weights.any():
        raise ValueError(
            f"class_weight gives all classes {known} the weight 0, so that nothing would be "
            "learned. Raise at least one of them."
        )
    return weights
