"""What a file holds, what is refused when saving and loading, and what survives a failure."""

import errno
import json
import os
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import skaudio
from skaudio import AudioClassifier, AudioRegressor, LogMelSpectrogram, MultiCorpusClassifier
from skaudio.exceptions import DamagedFileError, FileVersionError, UntrustedFileError
from skaudio.losses import FocalLoss
from skaudio.networks import MTSNet

FRONTEND = LogMelSpectrogram(sample_rate=8000, n_fft=128, n_mels=8)


@pytest.fixture(scope="module")
def model(clips):
    return AudioClassifier(
        MTSNet(n_filters=(2,)), frontend=FRONTEND, max_epochs=2, random_state=0, device="cpu",
        early_stopping=True, validation_fraction=0.25,
    ).fit(*clips)  # fmt: skip


def test_the_card_tells_what_is_known(model, tmp_path):
    skaudio.save(make_pipeline("passthrough", model), tmp_path / "m")
    card = skaudio.describe(tmp_path / "m")
    assert card["format"] == 3
    assert card["model"] == "sklearn.pipeline.Pipeline"
    assert card["versions"]["torch"] == torch.__version__
    assert card["versions"]["skaudio"] == skaudio.__version__
    assert card["labels"] == ["high", "low", "middle"]
    assert card["sample_rate"] == 8000
    assert [step["parameters"]["n_mels"] for step in card["features"]] == [8]
    assert card["parameters"]["audioclassifier__network__n_filters"] == [2]
    assert card["n_clips"] == 9
    training = card["training"]
    assert training["epochs"] == 2
    assert training["last"]["train_loss"] == model.history_["train_loss"].iloc[-1]
    assert training["best"]["valid_loss"] == model.history_["valid_loss"].min()


@pytest.mark.parametrize(
    "settings", [{"lr_schedule": "staged", "max_epochs": 12}, {"monitor": "valid_score"}], ids=str
)
@pytest.mark.parametrize("several", [False, True])
def test_the_card_knows_the_epoch_whose_weights_it_holds(clips, tmp_path, settings, several):
    estimator = AudioClassifier(
        MTSNet(n_filters=(2,)), frontend=FRONTEND, random_state=0, device="cpu",
        early_stopping=True, validation_fraction=0.25, **{"max_epochs": 6} | settings,
    )  # fmt: skip
    if several:
        model = MultiCorpusClassifier(estimator).fit(*clips, corpus=["a"] * len(clips[0]))
    else:
        model = estimator.fit(*clips)
    skaudio.save(model, tmp_path / "m")
    best = skaudio.describe(tmp_path / "m")["training"]["best"]
    scores = model.history_["valid_score"].tolist()
    assert best["valid_score"] == max(scores)
    assert best["epoch"] == model.history_.index[scores.index(max(scores))]


def test_the_card_of_a_search_is_that_of_its_best_model(clips, tmp_path):
    estimator = AudioClassifier(MTSNet(n_filters=(2,)), frontend=FRONTEND, max_epochs=1)
    grid = {"frontend__n_mels": [6]}
    skaudio.save(GridSearchCV(estimator, grid, cv=2).fit(*clips), tmp_path / "m")
    card = skaudio.describe(tmp_path / "m")
    assert [step["parameters"]["n_mels"] for step in card["features"]] == [6]
    assert card["training"]["epochs"] == 1


def test_the_card_of_something_unfitted_says_so(tmp_path):
    skaudio.save(AudioClassifier(lr=float("nan")), tmp_path / "m")
    card = skaudio.describe(tmp_path / "m")
    assert card["labels"] is card["training"] is card["n_clips"] is card["parameters"]["lr"] is None


def test_no_clip_is_in_the_file(model, clips, tmp_path):
    skaudio.save(model, tmp_path / "m")
    data = (tmp_path / "m").read_bytes()
    for clip in clips[0]:
        assert clip[100:104].tobytes() not in data
        assert repr(float(clip[100])).encode() not in data


