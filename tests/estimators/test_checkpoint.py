"""Nothing is lost: killed runs go on, with the same bits."""

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import textwrap

import joblib
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from torch import nn

from skaudio._artifacts import read_checked, write_checked
from skaudio.callbacks import KernelAveraging
from skaudio.estimators import AudioClassifier
from skaudio.exceptions import SkaudioWarning
from skaudio.features import LogMelSpectrogram
from skaudio.losses import FocalLoss
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
        **{
            "network": MTSNet(n_filters=(4,), dropout=0.3),
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


def test_kernels_averaged_at_the_end_of_an_epoch_are_in_the_checkpoint(features, tmp_path):
    network = MTSNet(n_filters=(4,), kernel_update="averaged")
    callbacks = [KernelAveraging(every="epoch")]
    whole = classifier(network=network, callbacks=callbacks).fit(*features)
    model = classifier(tmp_path, network=network, callbacks=[*callbacks, Crash(3)])
    with pytest.raises(RuntimeError, match="crash"):
        model.fit(*features)
    resumed = model.set_params(callbacks=callbacks).fit(*features)
    assert_same_training(resumed, whole, features[0])


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
    with pytest.warns(SkaudioWarning, match=f"{newest.name}.*is damaged"):
        model.fit(*features)
    assert_same_training(model, classifier().fit(*features), X)


def rewrite(path, **changes):
    """Change entries of a checkpoint (None: leave out), with a checksum that fits."""
    state = torch.load(io.BytesIO(read_checked(path)), weights_only=True) | changes
    data = io.BytesIO()
    torch.save({name: entry for name, entry in state.items() if entry is not None}, data)
    write_checked(path, data.getvalue())


def test_a_flipped_bit_is_damage(features, tmp_path):
    X, _ = features
    whole = classifier().fit(*features)
    rng = np.random.default_rng(0)
    for _ in range(5):
        model = crash(classifier(tmp_path), features, 6)
        newest = max(tmp_path.glob("*/epoch_*.pt"))
        data = bytearray(newest.read_bytes())
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        newest.write_bytes(data)
        with pytest.warns(SkaudioWarning, match=f"{newest.name}: this checkpoint is damaged"):
            model.fit(*features)
        assert_same_training(model, whole, X)


@pytest.mark.parametrize("entry", ["run", "seed", "history", "best", "module", "optimizer"])
def test_a_checkpoint_without_an_entry_is_damaged(features, tmp_path, entry):
    X, _ = features
    model = crash(classifier(tmp_path), features, 4)
    rewrite(max(tmp_path.glob("*/epoch_*.pt")), **{entry: None})
    with pytest.warns(SkaudioWarning, match="lacks entries; the one before it"):
        model.fit(*features)
    assert_same_training(model, classifier().fit(*features), X)


def test_a_full_disk_is_named_and_the_run_goes_on_later(features, tmp_path, monkeypatch):
    X, _ = features
    n_syncs = 0

    def full(descriptor):
        nonlocal n_syncs
        n_syncs += 1
        if n_syncs == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"No space left.*Make space.*epoch_00004\.pt"):
            classifier(tmp_path).fit(*features)
    model = classifier(tmp_path)
    assert epochs_of(model, features) == [4, 5, 6, 7, 8]
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
    crash(classifier(tmp_path, verbose=0, n_jobs=1), features, 5)
    seen = []
    classifier(tmp_path, verbose=1, n_jobs=2, callbacks=[Epochs(seen)]).fit(*features)
    assert seen == [5, 6, 7, 8]


def linear(n_bands, n_outputs, **shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(n_bands * shape["n_frames"], n_outputs))


def epochs_of(model, features):
    seen = []
    model.set_params(callbacks=[Epochs(seen)]).fit(*features)
    return seen


def run_of(model, folder, *data, **more):
    """Train for an epoch; return the name of the run's folder."""
    model.set_params(checkpoint_dir=folder / "runs", max_epochs=1).fit(*data, **more)
    (run,) = (folder / "runs").iterdir()
    shutil.rmtree(folder / "runs")
    return run.name


