"""Many corpora, one network: what they share, what is their own, what scikit-learn passes on."""

import pickle
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    PredefinedSplit,
    StratifiedKFold,
    cross_val_predict,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skorch.callbacks import Callback
from torch import nn

import skaudio
from skaudio import AudioClassifier, AudioRegressor, LogMelSpectrogram, MultiCorpusClassifier
from skaudio.exceptions import SkaudioWarning
from skaudio.metrics import uar_by_corpus, uar_by_corpus_scorer
from skaudio.networks import AdapterResNet, DiffResNet, MTSNet, SeparableNet, VGG16Net

RESNET = AdapterResNet(n_filters=2, n_blocks=1)
PLAIN = MTSNet(n_filters=(4,))
NETWORKS = [
    RESNET, PLAIN, SeparableNet(n_filters=(4, 4)), DiffResNet(backbone=MTSNet(n_filters=(4,))),
    VGG16Net(width=0.02),
]  # fmt: skip
LABELS = {"de": ["angry", "calm"], "pets": ["cat", "cow", "dog"], "ur": ["angry", "calm", "sad"]}


def single(network=RESNET, **parameters):
    return AudioClassifier(
        clone(network),
        **{"max_epochs": 2, "batch_size": 8, "lr": 1e-2, "random_state": 0, **parameters},
    )


def make_corpora(names=("de", "pets", "ur"), n_clips=20, n_bands=6, n_frames=(10, 14), seed=0):
    """A table with a clip in each cell, labels, and the speakers of the clips."""
    rng = np.random.default_rng(seed)
    rows, y, speakers = [], [], []
    for name in names:
        labels = LABELS[name]
        for i in range(n_clips):
            clip = rng.normal(size=(n_bands, rng.integers(*n_frames))).astype(np.float32)
            clip[2 * (i % len(labels))] += 5
            rows.append({"clip": clip, "corpus": name})
            y.append(labels[i % len(labels)])
            speakers.append(f"{name}_{i % 5}")
    order = rng.permutation(len(rows))
    table = pd.DataFrame(rows).iloc[order].reset_index(drop=True)
    return table, np.array(y)[order], np.array(speakers)[order]


@pytest.fixture(scope="module")
def corpora():
    return make_corpora()


@pytest.fixture(scope="module")
def fitted(corpora):
    X, y, _ = corpora
    return MultiCorpusClassifier(single()).fit(X, y)


def state_of(model):
    return {name: part.clone() for name, part in model.net_.module_.network.state_dict().items()}


def changed(before, after):
    return {k for k in after if k not in before or not torch.equal(after[k], before[k])}


def of(X, name):
    return (X["corpus"] == name).to_numpy()


# ---------------------------------------------------------------------------------------- laws


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)
def test_a_step_moves_nothing_of_other_corpora(corpora, network):
    X, y, _ = corpora
    steps = []

    class Watch(Callback):
        def on_batch_begin(self, net, training=False, **kwargs):
            self.before = {k: v.clone() for k, v in net.module_.network.state_dict().items()}

        def on_batch_end(self, net, batch=None, training=False, **kwargs):
            moved = changed(self.before, net.module_.network.state_dict())
            number = int(batch[0]["corpus"][0])
            others = tuple(f"sets.{i}." for i in range(3) if i != number)
            steps.append(number)
            assert not any(name.startswith(others) for name in moved)
            assert any(name.startswith(f"sets.{number}.") for name in moved)
            assert any(name.startswith("trunk.") for name in moved)

    MultiCorpusClassifier(
        single(network, callbacks=[Watch()], max_epochs=1, weight_decay=0.1), steps_per_epoch=4
    ).fit(X, y)
    assert steps == [0, 1, 2] * 4


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)
def test_a_clip_is_predicted_the_same_alone_and_among_others(corpora, network):
    X, y, _ = corpora
    model = MultiCorpusClassifier(single(network)).fit(X, y)
    together = model.predict_proba(X)
    for i in range(0, len(X), 7):
        alone = model.predict_proba(X.iloc[[i]])
        np.testing.assert_allclose(alone[0], together[i], rtol=1e-4, atol=1e-6)
        named = model.predict_proba([X["clip"][i]], corpus=X["corpus"][i])
        np.testing.assert_array_equal(alone, named)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"early_stopping": True}, {"mixup": 0.2, "lr_schedule": "multistep", "max_epochs": 3}],
    ids=str,
)
def test_one_corpus_without_adapters_gives_the_bits_of_the_estimator(corpora, parameters):
    X, y, speakers = corpora
    X, y, speakers = X[of(X, "pets")], y[of(X, "pets")], speakers[of(X, "pets")]
    clips = X["clip"].tolist()
    expected = single(PLAIN, **parameters).fit(clips, y, groups=speakers)
    model = MultiCorpusClassifier(single(PLAIN, **parameters)).fit(clips, y, groups=speakers)
    np.testing.assert_array_equal(model.predict_proba(clips), expected.predict_proba(clips))
    columns = [name for name in expected.history_ if name != "dur"]
    np.testing.assert_array_equal(model.history_[columns], expected.history_[columns])
    named = MultiCorpusClassifier(single(PLAIN, **parameters)).fit(X, y, groups=speakers)
    np.testing.assert_array_equal(named.predict_proba(X), expected.predict_proba(clips))


