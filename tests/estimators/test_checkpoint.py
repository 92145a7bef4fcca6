"""Nothing is lost: killed runs go on, with the same bits."""

import signal
import subprocess
import sys
import textwrap

import joblib
import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback

from skaudio.estimators import AudioClassifier
from skaudio.exceptions import SkaudioWarning
from skaudio.networks import MTSNet


class Crash(Callback):
    """Ends the process's training as a crash would: in the middle of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch_begin(self, net, training=False, **kwargs):
        if len(net.history) == self.epoch and training:
            raise RuntimeError("crash")


def classifier(folder=None, **parameters):
    return AudioClassifier(
        MTSNet(n_filters=(4,), dropout=0.3),
        **{
            "max_epochs": 8, "batch_size": 16, "lr": 1e-2, "random_state": 0,
            "checkpoint_dir": folder, "early_stopping": True, "validation_fraction": 0.25,
            **parameters,
        },
    )  # fmt: skip


def crash(model, features, epoch):
    with pytest.raises(RuntimeError, match="crash"):
        model.set_params(callbacks=[Crash(epoch)]).fit(*features)
    return model.set_params(callbacks=None)


def assert_same_training(model, other, X):
    np.testing.assert_array_equal(model.predict_proba(X), other.predict_proba(X))
    columns = ["train_loss", "valid_loss", "valid_score", "lr"]
    np.testing.assert_array_equal(model.history_[columns], other.history_[columns])


SETTINGS = [
    {},
    {"lr_schedule": "one_cycle", "mixup": 0.2},
    {"lr_schedule": "plateau", "patience": 2, "max_epochs": 20},
    {"lr_schedule": "staged", "optimizer": "sgd", "lr": 0.1, "patience": 2, "max_epochs": 40},
    {"patience": 2, "max_epochs": 30, "lr": 5e-2},
]


@pytest.mark.parametrize("parameters", SETTINGS, ids=lambda p: p.get("lr_schedule", "cosine"))
@pytest.mark.parametrize("epoch", [1, 2, 5])
def test_a_crashed_run_ends_with_the_same_bits(features, tmp_path, parameters, epoch):
    X, _ = features
    whole = classifier(**parameters).fit(*features)
    resumed = crash(classifier(tmp_path, **parameters), features, epoch).fit(*features)
    assert_same_training(resumed, whole, X)


def test_kill_minus_nine(features, tmp_path):
    X, y = features
    joblib.dump((X, y), tmp_path / "data.joblib")
    joblib.dump(classifier(tmp_path / "runs", max_epochs=200, patience=200), tmp_path / "model")
    code = textwrap.dedent("""
        import sys, joblib, torch
        torch.set_num_threads(int(sys.argv[2]))  # bits depend on their number
        model = joblib.load(sys.argv[1] + "/model")
        print("ready", flush=True)
        model.fit(*joblib.load(sys.argv[1] + "/data.joblib"))
    """)
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), str(torch.get_num_threads())],
        stdout=subprocess.PIPE,
    ) as child:
        child.stdout.readline()
        while len(list(tmp_path.glob("runs/*/epoch_*.pt"))) < 2:
            assert child.poll() is None
        child.send_signal(signal.SIGKILL)
    seen = []
    model = joblib.load(tmp_path / "model").set_params(callbacks=[Epochs(seen)]).fit(X, y)
    assert 0 < len(seen) < 200
    assert_same_training(model, classifier(max_epochs=200, patience=200).fit(X, y), X)


class Epochs(Callback):
    def __init__(self, seen):
        self.seen = seen

    def on_epoch_begin(self, net, **kwargs):
        self.seen.append(len(net.history))


def test_a_finished_run_starts_afresh(features, tmp_path):
    seen = []
    model = classifier(tmp_path, callbacks=[Epochs(seen)])
    model.fit(*features).fit(*features)
    assert seen == [*range(1, 9)] * 2


def test_killed_between_the_last_epoch_and_the_end(features, tmp_path):
    X, _ = features
    model = classifier(tmp_path, patience=2, max_epochs=30, lr=5e-2).fit(*features)
    next(tmp_path.glob("*/finished")).unlink()
    seen = []
    again = classifier(tmp_path, patience=2, max_epochs=30, lr=5e-2, callbacks=[Epochs(seen)]).fit(
        *features
    )
    assert seen == []
    assert_same_training(again, model, X)


def test_a_torn_checkpoint_is_reported_and_the_one_before_it_used(features, tmp_path):
    X, _ = features
    model = crash(classifier(tmp_path), features, 6)
    newest = max(tmp_path.glob("*/epoch_*.pt"))
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.warns(SkaudioWarning, match=f"{newest.name}.*cannot be read"):
        model.fit(*features)
    assert_same_training(model, classifier().fit(*features), X)


def test_a_foreign_checkpoint_is_reported(features, tmp_path):
    X, _ = features
    model = crash(classifier(tmp_path), features, 6)
    crash(classifier(tmp_path, lr=0.5), features, 3)
    folders = sorted(tmp_path.iterdir(), key=lambda folder: len(list(folder.glob("epoch_00005*"))))
    (folders[1] / "epoch_00005.pt").write_bytes((folders[0] / "epoch_00002.pt").read_bytes())
    with pytest.warns(SkaudioWarning, match="belongs to another run"):
        model.fit(*features)
    assert_same_training(model, classifier().fit(*features), X)


def test_without_a_seed_the_unfinished_run_keeps_its_own(features, tmp_path):
    model = crash(classifier(tmp_path, random_state=None), features, 5)
    seen = []
    model.set_params(callbacks=[Epochs(seen)]).fit(*features)
    assert seen == [5, 6, 7, 8]


def test_runs_never_meet(features, tmp_path):
    X, y = features
    crash(classifier(tmp_path), features, 3)
    seen = []
    for parameters, data in [({"lr": 0.02}, (X, y)), ({}, (X[:-1], y[:-1])), ({}, (X + 1, y))]:
        seen.clear()
        classifier(tmp_path, callbacks=[Epochs(seen)], **parameters).fit(*data)
        assert seen[0] == 1
    GridSearchCV(classifier(tmp_path / "grid"), {"lr": [1e-2, 1e-3]}, cv=2).fit(X, y)
    assert len(list((tmp_path / "grid").iterdir())) == 5


def test_what_does_not_change_the_result_does_not_change_the_run(features, tmp_path):
    crash(classifier(tmp_path, verbose=0, n_workers=1), features, 5)
    seen = []
    classifier(tmp_path, verbose=1, n_workers=0, callbacks=[Epochs(seen)]).fit(*features)
    assert seen == [5, 6, 7, 8]