def test_a_run_has_one_name_in_every_process(printed_by_two_processes):
    code = """
        import numpy as np, os, tempfile, torch
        from skaudio.estimators import AudioClassifier
        from skaudio.losses import FocalLoss
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(72, 2))
        with tempfile.TemporaryDirectory() as folder:
            model = AudioClassifier(network, loss=FocalLoss(alpha=(1, 2)), class_weight={"a": 1},
                                    checkpoint_dir=folder, max_epochs=1, random_state=0)
            model.fit(np.zeros((2, 6, 12)), ["a", "b"], groups=["x", 1])
            print(os.listdir(folder))
    """
    first, second = printed_by_two_processes(code)
    assert first == second
    assert len(first) > 30


def test_modules_resume(features, tmp_path):
    torch.manual_seed(0)
    network = linear(6, 3, n_frames=12)
    model = classifier(tmp_path, network=network, loss=FocalLoss(gamma=1.0))
    crash(model, features, 5)
    assert epochs_of(classifier(tmp_path, network=network, loss=FocalLoss()), features)[0] == 1
    torch.manual_seed(0)
    model.set_params(network=linear(6, 3, n_frames=12), loss=FocalLoss(gamma=1.0))
    assert epochs_of(model, features) == [5, 6, 7, 8]


class GrowingLoss(nn.Module):
    """A loss with a state of its own."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(()))

    def forward(self, output, target):
        self.scale *= 1.1
        return self.scale * nn.functional.cross_entropy(output, target, reduction="none")


def test_the_state_of_a_loss_is_taken_up_again(features, tmp_path):
    X, _ = features
    whole = classifier(loss=GrowingLoss()).fit(*features)
    crash(classifier(tmp_path, loss=GrowingLoss()), features, 5)
    assert_same_training(classifier(tmp_path, loss=GrowingLoss()).fit(*features), whole, X)


LABELS = ["dog", "cat", "cow"]


@pytest.mark.parametrize(
    "form",
    [
        np.array,
        lambda labels: np.array([str(np.str_(label)) for label in labels], dtype=object),
        lambda labels: np.array(labels, dtype="U9"),
        lambda labels: np.repeat(labels, 2)[::2],
        pd.Series,
        lambda labels: pd.Series(labels, dtype="category", index=[3, 4, 5]),
        lambda labels: [np.str_(label) for label in labels],
        tuple,
    ],
)
def test_equal_labels_are_the_same_run(tmp_path, form):
    def name_of(labels, groups):
        model = classifier(early_stopping=False)
        return run_of(model, tmp_path, np.zeros((3, 6, 12)), labels, groups=groups)

    name = name_of(LABELS, LABELS)
    assert name_of(form(LABELS), form(LABELS)) == name
    assert name_of(form(LABELS[::-1]), form(LABELS)) != name
    assert name_of(form(LABELS), form(LABELS[::-1])) != name


def test_labels_are_no_files(features, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = run_of(classifier(), tmp_path, *features)
    (tmp_path / "dog").write_bytes(b"bark")
    assert run_of(classifier(), tmp_path, *features) == name


def test_groups_of_any_kind(features, tmp_path):
    X, y = features
    groups = np.array(["a", 1, "c", "b", 2.5, True] * 8, dtype=object)
    first, second = (
        run_of(classifier(early_stopping=False), tmp_path, X, y, groups=g)
        for g in (groups, groups[::-1])
    )
    assert first != second


def test_files_are_known_by_their_time_of_change(tmp_path):
    paths = [tmp_path / "dog.wav", tmp_path / "cat.wav"]
    for path in paths:
        soundfile.write(path, np.zeros(100), 8000)

    def name_of(X, X_val):
        model = AudioClassifier(frontend=LogMelSpectrogram(sample_rate=8000), random_state=0)
        return run_of(model, tmp_path, X, ["dog", "cat"], X_val=X_val, y_val=["dog", "cat"])

    name = name_of(paths, paths)
    assert name_of([str(path) for path in paths], np.array(paths)) == name
    os.utime(paths[0], (1, 1))
    assert name_of(paths, paths) != name


def test_the_same_clips_elsewhere_in_memory_are_the_same_run(features, tmp_path):
    X, y = features
    name = run_of(classifier(), tmp_path, X, y)
    assert run_of(classifier(), tmp_path, np.asfortranarray(X), y) == name
    assert run_of(classifier(), tmp_path, np.repeat(X, 2, axis=0)[::2], y) == name
    in_list = run_of(classifier(), tmp_path, list(X), y)
    assert run_of(classifier(), tmp_path, tuple(X.copy()), y) == in_list


def test_an_edited_network_starts_afresh(features, tmp_path, monkeypatch):
    X, _ = features
    model = crash(classifier(tmp_path, network=linear), features, 5)

    def edited(n_bands, n_outputs, **shape):
        n = n_bands * shape["n_frames"]
        return nn.Sequential(nn.Flatten(), nn.Linear(n, 5), nn.ReLU(), nn.Linear(5, n_outputs))

    edited.__qualname__ = "linear"
    monkeypatch.setitem(globals(), "linear", edited)
    model.set_params(network=edited)
    with pytest.warns(SkaudioWarning, match="do not fit the network.*size mismatch.*afresh"):
        model.fit(*features)
    assert_same_training(model, classifier(network=edited).fit(*features), X)
    assert epochs_of(model, features)[0] == 1  # and nobody is warned again


def momentum(parameters, lr, weight_decay):
    return torch.optim.SGD(parameters, lr, momentum=0.9, weight_decay=weight_decay)


def test_an_edited_optimizer_starts_afresh(features, tmp_path, monkeypatch):
    X, _ = features
    model = crash(classifier(tmp_path, optimizer=momentum), features, 5)

    def edited(parameters, lr, weight_decay):
        return torch.optim.Adam(parameters, lr, weight_decay=weight_decay)

    edited.__qualname__ = "momentum"
    monkeypatch.setitem(globals(), "momentum", edited)
    with pytest.warns(SkaudioWarning, match="do not fit .*without .*betas"):
        model.set_params(optimizer=edited).fit(*features)
    assert_same_training(model, classifier(optimizer=edited).fit(*features), X)


@pytest.mark.parametrize("name", ["network", "loss", "optimizer"])
def test_what_has_no_name_is_refused(features, tmp_path, name):
    model = classifier(tmp_path, **{name: lambda *args, **kwargs: None})
    with pytest.raises(
        ValueError, match=rf"AudioClassifier.{name} is <function.*top level of a module"
    ):
        model.fit(*features)


def test_two_fits_of_one_run_at_once(features, tmp_path):
    models = [classifier(tmp_path, max_epochs=30, patience=30) for _ in range(3)]
    jobs = [joblib.delayed(model.fit)(*features) for model in models]
    joblib.Parallel(n_jobs=3, prefer="threads")(jobs)
    assert not list(tmp_path.glob("*/*.tmp"))
    assert epochs_of(models[0], features) == [*range(1, 31)]


class Elsewhere(Callback):
    """Does something in the middle of a training."""

    def __init__(self, epoch, action):
        self.epoch = epoch
        self.action = action

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == self.epoch:
            self.action()


def test_a_fit_within_the_same_fit(features, tmp_path):
    X, _ = features
    inner = classifier(tmp_path)
    outer = classifier(tmp_path, callbacks=[Elsewhere(4, lambda: inner.fit(*features))])
    assert_same_training(outer.fit(*features), inner, X)


def test_a_run_with_another_seed_is_not_taken_up(features, tmp_path):
    model = crash(classifier(tmp_path), features, 5)
    for path in tmp_path.glob("*/epoch_*.pt"):
        rewrite(path, seed=1)
    assert epochs_of(model, features)[0] == 1


def test_files_of_killed_runs_are_swept(features, tmp_path):
    model = crash(classifier(tmp_path), features, 3)
    folder = next(tmp_path.iterdir())
    left = folder / "epoch_00003.pt.12345678.tmp"
    left.write_bytes(b"torn")
    os.utime(left, (1, 1))
    assert epochs_of(model, features)[0] == 3
    assert {path.suffix for path in folder.iterdir()} == {".pt", ""}


def test_home_is_expanded(features, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    classifier("~/runs").fit(*features)
    assert list(tmp_path.glob("runs/*/finished"))
    assert not (tmp_path / "~").exists()