def test_probabilities_are_zero_outside_the_corpus(fitted, corpora):
    X, _, _ = corpora
    assert fitted.classes_.tolist() == ["angry", "calm", "cat", "cow", "dog", "sad"]
    assert {k: v.tolist() for k, v in fitted.corpus_classes_.items()} == LABELS
    probability, logarithm = fitted.predict_proba(X), fitted.predict_log_proba(X)
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-5)
    for name, labels in LABELS.items():
        outside = ~np.isin(fitted.classes_, labels)
        assert (probability[np.ix_(of(X, name), outside)] == 0).all()
        assert (logarithm[np.ix_(of(X, name), outside)] == -np.inf).all()
        assert np.isin(fitted.predict(X)[of(X, name)], labels).all()
    inside = probability > 0
    np.testing.assert_allclose(np.exp(logarithm[inside]), probability[inside], rtol=1e-4)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)
def test_a_classifier_for_one_corpus_predicts_the_same(corpora, network):
    X, y, _ = corpora
    model = MultiCorpusClassifier(single(network)).fit(X, y)
    for name in LABELS:
        own = model.for_corpus(name)
        assert isinstance(own, AudioClassifier)
        clips = X["clip"][of(X, name)].tolist()
        columns = np.isin(model.classes_, own.classes_)
        np.testing.assert_array_equal(
            own.predict_proba(clips), model.predict_proba(X[of(X, name)])[:, columns]
        )
        assert own.n_parameters_ < model.n_parameters_
        assert own.n_clips_ == 20
        again = pickle.loads(pickle.dumps(own)).partial_fit(clips, own.predict(clips))
        assert np.isfinite(again.predict_proba(clips)).all()
        np.testing.assert_array_equal(model.predict(X[of(X, name)]), own.predict(clips))


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)
def test_a_new_corpus_changes_nothing_of_the_others(corpora, network):
    X, y, _ = corpora
    known = ~of(X, "ur")
    model = MultiCorpusClassifier(single(network)).fit(X[known], y[known])
    before, state = model.predict_proba(X[known]), state_of(model)
    model.add_corpus(X["clip"][~known].tolist(), y[~known], "ur")
    assert model.corpora_.tolist() == ["de", "pets", "ur"]
    assert {name.split(".")[1] for name in changed(state, state_of(model))} == {"2"}
    columns = np.isin(model.classes_, ["angry", "calm", "cat", "cow", "dog"])
    np.testing.assert_array_equal(model.predict_proba(X[known])[:, columns], before)
    assert set(model.predict(X[~known])) <= set(LABELS["ur"])
    assert model.n_clips_ == {"de": 20, "pets": 20, "ur": 20}


def test_names_in_the_state_dict_do_not_depend_on_other_corpora(corpora):
    X, y, _ = corpora
    two = MultiCorpusClassifier(single()).fit(X[~of(X, "ur")], y[~of(X, "ur")])
    three = MultiCorpusClassifier(single()).fit(X, y)
    new = state_of(three).keys() - state_of(two).keys()
    assert state_of(two).keys() <= state_of(three).keys()
    assert all(name.startswith("sets.2.") for name in new)