def test_describing_imports_no_torch(model, tmp_path):
    skaudio.save(model, tmp_path / "m")
    code = (
        f"import skaudio, sys; print(skaudio.describe({str(tmp_path / 'm')!r})['labels']); "
        "print(*({'torch', 'skops', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['high', 'low', 'middle']", ""]


def test_other_programs_can_open_the_file(model, tmp_path):
    skaudio.save(model, tmp_path / "m")
    with zipfile.ZipFile(tmp_path / "m") as archive:
        assert archive.testzip() is None
        assert archive.namelist()[0] == "card.json"
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


# ----------------------------------------------------------------------------- refused in saving


def outer():
    def inner(n_bands, n_outputs, n_frames=None, n_channels=1):
        return torch.nn.Linear(1, 1)

    class Inner(BaseEstimator):
        pass

    return inner, Inner()


UNNAMED = {
    "lambda": AudioClassifier(lambda *sizes: None),
    "closure": AudioClassifier(outer()[0]),
    "lambda as loss": AudioClassifier(loss=lambda output, target: 0),
    "module as network": AudioClassifier(torch.nn.Linear(1, 1)),
    "module as loss": make_pipeline(AudioClassifier(loss=FocalLoss())),
    "module in a grid": GridSearchCV(AudioClassifier(), {"network": [torch.nn.Linear(1, 1)]}),
    "method": FunctionTransformer(np.random.default_rng().normal),
    "bound method": FunctionTransformer(StandardScaler().fit_transform),
}


@pytest.mark.parametrize("model", UNNAMED.values(), ids=UNNAMED)
def test_what_has_no_name_is_not_saved(model, tmp_path):
    with pytest.raises(ValueError, match=r"has no import name|cannot be saved"):
        skaudio.save(model, tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("model", "remedy"),
    [
        (AudioClassifier(torch.nn.Linear(1, 1)), r"network is Linear.*BaseNetwork, or a function"),
        (AudioRegressor(loss=torch.nn.MSELoss()), r"loss is MSELoss.*a function loss\(output"),
        (AudioClassifier(lambda *sizes: None), "at the top level of a module"),
    ],
)
def test_the_message_says_what_to_use_instead(model, remedy, tmp_path):
    with pytest.raises(ValueError, match=remedy):
        skaudio.save(model, tmp_path / "m")


def test_class_inside_a_function_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="Inner cannot be imported"):
        skaudio.save(outer()[1], tmp_path / "m")


class Holder(BaseEstimator):
    def __init__(self, value=None):
        self.value = value


UNSUPPORTED = {
    "sparse": (csr_array(np.eye(3)), "SparseMatrixNode"),
    "tuples as keys": ({(1, 2): 3}, "keys must be"),
    "truth as key": ({True: 1, False: 2}, "keys of type builtins.bool"),
    "keys alike": ({1: 1, "1": 2}, "two keys"),
    "generator": (np.random.default_rng(), "RandomGeneratorNode"),
    "table": (pd.DataFrame({"a": [1]}), "cannot be saved"),
}


