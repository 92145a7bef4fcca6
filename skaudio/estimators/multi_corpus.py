"""Recognise classes of several corpora with one network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted

from skaudio._validation import CallbackSupportMixin, Interval, fit_context, with_callbacks
from skaudio.estimators._callbacks import fit_task
from skaudio.estimators._corpora import (
    check_kind,
    check_names,
    hold_back,
    labels_of,
    make_corpora,
    name_of,
    naming,
    split_names,
)
from skaudio.estimators._data import (
    ClipSource,
    Corpus,
    check_clips,
    make_validation_set,
)
from skaudio.estimators._net import AudioNet
from skaudio.estimators._targets import ClassTarget
from skaudio.estimators._torch_state import threads
from skaudio.estimators._trained_net import TrainedNetMixin
from skaudio.estimators._training import train
from skaudio.estimators._transfer import Pretrained
from skaudio.estimators.classifier import (
    AudioClassifier,
    class_probabilities,
    log_class_probabilities,
)
from skaudio.networks import AdapterResNet

__all__ = ["MultiCorpusClassifier"]


class MultiCorpusClassifier(
    TrainedNetMixin, MetaEstimatorMixin, ClassifierMixin, CallbackSupportMixin, BaseEstimator
):
    """Neural network that learns from several corpora, each with labels of its own.

    All corpora share the trunk of the network. In networks with adapters
    (:class:`~skaudio.networks.AdapterResNet`, :class:`~skaudio.networks.AdapterRNN`,
    :class:`~skaudio.networks.FusionNet`) each has adapters, norms, pooling and a head for itself,
    in others the head alone. Training takes a batch of each corpus in turn [1]_.

    Which corpus a clip is of stands in the column ``corpus`` of `X`, so that searches,
    cross-validation and scorers of scikit-learn pass it on; or in the argument `corpus`, for
    direct calls. The other columns are what `estimator` takes, one column of paths for example.

    Parameters
    ----------
    estimator : AudioClassifier, optional
        How to train; it is cloned. None means ``AudioClassifier(AdapterResNet())``. Its
        `validation_fraction` is held back of each corpus.
    steps_per_epoch : int, optional
        Batches of each corpus in an epoch. By default an epoch shows about as many clips as there
        are.

    Attributes
    ----------
    estimator_ : AudioClassifier
        The settings that were trained with; not fitted.
    corpora_ : ndarray of shape (n_corpora,)
        Names of the corpora, sorted; those of :meth:`add_corpus` come last.
    classes_ : ndarray of shape (n_classes,)
        The labels of all corpora, sorted.
    corpus_classes_ : dict of str to ndarray
        The labels of each corpus, sorted.
    n_clips_ : dict of str to int
        Clips of each corpus that were trained on, without those held back for validation.
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_`` is the torch module.
    architecture_ : Architecture
        What it takes to build the network again.
    history_ : DataFrame
        One row per epoch, as of :class:`AudioClassifier`. ``valid_score`` is the mean over
        corpora, ``valid_score_<corpus>`` the score of each.
    n_parameters_, n_trained_parameters_ : int
        Parameters of the network, and those of them that are not frozen.
    n_features_in_ : int
        Bands seen in :meth:`fit`, or columns of a 2-D array.

    See Also
    --------
    AudioClassifier : For one corpus; its `pretrained` may be a classifier of several.
    skaudio.metrics.uar_by_corpus : Recall of each corpus.

    Notes
    -----
    ``PredefinedSplit`` with -1 for all clips of other corpora cross-validates one corpus, while
    all others are trained on in each fold.

    References
    ----------
    .. [1] Gerczuk et al., "EmoNet: A Transfer Learning Framework for Multi-Corpus Speech Emotion
       Recognition", arXiv 2103.08310, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from skaudio import AudioClassifier
    >>> from skaudio.estimators import MultiCorpusClassifier
    >>> from skaudio.networks import AdapterResNet
    >>> rng = np.random.default_rng(0)
    >>> y = np.array(["calm", "angry", "dog", "cat"] * 12)
    >>> corpus = np.array(["voices", "voices", "animals", "animals"] * 12)
    >>> X = rng.normal(size=(48, 8, 20)) + 4 * (np.arange(48) % 2)[:, None, None]
    >>> single = AudioClassifier(AdapterResNet(n_filters=4), max_epochs=5, random_state=0)
    >>> model = MultiCorpusClassifier(single).fit(X, y, corpus=corpus)
    >>> model.corpus_classes_["animals"]
    array(['cat', 'dog'], dtype='<U5')
    >>> model.predict_proba(X[:2], corpus="voices").shape
    (2, 4)
    >>> model.for_corpus("animals").classes_
    array(['cat', 'dog'], dtype='<U5')
    """

    # Metadata passes through pipelines and searches without a call by the user.
    __metadata_request__fit: ClassVar = {"sample_weight": True, "groups": True, "corpus": True}
    __metadata_request__predict: ClassVar = {"corpus": True}
    __metadata_request__predict_proba: ClassVar = {"corpus": True}
    __metadata_request__predict_log_proba: ClassVar = {"corpus": True}
    __metadata_request__score: ClassVar = {"sample_weight": True, "corpus": True}

    _parameter_constraints: dict = {
        "estimator": "no_validation",
        "steps_per_epoch": [None, Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self, estimator: AudioClassifier | None = None, *, steps_per_epoch: int | None = None
    ) -> None:
        self.estimator = estimator
        self.steps_per_epoch = steps_per_epoch

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        corpus: ArrayLike | str | None = None,
        X_val: Any = None,
        y_val: ArrayLike | None = None,
        corpus_val: ArrayLike | str | None = None,
    ) -> Self:
        """Train the network on all corpora together.

        Parameters
        ----------
        X : DataFrame with a column ``corpus``, or as in :meth:`AudioClassifier.fit`
            With no corpus named at all, all clips are of one.
        y : array-like of shape (n_clips,)
            Labels; all text, or all numbers.
        sample_weight : array-like of shape (n_clips,), optional
            Weights >= 0, scaled to mean 1 within each corpus. Clips of weight zero are left out.
        groups : array-like of shape (n_clips,), optional
            Clips of one group, such as a speaker, stay together when clips are held back for
            validation, which each corpus does on its own.
        corpus : array-like of shape (n_clips,) or str, optional
            Name of the corpus of each clip, or of all, if `X` has no such column.
        X_val, y_val, corpus_val : as `X`, `y` and `corpus`, optional
            Validation clips, of each corpus at least one, instead of holding back some of `X`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a corpus has one class only or too few clips, names of corpora are missing or given
            twice, labels mix text and numbers, or as in :meth:`AudioClassifier.fit`.
        TypeError
            If `estimator` is no :class:`AudioClassifier`.
        """
        model = self._new_model()
        pretrained = model._open_pretrained()
        clips, names = split_names(X, corpus)
        source = self._check_clips(model, clips, reset=True)
        corpora = make_corpora(model, source, y, sample_weight, groups, names)
        corpora = self._add_validation(model, corpora, X_val, y_val, corpus_val)
        checkpoints = model._open_checkpoints(corpora, pretrained, self.steps_per_epoch)
        seed = model._choose_seed(checkpoints, fresh=True)
        corpora = [hold_back(model, part, seed) for part in corpora]
        settings = model._run_settings(corpora, self.steps_per_epoch)
        with threads(model.n_threads), fit_task(self, settings) as settings:
            outputs = tuple(part.target.n_outputs for part in corpora)
            net = model._make_net(corpora, seed, pretrained, outputs)
            self._take(model, net, {name_of(part): len(part.training) for part in corpora})
            train(net, settings, corpora, checkpoints)
        return self

    def predict_proba(self, X: Any, corpus: ArrayLike | str | None = None) -> NDArray[np.float32]:
        """Compute the probability of each class.

        Parameters
        ----------
        X, corpus : as in :meth:`fit`
            The names need not be given if there was one corpus only.

        Returns
        -------
        ndarray of shape (n_clips, n_classes)
            Columns in the order of ``classes_``, zero where a label is not of the clip's corpus;
            rows sum to 1.

        Raises
        ------
        ValueError
            If a corpus is unknown, or names are missing where several corpora were fitted.
        """
        return self._predict(X, corpus, class_probabilities, elsewhere=0.0)

    def predict_log_proba(
        self, X: Any, corpus: ArrayLike | str | None = None
    ) -> NDArray[np.float32]:
        """Compute the logarithm of :meth:`predict_proba`.

        Parameters
        ----------
        X, corpus : as in :meth:`fit`

        Returns
        -------
        ndarray of shape (n_clips, n_classes)
            Minus infinity where a label is not of the clip's corpus, finite elsewhere.
        """
        return self._predict(X, corpus, log_class_probabilities, elsewhere=-np.inf)

    def predict(self, X: Any, corpus: ArrayLike | str | None = None) -> NDArray:
        """Find the most probable label of each clip, among those of its corpus.

        Parameters
        ----------
        X, corpus : as in :meth:`fit`

        Returns
        -------
        ndarray of shape (n_clips,)
        """
        most_probable = self.predict_proba(X, corpus).argmax(axis=1)
        return self.classes_[most_probable]

    def score(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        corpus: ArrayLike | str | None = None,
    ) -> float:
        """Compute the accuracy over all clips.

        Parameters
        ----------
        X, y, sample_weight, corpus : as in :meth:`fit`

        Returns
        -------
        float

        See Also
        --------
        skaudio.metrics.uar_by_corpus_scorer : Gives each corpus, and each class, the same weight.
        """
        return float(accuracy_score(y, self.predict(X, corpus), sample_weight=sample_weight))

    def for_corpus(self, name: str) -> AudioClassifier:
        """Make a classifier for one corpus, with only the weights that it needs.

        Parameters
        ----------
        name : str

        Returns
        -------
        AudioClassifier
            Fitted, and independent of this one. It predicts the same.

        Raises
        ------
        ValueError
            If there is no such corpus.
        """
        check_is_fitted(self)
        number = self._number_of(name)
        net = self.net_.for_corpora([number])
        # Further training is that of the whole network, which has no need of its origin.
        model = clone(self.estimator_).set_params(
            network=net.architecture.network, mode=None, pretrained=None
        )
        model.architecture_, model.net_ = net.architecture, net
        model.target_ = model.net_.targets[0]
        model.n_clips_ = self.n_clips_[str(name)]
        for learned in ("n_features_in_", "_clip_ndim"):
            if hasattr(self, learned):
                setattr(model, learned, getattr(self, learned))
        return model

    def add_corpus(
        self,
        X: Any,
        y: ArrayLike,
        corpus: str,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        X_val: Any = None,
        y_val: ArrayLike | None = None,
    ) -> Self:
        """Learn one more corpus, with a trunk that stays as it is.

        What was learned before is not changed by a bit. If the training fails or is interrupted,
        the model stays as it was.

        Parameters
        ----------
        X, y, sample_weight, groups, X_val, y_val
            Of the new corpus alone, as in :meth:`AudioClassifier.fit`.
        corpus : str
            Name of the new corpus.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there is a corpus of this name, or as in :meth:`fit`.
        """
        check_is_fitted(self)
        if str(corpus) in self.corpora_:
            raise ValueError(
                f"corpus {str(corpus)!r} has been fitted already, with {self.corpora_.tolist()}. "
                "Choose another name, or fit all corpora anew."
            )
        model = clone(self.estimator_).set_params(mode="adapters")
        pretrained = Pretrained(self.architecture_, self.net_.targets, self.net_.module_.network)
        clips, column = split_names(X, None)
        found = set() if column is None else set(check_names(column, len(column)).tolist())
        if found - {str(corpus)}:
            raise ValueError(
                f"X has clips of {sorted(found)} in its column 'corpus', but "
                f"add_corpus learns {str(corpus)!r}. Pass the clips of that corpus alone."
            )
        source = self._check_clips(model, clips, reset=False)
        known = self.classes_.tolist()
        (part,) = make_corpora(model, source, y, sample_weight, groups, str(corpus), known)
        check_kind(labels_of(part.target), self.classes_)
        (part,) = self._add_validation(model, [part], X_val, y_val, str(corpus))
        steps = self.steps_per_epoch
        checkpoints = model._open_checkpoints([part], pretrained, steps)
        seed = model._choose_seed(checkpoints, fresh=True)
        part = hold_back(model, part, seed)
        with threads(model.n_threads):
            net = model._make_net([part], seed, pretrained, (part.target.n_outputs,))
            train(net, model._run_settings([part], steps), [part], checkpoints)
            joined = self.net_.for_corpora(
                range(len(self.corpora_)), net, mode=self.net_.settings.mode
            )
        self._take(self.estimator_, joined, self.n_clips_ | {str(corpus): len(part.training)})
        return self

    def set_params(self, **params: Any) -> Self:
        """Set parameters; ``estimator__...`` reach into the default estimator, too.

        Parameters
        ----------
        **params
            As for any scikit-learn estimator.

        Returns
        -------
        self
        """
        if self.estimator is None and any(name.startswith("estimator__") for name in params):
            self.estimator = _default_estimator()
        return super().set_params(**params)

    def _new_model(self) -> AudioClassifier:
        """Clone the settings, and check what concerns several corpora."""
        estimator = _default_estimator() if self.estimator is None else self.estimator
        if not isinstance(estimator, AudioClassifier):
            raise TypeError(
                f"estimator is {estimator!r}, but expected an AudioClassifier, which says how to "
                "train. Put other steps into its frontend, or before this estimator in a Pipeline."
            )
        if estimator.warm_start:
            raise ValueError(
                "estimator has warm_start=True, but several corpora are always trained afresh. "
                "Set it to False; add_corpus learns one more."
            )
        if estimator.mode not in (None, "scratch", "adapters"):
            raise ValueError(
                f"estimator has mode={estimator.mode!r}, which starts from the layers of one "
                "corpus. Set mode='adapters' to start several from one trunk, or None."
            )
        model = clone(estimator)
        model._validate_params()
        model._check_options()
        return model

    def _check_clips(self, model: AudioClassifier, X: Any, *, reset: bool) -> ClipSource:
        frontend = model.frontend
        rate = None if frontend is None else frontend.sample_rate
        return check_clips(self, X, rate, effective_n_jobs(model.n_jobs), reset=reset)

    def _add_validation(
        self, model: AudioClassifier, corpora: Sequence[Corpus], X: Any, y: Any, names: Any
    ) -> list[Corpus]:
        """Check the user's own validation clips, if there are any, and hand each its corpus."""
        if (X is None) != (y is None):
            raise ValueError("X_val and y_val go together: pass both or neither.")
        if X is None:
            model._check_staged()
            return list(corpora)
        clips, names = split_names(X, names)
        source = self._check_clips(model, clips, reset=False)
        labels, names = ClassTarget().check(y, "y_val"), check_names(names, len(source))
        if len(labels) != len(source):
            raise ValueError(
                f"X_val has {len(source)} clips, but y_val has {len(labels)} entries: pass one for "
                "each clip."
            )
        known = {name_of(part) for part in corpora}
        if set(names) != known:
            raise ValueError(
                f"X_val has clips of {np.unique(names).tolist()}, but expected some of each corpus "
                f"of X, {sorted(known)}, and of no other."
            )
        result = []
        for part in corpora:
            rows = np.flatnonzero(names == name_of(part))
            with naming(part.name):
                validation = make_validation_set(
                    source.subset(rows), labels[rows], part.target, None, part.training
                )
            result.append(replace(part, validation=validation))
        return result

    def _take(self, model: AudioClassifier, net: AudioNet, n_clips: dict[str, int]) -> None:
        """Take on a net, and what it has learned to tell; `n_clips` are in the order of corpora."""
        self.estimator_ = model
        self.architecture_, self.net_ = net.architecture, net
        self.n_clips_ = n_clips
        self.corpora_ = np.array(list(n_clips))
        labels = [labels_of(target) for target in net.targets]
        self.corpus_classes_ = dict(zip(n_clips, labels, strict=True))
        self.classes_ = np.unique(np.concatenate(labels))

    def _predict(
        self,
        X: Any,
        corpus: Any,
        combine: Callable[[NDArray[np.float64], NDArray[np.int64]], NDArray[np.float32]],
        elsewhere: float,
    ) -> NDArray[np.float32]:
        """Let each corpus' clips be predicted by its layers, in the columns of its classes."""
        check_is_fitted(self)
        clips, names = split_names(X, corpus)
        source = self._check_clips(self.estimator_, clips, reset=False)
        if names is None and len(self.corpora_) == 1:
            names = str(self.corpora_[0])
        if names is None:
            raise ValueError(
                f"X names no corpus, but the model knows {self.corpora_.tolist()}. Pass a "
                "DataFrame with the column 'corpus', or corpus=."
            )
        names = check_names(names, len(source))
        numbers = {name: self._number_of(name) for name in np.unique(names)}
        result = np.full((len(source), len(self.classes_)), elsewhere, np.float32)
        for name, number in numbers.items():
            rows = np.flatnonzero(names == name)
            outputs, clip = self.estimator_._run_net(self.net_, source.subset(rows), number)
            columns = np.searchsorted(self.classes_, labels_of(self.net_.targets[number]))
            result[np.ix_(rows, columns)] = combine(outputs, clip)
        return result

    def _number_of(self, name: Any) -> int:
        found = np.flatnonzero(self.corpora_ == str(name))
        if len(found) == 0:
            raise ValueError(
                f"corpus {str(name)!r} is unknown: the model was fitted on "
                f"{self.corpora_.tolist()}. Take one of these, or learn it with add_corpus."
            )
        return int(found[0])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def _default_estimator() -> AudioClassifier:
    return AudioClassifier(AdapterResNet())