def test_it_learns():
    X, y, _ = make_corpora(n_clips=60)
    model = MultiCorpusClassifier(single(max_epochs=25)).fit(X, y)
    new, truth, _ = make_corpora(n_clips=30, seed=1)
    recalls = uar_by_corpus(truth, model.predict(new), new["corpus"])
    assert min(recalls.values()) > 0.9
    assert model.score(new, truth) > 0.9


def test_an_epoch_shows_about_as_many_clips_as_there_are():
    X, y, _ = make_corpora()
    kept = ~of(X, "ur") | (np.arange(len(X)) % 4 == 0)
    X, y = X[kept], y[kept]
    seen = []

    class Count(Callback):
        def on_batch_end(self, net, batch=None, training=False, **kwargs):
            seen.append((int(batch[0]["corpus"][0]), len(batch[1])))

    MultiCorpusClassifier(single(callbacks=[Count()], max_epochs=1)).fit(X, y)
    assert abs(sum(n for _, n in seen) - len(X)) <= 3 * 8
    rounds = [sum(corpus == i for corpus, _ in seen) for i in range(3)]
    assert len(set(rounds)) == 1


# --------------------------------------------------------------------------------- validation


def test_each_corpus_holds_back_whole_speakers_of_its_own(corpora):
    X, y, speakers = corpora
    seen = {}

    class Watch(Callback):
        def on_batch_end(self, net, batch=None, training=False, **kwargs):
            part = training, int(batch[0]["corpus"][0])
            seen.setdefault(part, set()).update(batch[0]["x"][:, 0, 0].tolist())

    model = MultiCorpusClassifier(
        single(early_stopping=True, validation_fraction=0.2, callbacks=[Watch()])
    ).fit(X, y, groups=speakers)
    first = {float(clip[0, 0]): speaker for clip, speaker in zip(X["clip"], speakers, strict=True)}
    for number in range(3):
        training, held_back = (
            {first[value] for value in seen[part, number]} for part in (True, False)
        )
        assert training.isdisjoint(held_back)
        assert len(held_back) == 1
    scores = model.history_[[f"valid_score_{name}" for name in LABELS]]
    np.testing.assert_allclose(scores.mean(axis=1), model.history_["valid_score"])


@pytest.mark.parametrize("name", ["default", "second_best", "x_batch_count"])
def test_the_history_has_a_score_for_any_name(corpora, name):
    X, y, _ = corpora
    X = X.replace({"corpus": {"de": name}})
    model = MultiCorpusClassifier(single(early_stopping=True, max_epochs=1)).fit(X, y)
    assert f"valid_score_{name}" in model.history_


def test_validation_clips_of_the_user(corpora):
    X, y, _ = corpora
    new, truth, _ = make_corpora(n_clips=6, seed=2)
    model = MultiCorpusClassifier(single(early_stopping=True)).fit(X, y, X_val=new, y_val=truth)
    best = model.history_["valid_loss"].idxmin()
    recalls = uar_by_corpus(truth, model.predict(new), new["corpus"])
    assert np.mean(list(recalls.values())) == pytest.approx(model.history_["valid_score"][best])
    assert sum(model.n_clips_.values()) == len(X)


def test_weights_are_balanced_within_each_corpus(corpora):
    X, y, _ = corpora
    rare = ~(of(X, "de") & (y == "calm") & (np.arange(len(X)) % 3 > 0))
    weights = {}

    class Watch(Callback):
        def on_batch_end(self, net, batch=None, training=False, **kwargs):
            inputs, target = batch
            weight = inputs.get("weight", torch.ones(len(target)))
            pairs = zip(target.tolist(), weight.tolist(), strict=True)
            weights.setdefault(int(inputs["corpus"][0]), []).extend(pairs)

    MultiCorpusClassifier(single(class_weight="balanced", callbacks=[Watch()], max_epochs=1)).fit(
        X[rare], y[rare]
    )
    for pairs in weights.values():
        target, weight = np.array(pairs).T
        totals = [weight[target == label][0] * np.mean(target == label) for label in set(target)]
        assert np.ptp(totals) < 0.25  # batches end within a repetition


# ----------------------------------------------------------------------------- nothing is lost


class Crash(Callback):
    def on_batch_begin(self, net, training=False, **kwargs):
        if len(net.history) == 3 and training:
            raise RuntimeError("crash")


