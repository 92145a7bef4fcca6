import numpy as np
import pytest
import soundfile
from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import Pipeline

import skaudio
from skaudio import audio_pipeline
from skaudio.audio import Waveform, resample
from skaudio.datasets import load_manifest, make_tones
from skaudio.metrics import unweighted_average_recall

RATE = 16000
FEATURES = "copies__estimator__features"
SMALL = {f"{FEATURES}__patterns__convolutions__n_kernels": 16}
KINDS = ("voice", "sound")


def pipeline(kind="sound", estimator=None, **options):
    model = audio_pipeline(kind, estimator, random_state=0, **options).set_params(**SMALL)
    if kind == "voice":
        model.set_params(**{f"{FEATURES}__pitch__convolutions__n_kernels": 8})
    return model


def columns(model, X):
    """What reaches the estimator."""
    inner = model[-1].estimator_
    return inner[:-1].transform(model[:-1].transform(X))


@pytest.fixture(scope="module")
def clips():
    return make_tones(24, sample_rate=RATE, duration=0.3, random_state=0)


@pytest.fixture(scope="module")
def fitted(clips):
    return {kind: pipeline(kind).fit(*clips) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_an_ordinary_pipeline_that_learns(kind, clips):
    X, y = clips
    model = pipeline(kind)
    assert type(model) is Pipeline
    assert is_classifier(model)
    model.fit(X[:16], y[:16])
    assert model.score(X[16:], y[16:]) == 1
    np.testing.assert_array_equal(model.classes_, np.unique(y))


def test_the_recording_matters_less_to_the_patterns_of_voices():
    # Tones that fade out, and the same recorded at another level, with a hiss that the end of
    # each tone drowns in.
    rng = np.random.default_rng(0)
    t = np.arange(RATE // 2) / RATE
    tones = [0.3 * np.sin(2 * np.pi * f * t) * 10 ** (-8 * t) for f in rng.uniform(200, 3000, 20)]
    X = np.float32(tones + 1e-6 * rng.normal(size=(20, len(t))))
    recorded = np.float32(0.3 * X + 1e-5 * rng.normal(size=X.shape))
    moved = {}
    for kind in KINDS:
        model = pipeline(kind, speeds=()).fit(X, np.arange(20) % 2)
        patterns = dict(model[-1].estimator_[0].transformer_list)["patterns"]
        before, after = patterns.transform(X), patterns.transform(recorded)
        moved[kind] = np.linalg.norm(after - before) / np.linalg.norm(before)
    assert moved["voice"] < 0.2
    assert moved["sound"] > 1


@pytest.mark.parametrize("kind", KINDS)
def test_odd_clips_have_finite_columns(kind, fitted):
    rng = np.random.default_rng(0)
    silence, click = np.zeros((2, 4000), np.float32)
    click[2000] = 1
    noise = rng.normal(size=4000).astype(np.float32)
    odd = [silence, click, noise[:1], noise[:50], noise, np.clip(9 * noise, -1, 1), 1e-9 * noise]
    table = columns(fitted[kind], odd)
    assert np.isfinite(table).all()
    assert table.dtype == np.float32
    alone = np.concatenate([columns(fitted[kind], [clip]) for clip in odd])
    np.testing.assert_array_equal(table, alone)
    assert set(fitted[kind].predict(odd)) <= set(fitted[kind].classes_)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_on_odd_clips_alone(kind):
    odd = [np.zeros(1), np.zeros(9000), np.ones(40), np.eye(1, 5000)[0]]
    model = pipeline(kind).fit(odd, ["a", "b", "a", "b"])
    assert np.isfinite(model.decision_function(odd)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_all_blocks_weigh_the_same(kind, clips, fitted):
    table = columns(fitted[kind], clips[0])
    names = fitted[kind][-1].estimator_[0].get_feature_names_out()
    blocks = np.array([name.partition("__")[0] for name in names])
    for_voices = {"voice", "pitch"} if kind == "voice" else set()
    assert set(blocks) == {"patterns", "statistics"} | for_voices
    lengths = [np.square(table[:, blocks == name]).sum(axis=1).mean() for name in set(blocks)]
    # The training clips with their copies have 1 / n each, but for constant columns.
    np.testing.assert_allclose(lengths, 1 / len(lengths), rtol=0.35)


def test_the_estimator_can_be_another_one(clips):
    X, y = clips
    assert pipeline("sound", LogisticRegression()).fit(X, y).predict_proba(X).shape[0] == len(X)
    pitch = np.log(np.unique(y, return_inverse=True)[1] + 1.0)
    model = pipeline("sound", Ridge(alpha=0.1))
    assert is_regressor(model)
    assert model.fit(X[:16], pitch[:16]).score(X[16:], pitch[16:]) > 0.8


def test_arrays_are_converted_from_their_rate(clips):
    X, y = clips
    slow = np.stack([resample(clip, RATE, 12000) for clip in X])
    model = pipeline(sample_rate=12000, speeds=())
    found = model.fit(slow, y).decision_function(slow)
    plain = model.decision_function(list(slow))
    remembering = model.decision_function([Waveform(clip, 12000) for clip in slow])
    np.testing.assert_array_equal(found, plain)
    np.testing.assert_array_equal(found, remembering)


def test_files_are_what_their_samples_are(clips, fitted, tmp_path):
    X, _ = clips
    paths = [tmp_path / f"{i}.wav" for i in range(5)]
    for path, clip in zip(paths, X, strict=False):
        soundfile.write(path, clip, RATE, subtype="FLOAT")
    model = fitted["voice"]
    np.testing.assert_array_equal(model.decision_function(paths), model.decision_function(X[:5]))


def test_parameters_are_reached_by_a_search(clips):
    X, y = clips
    grid = {
        "copies__speeds": [(), (1.1,)],
        "copies__estimator__estimator__alpha": [0.1],
        f"{FEATURES}__statistics": ["drop"],
    }
    search = GridSearchCV(pipeline(), grid, cv=2).fit(X, y)
    assert search.best_score_ > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_bits_and_a_file_keeps_them(kind, clips, fitted, tmp_path):
    X, y = clips
    expected = fitted[kind].decision_function(X)
    np.testing.assert_array_equal(clone(fitted[kind]).fit(X, y).decision_function(X), expected)
    skaudio.save(fitted[kind], tmp_path / "m.skaudio")
    loaded = skaudio.load(tmp_path / "m.skaudio")
    np.testing.assert_array_equal(loaded.decision_function(X), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_kept_features_change_nothing(kind, clips, fitted, tmp_path):
    X, y = clips
    model = pipeline(kind, cache=tmp_path)
    for _ in ("computed", "read"):
        kept = clone(model).fit(X, y).decision_function(X)
        np.testing.assert_array_equal(kept, fitted[kind].decision_function(X))
    n_kept = {"sound": 2, "voice": 4}[kind]
    assert len(list(tmp_path.rglob("*.npy"))) == n_kept * 3 * len(X)


@pytest.mark.parametrize("kind", KINDS)
def test_tables_asked_of_all_transformers_change_nothing(kind, clips, fitted):
    X, y = clips
    with config_context(transform_output="pandas"):
        model = pipeline(kind).fit(X, y)
        np.testing.assert_array_equal(model.decision_function(X), fitted[kind].decision_function(X))


def test_there_are_two_kinds():
    with pytest.raises(ValueError, match="kind is 'music', but expected 'voice' or 'sound'"):
        audio_pipeline("music")


@pytest.mark.slow
def test_emotions_of_unseen_speakers(recordings, tmp_path):
    clips = load_manifest(recordings / "emodb.csv")
    paths, y = np.asarray(clips.data), np.asarray(clips.target)
    predicted = cross_val_predict(
        audio_pipeline("voice", cache=tmp_path, random_state=0), paths, y,
        groups=clips.speaker, cv=LeaveOneGroupOut(),
    )  # fmt: skip
    assert unweighted_average_recall(y, predicted) > 0.77