@pytest.mark.parametrize(("value", "message"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_what_the_format_lacks_is_not_saved(value, message, importable, tmp_path):
    importable(Holder)
    with pytest.raises(ValueError, match=message):
        skaudio.save(Holder(value), tmp_path / "m")


def test_what_refers_to_itself_is_not_saved(importable, tmp_path):
    importable(Holder)
    knot = Holder()
    knot.part_ = knot
    with pytest.raises(ValueError, match="refers to itself"):
        skaudio.save(knot, tmp_path / "m")


def test_front_end_that_could_not_be_loaded_is_not_saved(clips, tmp_path):
    frontend = LogMelSpectrogram(sample_rate=8000, n_fft=128, n_mels=8)
    model = AudioClassifier(MTSNet(n_filters=(2,)), frontend=frontend, max_epochs=1).fit(*clips)
    model.architecture_.frontend.n_fft = 2**24
    with pytest.raises(ValueError, match="filter values, but expected at most 16777216"):
        skaudio.save(model, tmp_path / "m")


# ---------------------------------------------------------------------------- refused in loading


def test_unknown_classes_are_named_and_not_imported(importable, tmp_path, monkeypatch):
    importable(Holder)
    skaudio.save(Holder(), tmp_path / "m")
    monkeypatch.delitem(sys.modules, "users_own")
    with pytest.raises(UntrustedFileError, match=r"names users_own\.Holder, but expected classes"):
        skaudio.load(tmp_path / "m")
    with pytest.raises(UntrustedFileError, match=r"trusted=\['users_own.Holder'\]"):
        skaudio.load(tmp_path / "m", trusted=["users_own.Other"])


def test_trusted_but_missing_code_is_named(importable, tmp_path, monkeypatch):
    importable(Holder)
    skaudio.save(Holder(), tmp_path / "m")
    monkeypatch.delitem(sys.modules, "users_own")
    with pytest.raises(DamagedFileError, match=r"No module named 'users_own'"):
        skaudio.load(tmp_path / "m", trusted=["users_own.Holder"])


@pytest.mark.parametrize("trusted", [True, "users_own.Holder", 3])
def test_trusted_is_a_list(trusted, tmp_path):
    with pytest.raises(TypeError, match=r"expected a list of names or types"):
        skaudio.load(tmp_path / "m", trusted=trusted)


def test_another_format_is_named(model, tmp_path, monkeypatch):
    monkeypatch.setattr("skaudio.persistence._card.FORMAT", 7)
    skaudio.save(model, tmp_path / "m")
    for read in (skaudio.load, skaudio.describe):
        with pytest.raises(FileVersionError, match=r"has the format 7, but .* reads format 3"):
            read(tmp_path / "m")


def test_missing_file(tmp_path):
    for read in (skaudio.load, skaudio.describe):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "m")


# --------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_the_old_file_survives_a_failure(error, model, tmp_path, monkeypatch):
    path = tmp_path / "m"
    skaudio.save(FRONTEND, path)
    before = path.read_bytes()

    def fail(descriptor):
        raise error

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(type(error)):
        skaudio.save(model, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_file_is_left_alone(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        for use in (partial(skaudio.save, LogMelSpectrogram()), skaudio.load, skaudio.describe):
            with pytest.raises(OSError, match="is a folder, pipe or device, but expected a file"):
                use(path)
    assert (tmp_path / "pipe").is_fifo()


def test_folders_are_made_and_names_of_any_kind_taken(tmp_path):
    path = tmp_path / "new" / "Modell größer.skaudio"
    skaudio.save(FRONTEND, str(path))
    assert skaudio.load(Path(path)).n_mels == 8


def test_paths_are_saved_for_every_system(tmp_path):
    skaudio.save(AudioClassifier(checkpoint_dir=Path("a/b")), tmp_path / "m")
    with zipfile.ZipFile(tmp_path / "m") as archive:
        structure = json.loads(archive.read("structure.json"))
    assert "PosixPath" not in json.dumps(structure)
    assert skaudio.load(tmp_path / "m").checkpoint_dir == Path("a/b")


def test_weights_of_truth_values_can_be_left_out(clips, tmp_path):
    X, y = clips
    model = AudioClassifier(
        MTSNet(n_filters=(2,)), frontend=FRONTEND, max_epochs=1, class_weight={True: 2, False: 1}
    ).fit(X, np.asarray(y) == "high")
    with pytest.raises(ValueError, match=r"keys of type builtins\.bool"):
        skaudio.save(model, tmp_path / "m")
    skaudio.save(model.set_params(class_weight=None), tmp_path / "m")
    loaded = skaudio.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