def test_a_killed_run_ends_with_the_same_bits(corpora, tmp_path):
    X, y, speakers = corpora

    def model(**parameters):
        return MultiCorpusClassifier(
            single(max_epochs=5, early_stopping=True, validation_fraction=0.2, **parameters),
            steps_per_epoch=2,  # epochs end in the middle of a repetition
        )

    whole = model().fit(X, y, groups=speakers)
    with pytest.raises(RuntimeError, match="crash"):
        model(checkpoint_dir=tmp_path, callbacks=[Crash()]).fit(X, y, groups=speakers)
    resumed = model(checkpoint_dir=tmp_path).fit(X, y, groups=speakers)
    assert len(list(tmp_path.iterdir())) == 1
    np.testing.assert_array_equal(resumed.predict_proba(X), whole.predict_proba(X))
    columns = [name for name in whole.history_ if name != "dur"]
    np.testing.assert_array_equal(resumed.history_[columns], whole.history_[columns])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_add_corpus_that_fails_leaves_the_model_as_it_was(corpora, error):
    X, y, _ = corpora
    known = ~of(X, "ur")

    class Fail(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.module_.network.sets) == 1 and len(net.history) == 2:
                raise error

    model = MultiCorpusClassifier(single(callbacks=[Fail()])).fit(X[known], y[known])
    warned = pytest.warns(SkaudioWarning) if error is KeyboardInterrupt else nullcontext()
    before, state, learned = model.predict_proba(X[known]), state_of(model), set(vars(model))
    with pytest.raises(error), warned:
        model.add_corpus(X["clip"][~known].tolist(), y[~known], "ur")
    assert changed(state, state_of(model)) == set()
    np.testing.assert_array_equal(model.predict_proba(X[known]), before)
    assert set(vars(model)) == learned
    assert model.corpora_.tolist() == ["de", "pets"]


def test_the_same_seed_gives_the_same_bits(corpora):
    X, y, _ = corpora
    first, second = (MultiCorpusClassifier(single()).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))


@pytest.mark.parametrize("network", [RESNET, PLAIN], ids=lambda network: type(network).__name__)
def test_pickle_and_file(corpora, network, tmp_path):
    X, y, _ = corpora
    model = MultiCorpusClassifier(single(network)).fit(X[~of(X, "ur")], y[~of(X, "ur")])
    model.add_corpus(X["clip"][of(X, "ur")].tolist(), y[of(X, "ur")], "ur")
    skaudio.save(model, tmp_path / "model.skaudio")
    for again in (pickle.loads(pickle.dumps(model)), skaudio.load(tmp_path / "model.skaudio")):
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
        assert again.corpora_.tolist() == model.corpora_.tolist()
        clips = X["clip"][of(X, "pets")].tolist()
        np.testing.assert_array_equal(
            again.for_corpus("pets").predict_proba(clips),
            model.for_corpus("pets").predict_proba(clips),
        )
    card = skaudio.describe(tmp_path / "model.skaudio")
    assert card["labels"] == model.classes_.tolist()
    assert card["n_clips"] == model.n_clips_


# -------------------------------------------------------------------------------- scikit-learn


def test_it_passes_through_the_tools_of_scikit_learn(corpora):
    X, y, speakers = corpora
    model = MultiCorpusClassifier(single(max_epochs=1))
    scores = cross_validate(
        model, X, y, groups=speakers, cv=GroupKFold(2),
        scoring={"uar": uar_by_corpus_scorer, "accuracy": "accuracy"}, error_score="raise",
    )  # fmt: skip
    assert np.isfinite(scores["test_uar"]).all()
    predicted = cross_val_predict(model, X, y, cv=StratifiedKFold(2), method="predict_proba")
    assert predicted.shape == (len(X), 6)
    search = GridSearchCV(
        model, {"estimator__network__n_filters": [2, 3]}, cv=2, error_score="raise",
        scoring=uar_by_corpus_scorer,
    ).fit(X, y)  # fmt: skip
    assert search.predict(X).shape == y.shape
    calibrated = CalibratedClassifierCV(model, cv=2).fit(X, y)
    assert calibrated.predict_proba(X).shape == (len(X), 6)
    ConfusionMatrixDisplay.from_estimator(search, X, y)


def test_nested_parameters_reach_the_default_estimator():
    model = MultiCorpusClassifier().set_params(estimator__network__n_filters=4)
    assert repr(clone(model)).replace("\n", "").replace(" ", "") == (
        "MultiCorpusClassifier(estimator=AudioClassifier(network=AdapterResNet(n_filters=4)))"
    )


def test_one_corpus_is_cross_validated_while_all_others_train(corpora):
    X, y, speakers = corpora
    folds = np.where(of(X, "pets"), [int(name.split("_")[1]) for name in speakers], -1)
    model = MultiCorpusClassifier(single(max_epochs=1))
    found = cross_validate(
        model, X, y, cv=PredefinedSplit(folds), return_estimator=True, return_indices=True,
        error_score="raise",
    )  # fmt: skip
    assert len(found["estimator"]) == 5
    for part, tested in zip(found["estimator"], found["indices"]["test"], strict=True):
        assert part.n_clips_ == {"de": 20, "pets": 16, "ur": 20}
        assert set(X["corpus"].iloc[tested]) == {"pets"}


def test_names_are_routed_through_a_pipeline(corpora):
    X, y, _ = corpora
    clips = np.stack([clip[:, :10] for clip in X["clip"]])
    with config_context(enable_metadata_routing=True):
        model = make_pipeline(FunctionTransformer(), MultiCorpusClassifier(single()))
        model.fit(clips, y, corpus=X["corpus"])
        direct = MultiCorpusClassifier(single()).fit(clips, y, corpus=X["corpus"])
        np.testing.assert_array_equal(
            model.predict(clips, corpus=X["corpus"]), direct.predict(clips, X["corpus"])
        )
        assert model.score(clips, y, corpus=X["corpus"]) == direct.score(
            clips, y, corpus=X["corpus"]
        )


def test_files_are_read_lazily(tmp_path):
    rng = np.random.default_rng(0)
    rows, y = [], []
    for i in range(16):
        path = tmp_path / f"{i}.wav"
        tone = np.sin(np.arange(2000 + 100 * i) * (0.1 + 0.3 * (i % 2)))
        soundfile.write(path, 0.1 * tone + 0.001 * rng.normal(size=len(tone)), 8000)
        rows.append({"file": str(path), "corpus": "a" if i < 8 else "b"})
        y.append("low" if i % 2 == 0 else "high")
    X, y = pd.DataFrame(rows), np.array(y)
    frontend = LogMelSpectrogram(sample_rate=8000, n_fft=256, n_mels=8)
    one, two = (
        MultiCorpusClassifier(single(frontend=frontend, crop=0.2, n_jobs=n_jobs, max_epochs=3)).fit(
            X, y
        )
        for n_jobs in (1, 2)
    )
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


def test_a_table_of_one_column_with_names_beside_it(corpora):
    X, y, _ = corpora
    expected = MultiCorpusClassifier(single()).fit(X, y).predict_proba(X)
    model = MultiCorpusClassifier(single()).fit(X[["clip"]], y, corpus=X["corpus"])
    np.testing.assert_array_equal(model.predict_proba(X[["clip"]], X["corpus"]), expected)


def test_class_weights_may_leave_out_labels_of_other_corpora(corpora):
    X, y, _ = corpora
    model = MultiCorpusClassifier(single(class_weight={"sad": 2.0})).fit(
        X[~of(X, "de")], y[~of(X, "de")]
    )
    model.add_corpus(X[of(X, "de")], y[of(X, "de")], "de")
    with pytest.raises(ValueError, match="class_weight has the label 'sat'"):
        MultiCorpusClassifier(single(class_weight={"sat": 2.0})).fit(X, y)


def test_further_training_of_one_corpus_is_that_of_a_whole_network(corpora):
    X, y, _ = corpora
    big = single().fit(X["clip"][of(X, "pets")].tolist(), y[of(X, "pets")])
    rest = ~of(X, "pets")
    model = MultiCorpusClassifier(single(mode="adapters", pretrained=FrozenEstimator(big)))
    own = model.fit(X[rest], y[rest]).for_corpus("de")
    clips = X["clip"][of(X, "de")].tolist()
    own.partial_fit(clips, y[of(X, "de")])
    assert own.n_trained_parameters_ == own.n_parameters_
    before = model.n_parameters_ - model.n_trained_parameters_
    model.add_corpus(X["clip"][of(X, "pets")].tolist(), y[of(X, "pets")], "pets")
    assert model.n_parameters_ - model.n_trained_parameters_ == before > 0


def test_add_corpus_of_a_table_of_another(fitted, corpora):
    X, y, _ = corpora
    with pytest.raises(ValueError, match=r"clips of \['ur'\] in its column.*learns 'fr'"):
        fitted.add_corpus(X[of(X, "ur")], y[of(X, "ur")], "fr")
    mixed = X[of(X, "ur")].assign(corpus=[1] + ["b"] * (of(X, "ur").sum() - 1))
    with pytest.raises(ValueError, match=r"clips of \['1', 'b'\] in its column.*learns 'fr'"):
        fitted.add_corpus(mixed, y[of(X, "ur")], "fr")


@pytest.mark.parametrize(("n_epochs", "epochs"), [(3, [1, 1, 1]), (4, [2, 1, 1]), (10, [4, 3, 3])])
def test_three_rates_for_a_third_of_the_epochs_each(corpora, n_epochs, epochs):
    X, y, _ = corpora
    model = MultiCorpusClassifier(
        single(lr_schedule="multistep", max_epochs=n_epochs), steps_per_epoch=1
    )
    rates = model.fit(X, y).history_["lr"]
    assert rates.round(12).value_counts(sort=False).tolist() == epochs
    np.testing.assert_allclose(rates.unique(), [1e-2, 1e-3, 1e-4])


# ------------------------------------------------------------------------------------ transfer


def test_adapters_start_from_the_trunk_of_many(fitted, corpora, tmp_path):
    X, y, _ = corpora
    skaudio.save(fitted, tmp_path / "many.skaudio")
    clips, labels = X["clip"][of(X, "pets")].tolist(), y[of(X, "pets")]
    for pretrained in (FrozenEstimator(fitted), tmp_path / "many.skaudio"):
        model = single().set_params(network=None, mode="adapters", pretrained=pretrained)
        model.fit(clips, labels)
        moved = changed(state_of(fitted), state_of(model))
        assert not any(name.startswith("trunk.") for name in moved)
        assert len(model.net_.module_.network.sets) == 1


@pytest.mark.parametrize("mode", ["finetune", "last-layer"])
def test_other_modes_need_one_corpus(fitted, corpora, mode):
    X, y, _ = corpora
    clips, labels = X["clip"][of(X, "pets")].tolist(), y[of(X, "pets")]
    model = single().set_params(mode=mode, pretrained=FrozenEstimator(fitted))
    with pytest.raises(ValueError, match=r"several corpora.*'de'.*for_corpus\(name\)"):
        model.fit(clips, labels)
    model.set_params(pretrained=FrozenEstimator(fitted.for_corpus("pets"))).fit(clips, labels)
    assert model.classes_.tolist() == LABELS["pets"]


def test_several_corpora_start_from_one_trunk(corpora):
    X, y, _ = corpora
    big = single().fit(X["clip"][of(X, "pets")].tolist(), y[of(X, "pets")])
    rest = ~of(X, "pets")
    model = MultiCorpusClassifier(single(mode="adapters", pretrained=FrozenEstimator(big)))
    model.fit(X[rest], y[rest])
    moved = changed(state_of(big), state_of(model))
    assert not any(name.startswith("trunk.") for name in moved)
    counted = sum(part.numel() for part in model.net_.module_.network.sets.parameters())
    assert model.n_trained_parameters_ == counted


# ----------------------------------------------------------------------------------- bad input


def test_an_unknown_corpus(fitted, corpora):
    X, _, _ = corpora
    with pytest.raises(ValueError, match=r"'fr' is unknown.*'de'.*'pets'.*'ur'.*add_corpus"):
        fitted.predict(X.assign(corpus="fr"))
    with pytest.raises(ValueError, match="'fr' is unknown"):
        fitted.for_corpus("fr")


def test_no_names_where_several_were_fitted(fitted, corpora):
    X, _, _ = corpora
    with pytest.raises(ValueError, match=r"names no corpus.*'de'.*column 'corpus', or corpus="):
        fitted.predict(X["clip"].tolist())


def test_a_name_too_many(corpora):
    X, y, _ = corpora
    with pytest.raises(ValueError, match=r"corpus has the shape \(61,\), but there are 60 clips"):
        MultiCorpusClassifier(single()).fit(X["clip"].tolist(), y, corpus=[*X["corpus"], "de"])


def test_names_twice(corpora):
    X, y, _ = corpora
    with pytest.raises(ValueError, match="column 'corpus', and corpus= was passed as well"):
        MultiCorpusClassifier(single()).fit(X, y, corpus="de")


def test_labels_that_mix_numbers_and_text(corpora):
    X, y, _ = corpora
    mixed = y.astype(object)
    mixed[of(X, "de")] = 3
    with pytest.raises(ValueError, match="y mixes text and other labels"):
        MultiCorpusClassifier(single()).fit(X, mixed)
    model = MultiCorpusClassifier(single()).fit(X, y)
    with pytest.raises(ValueError, match="y has labels such as 0, .*text and numbers"):
        model.add_corpus(X["clip"].tolist(), np.arange(len(X)) % 2, "fr")


def test_a_corpus_with_one_class(corpora):
    X, y, _ = corpora
    same = np.where(of(X, "de"), "calm", y)
    with pytest.raises(ValueError, match="corpus 'de': y holds one class only"):
        MultiCorpusClassifier(single()).fit(X, same)


def test_too_few_clips_to_hold_back(corpora):
    X, y, _ = corpora
    few = ~of(X, "de") | (of(X, "de").cumsum() <= 2)
    model = MultiCorpusClassifier(single(early_stopping=True))
    rows = np.flatnonzero(few)
    labels = y[rows]
    labels[np.flatnonzero(of(X.iloc[rows], "de"))] = ["calm", "angry"]
    with pytest.raises(ValueError, match=r"corpus 'de': Cannot hold back 1 of 2 clips"):
        model.fit(X.iloc[rows], labels)


def test_an_existing_name(fitted, corpora):
    X, y, _ = corpora
    with pytest.raises(ValueError, match="corpus 'de' has been fitted already"):
        fitted.add_corpus(X["clip"].tolist(), y, "de")


@pytest.mark.parametrize("estimator", [AudioRegressor(), make_pipeline(AudioClassifier()), 3])
def test_an_estimator_that_is_no_classifier_of_ours(corpora, estimator):
    X, y, _ = corpora
    with pytest.raises(TypeError, match="but expected an AudioClassifier"):
        MultiCorpusClassifier(estimator).fit(X, y)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_missing_names(corpora, missing):
    X, y, _ = corpora
    names = X["corpus"].astype(object)
    names[3] = missing
    with pytest.raises(ValueError, match="corpus is missing for clip 3"):
        MultiCorpusClassifier(single()).fit(X.assign(corpus=names), y)


def test_a_table_of_names_only(corpora):
    X, y, _ = corpora
    with pytest.raises(ValueError, match="column 'corpus' only, but expected clips as well"):
        MultiCorpusClassifier(single()).fit(X[["corpus"]], y)


def test_a_table_with_columns_that_are_no_clips(corpora):
    X, y, _ = corpora
    with pytest.raises(ValueError, match="2 columns beside 'corpus', of which .* holds no numbers"):
        MultiCorpusClassifier(single()).fit(X.assign(speaker="anna"), y)


def test_validation_clips_of_some_corpora_only(corpora):
    X, y, _ = corpora
    with pytest.raises(ValueError, match=r"X_val has clips of \['de'\], but expected some of each"):
        MultiCorpusClassifier(single()).fit(X, y, X_val=X[of(X, "de")], y_val=y[of(X, "de")])


def test_warm_start_and_modes_of_one_corpus_are_refused(corpora):
    X, y, _ = corpora
    with pytest.raises(ValueError, match="warm_start=True.*add_corpus"):
        MultiCorpusClassifier(single(warm_start=True)).fit(X, y)
    with pytest.raises(ValueError, match="mode='finetune'.*mode='adapters'"):
        MultiCorpusClassifier(single(mode="finetune", pretrained=single())).fit(X, y)


def test_a_ready_made_module(corpora):
    X, y, _ = corpora
    module = nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
    with pytest.raises(TypeError, match="Sequential, whose only head cannot serve several"):
        MultiCorpusClassifier(AudioClassifier(module)).fit(X, y)


def test_a_scorer_without_names(fitted):
    with pytest.raises(ValueError, match="without a column 'corpus'"):
        uar_by_corpus_scorer(fitted, np.zeros((3, 6, 10)), ["calm"] * 3)
