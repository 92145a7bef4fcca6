"""The commands of EmoNet, on two small made corpora."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import skaudio
from skaudio.callbacks import EpochLog
from skaudio.cli import experiments, main

SINGLE = "{network} single-task {low} {tiny} -e 1"


def newest(output):
    return Path(json.loads(output)["run"])


@pytest.mark.parametrize(
    ("network", "options"),
    [
        ("cnn", "-w 0.2 -rn 0.1 -bw -iwd -wf 2 -ib -sfl -do 0.1 0.2"),
        ("cnn", "-c rnn -rd 0.1 -o adam -lr 0.001"),
        ("rnn", "-mfcc 5 -ua -ip -sa -ct gru --bidirectional --down-pool 2 -ib -do 0.1"),
        ("fusion", "-l focal -o rmsprop --recurrent-dropout 0.1 -ib -nl 1"),
    ],
)
def test_a_run_leaves_its_folder(command, tmp_path, network, options):
    line = SINGLE.replace("{network}", network) + f" {options}"
    status, output, errors = command(line)
    assert status == 0, errors
    run = tmp_path / "runs" / "single-task" / network / "scratch" / "low" / "001"
    assert newest(output) == run
    found = {path.name for path in run.iterdir()} - {"tensorboard", "lock"}
    assert found == {
        "checkpoints", "configuration.json", "confusion_matrix.png", "log.txt", "metrics.csv",
        "model.skaudio", "predictions.csv", "test_metrics.json",
    }  # fmt: skip
    assert "epoch 1:" in (run / "log.txt").read_text()
    assert (run / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG")


def test_the_files_agree(command, setup):
    _, output, _ = command("cnn single-task {low} {tiny} -e 2")
    run = newest(output)
    labels = ["low-high", "low-low", "low-mid"]
    predictions = pd.read_csv(run / "predictions.csv")
    assert list(predictions) == [
        "filename", *[f"probability_{label}" for label in labels], "pred_label", "true_label",
    ]  # fmt: skip
    test = pd.read_csv(setup / "low" / "test.csv")
    assert predictions["filename"].tolist() == test["file"].tolist()
    assert predictions["true_label"].tolist() == test["label"].tolist()
    probability = predictions.filter(like="probability_")
    assert probability.sum(axis=1).tolist() == pytest.approx([1] * len(test), abs=1e-6)

    metrics = json.loads((run / "test_metrics.json").read_text())
    right = predictions["pred_label"] == predictions["true_label"]
    recalls = right.groupby(predictions["true_label"]).mean()
    assert metrics["accuracy"] == pytest.approx(right.mean())
    assert metrics["unweighted_average_recall"] == pytest.approx(recalls.mean())
    assert metrics["recall"] == pytest.approx(recalls.to_dict())
    assert metrics["labels"] == labels
    assert sum(map(sum, metrics["confusion_matrix"])) == len(test)

    model = skaudio.load(run / "model.skaudio")
    again = model.predict_proba([str(setup / file) for file in test["file"]])
    assert probability.to_numpy() == pytest.approx(again, abs=1e-6)
    history = pd.read_csv(run / "metrics.csv", index_col="epoch")
    assert history["valid_score"].tolist() == pytest.approx(model.history_["valid_score"].tolist())
    assert model.callbacks is None
    assert model.checkpoint_dir is None


def test_options_reach_the_model(command):
    line = (
        "cnn single-task {low} -nf 2 -N 1 -wf 2 -nm 20 -w 0.25 -e 3 -p 7 -bs 4 -lr 0.05 "
        "-o adadelta -l ordinal --class-order low-low low-mid low-high -bw -c FCNAttention -ib "
        "-sfl -do 0.1 0.3 -rn 0.5 -iwd --seed 3"
    )
    _, output, errors = command(line)
    model = skaudio.load(newest(output) / "model.skaudio")
    expected = {
        "crop": 0.25, "max_epochs": 3, "patience": 7, "batch_size": 4, "lr": 0.05,
        "optimizer": "adadelta", "loss": "ordinal", "class_weight": "balanced",
        "class_order": ("low-low", "low-mid", "low-high"), "lr_schedule": "staged",
        "lr_decay": 0.0, "weight_decay": 0.0, "random_state": 3, "mode": "scratch",
        "network__n_filters": 2, "network__n_blocks": 1, "network__widen_factor": 2,
        "network__pooling": "attention", "network__input_norm": True,
        "network__share_pooling": True, "network__dropout": (0.1, 0.3),
        "network__adapter_l2": "size", "frontend__n_mels": 20, "frontend__log": "ln",
        "augmentation__variance": 0.5,
    }  # fmt: skip
    found = model.get_params()
    assert {name: found[name] for name in expected} == expected, errors


@pytest.mark.parametrize(
    ("options", "decay"), [("", "size"), ("-iwd", 1e-6), ("-o adam -lr 0.01", 0.0)]
)
def test_the_rate_falls_by_the_size_rule_with_sgd_alone(command, options, decay):
    _, output, _ = command(f"cnn single-task {{low}} {{tiny}} -e 1 {options}")
    assert skaudio.load(newest(output) / "model.skaudio").lr_decay == decay


def test_many_corpora_and_what_follows(command, tmp_path):
    status, output, errors = command("-v cnn multi-task {many} -t low odd -e 1 -spe 2 {tiny}")
    assert status == 0, errors
    run = newest(output)
    assert run == tmp_path / "runs" / "multi-task" / "cnn" / "001"
    assert len(re.findall(r"^epoch \d:", errors, re.MULTILINE)) == 3  # one at each of three rates
    history = pd.read_csv(run / "metrics.csv")
    assert history["lr"].tolist() == pytest.approx([0.1, 0.01, 0.001])
    assert {"valid_score_low", "valid_score_odd"} <= set(history)
    metrics = json.loads((run / "test_metrics.json").read_text())
    assert metrics.keys() == {"low", "odd"}
    labels = {task: found["labels"] for task, found in metrics.items()}
    assert labels["odd"] == ["odd-high", "odd-low", "odd-mid"]
    for task in ("low", "odd"):
        assert {path.name for path in (run / task).iterdir()} == {
            "confusion_matrix.png", "predictions.csv",
        }  # fmt: skip

    # A new corpus from the shared layers, and one of the old ones from its own.
    for mode, extra in (("adapters", ""), ("finetune", ""), ("last-layer", "-bw")):
        line = f"cnn single-task {{odd}} -e 1 -im {run}/model.skaudio -m {mode} {extra}"
        status, output, errors = command(line)
        assert status == 0, errors
        assert newest(output).parents[1].name == mode
        model = skaudio.load(newest(output) / "model.skaudio")
        assert model.network.n_filters == 2  # as in the file
        assert model.frontend.n_mels == 16

    line = f"cnn evaluate -dp {{setup}} -t odd -v {{setup}}/odd/test.csv -im {run}/model.skaudio"
    status, output, errors = command(f"{line} -po {{out}}/new/p.csv -m scratch -bs 3")
    assert status == 0, errors
    found = json.loads(output)
    assert {name: found[name] for name in metrics["odd"]} == metrics["odd"]
    first, second = tmp_path / "new" / "p.csv", run / "odd" / "predictions.csv"
    pd.testing.assert_frame_equal(pd.read_csv(first), pd.read_csv(second), atol=1e-6)

    for extra, message in [
        ("-nf 3", r"another model: n_filters is 3 on the command line, 2 in the file"),
        ("-w 2 -nm 7", r"crop is 2.0 .*, None in the file; n_mels is 7 .*, 16 in the file"),
        ("-c rnn", r"pooling is 'rnn' on the command line, 'attention' in the file"),
    ]:
        status, _, errors = command(f"{line} -po {{out}}/p.csv {extra}")
        assert status == 2
        assert re.search(message, errors)

    for wrong, message in [
        (
            f"rnn evaluate {line[13:]} -po {{out}}/p.csv",
            r"network AdapterResNet.*Try `skaudio cnn`",
        ),
        (f"{line.replace('-t odd', '-t new')} -po {{out}}/p", r"corpora \['low', 'odd'\], but"),
        (f"{line.replace('odd/test', 'low/test')} -po {{out}}/p", r"6 of 6 clips .* label that"),
        (
            f"cnn single-task {{odd}} -e 1 -im {run}/model.skaudio -m adapters -nf 3",
            r"n_filters is 3 here, 2 there.*n_filters is -nf",
        ),
        (
            f"cnn single-task {{odd}} -t new -e 1 -im {run}/model.skaudio -m finetune",
            r"trained on the corpora .* Pass one of them as --task, or -m adapters",
        ),
    ]:
        status, _, errors = command(wrong)
        assert status == 1
        assert re.search(message, errors)


@pytest.mark.slow
def test_vgg16_is_finetuned_from_a_saved_model(command):
    status, output, errors = command("vgg16 single-task {low} {tiny} -e 1")
    assert status == 0, errors
    model = newest(output) / "model.skaudio"
    status, output, errors = command(f"vgg16 single-task {{odd}} -e 1 -im {model}")
    assert status == 0, errors
    assert newest(output).parents[1].name == "finetune"
    assert skaudio.load(newest(output) / "model.skaudio").mode == "finetune"


def interrupt_at(epoch, monkeypatch):
    """Let trainings be interrupted at the end of an epoch."""
    real = EpochLog.on_epoch_end

    def on_epoch_end(self, net, *args, **kwargs):
        real(self, net, *args, **kwargs)
        if len(net.history) == epoch:
            raise KeyboardInterrupt

    monkeypatch.setattr(EpochLog, "on_epoch_end", on_epoch_end)


@pytest.mark.parametrize(
    "line",
    ["cnn single-task {low} {tiny} -e 3", "rnn multi-task {many} -t odd -t low {tiny} -e 1 -spe 1"],
)
def test_the_same_command_goes_on_with_an_interrupted_run(command, monkeypatch, line):
    _, output, _ = command(line)
    whole = newest(output)
    assert whole.name == "001"
    with monkeypatch.context() as patch:
        interrupt_at(2, patch)
        status, output, errors = command(line)
    assert (status, output) == (130, "")
    assert "The same command goes on with this run." in errors
    assert errors.endswith("Interrupted.\n")
    assert "KeyboardInterrupt" in (whole.with_name("002") / "log.txt").read_text()

    _, output, _ = command(f"{line} --seed 1")  # another command: another run
    assert newest(output).name == "003"
    _, output, errors = command(line)
    resumed = newest(output)
    assert resumed.name == "002"
    assert "Goes on with the unfinished run" in errors
    for name in ("test_metrics.json", "predictions.csv", "low/predictions.csv"):
        if (whole / name).exists():
            assert (whole / name).read_bytes() == (resumed / name).read_bytes()
    tables = [pd.read_csv(run / "metrics.csv").drop(columns="dur") for run in (whole, resumed)]
    pd.testing.assert_frame_equal(*tables)
    _, output, _ = command(line)  # the run is finished: a new one
    assert newest(output).name == "004"


def test_a_run_that_was_interrupted_after_its_training_does_not_train_again(command, monkeypatch):
    line = "cnn single-task {low} {tiny} -e 2"
    _, output, _ = command(line)
    run = newest(output)
    (run / "test_metrics.json").unlink()
    with monkeypatch.context() as patch:
        interrupt_at(1, patch)
        status, output, _ = command(line)
    assert status == 0
    assert newest(output) == run


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        ("cnn single-task {low} -m adapters", 2, r"-m adapters starts from a trained network"),
        ("cnn single-task {low} -im {setup}/low/val.csv", 2, r"needs -m, which says what"),
        ("cnn single-task {low} -m finetune -im {setup}/low/val.csv", 1, r"is no zip file"),
        ("vgg16 single-task {low} -ft 3", 2, r"-ft is for --weights only"),
        (
            "vgg16 single-task {low} -ft 3 --weights {setup}/low/val.csv -im {setup}/low/val.csv",
            2,
            r"with -im all layers are trained further",
        ),
        ("cnn single-task {low} --class-order a b", 2, r"--class-order is for -l ordinal only"),
        ("cnn single-task {low} {tiny} -l ordinal", 1, r"class_order is --class-order"),
        ("cnn single-task {low} -nf 2 -e 1", 1, r"lengths vary.*-c \(FCNAttention.* -w cuts"),
        ("cnn single-task {low} -nf 2 -e 1 -w 0.2", 1, r"at least 57 bands and 57 frames"),
        ("cnn single-task {low} -t a/b", 2, r"-t: 'a/b' is to name a folder"),
        ("cnn single-task {low} -t ..", 2, r"-t: '..' is to name a folder"),
        ("cnn single-task {low} -lr 0", 2, r"'-lr'.*0.* is not in the range"),
        ("cnn multi-task {many} -t low gone", 2, r"gone has no train.csv, .* are: low, odd\."),
        ("cnn multi-task {many} -t low low", 2, r"a corpus is named twice"),
    ],
)
def test_bad_options(command, tmp_path, line, status, message):
    found, output, errors = command(line)
    assert (found, output) == (status, "")
    assert re.search(message, re.sub(r"\s+", " ", errors))


def test_dropout_of_recurrent_layers_that_there_are_not(command):
    status, _, errors = command("cnn single-task {low} {tiny} -e 1 -rd 0.1")
    assert status == 0
    assert "Warning: -rd is for the recurrent layers of -c rnn, and does nothing" in errors


def test_a_label_that_the_training_lacks(command, setup, tmp_path):
    (tmp_path / "test.csv").write_text("file,label\nlow/0.wav,low-low\nlow/1.wav,purr\n")
    status, _, errors = command("cnn single-task {low} {tiny} -te {out}/test.csv")
    assert status == 1
    assert re.search(
        r"test.csv: 1 of 2 clips have a label that .*train.csv lacks, the first is low/1.wav with "
        r"'purr'. Known are \['low-high', 'low-low', 'low-mid'\]",
        errors,
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk(command):
    _, output, _ = command("cnn single-task {low} {tiny} -e 1")
    line = f"-im {newest(output)}/model.skaudio -dp {{setup}} -t low -v {{setup}}/low/val.csv"
    status, _, errors = command(f"cnn evaluate {line} -po /dev/full")
    assert status == 1
    assert re.search(r"No space left on device. Make space there .*/dev/full", errors)


def test_a_disk_that_is_full_while_training(command, monkeypatch, tmp_path):
    real = Path.open

    def full(self, mode="r", *args, **kwargs):
        if self.name.startswith("epoch_00002") and "b" in mode:
            return real(Path("/dev/full"), "wb")
        return real(self, mode, *args, **kwargs)

    line = "cnn single-task {low} {tiny} -e 3"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        status, _, errors = command(line)
    assert status == 1
    assert re.search(r"No space left on device. Make space there", errors)
    assert "The same command goes on with this run." in errors
    status, output, _ = command(line)
    assert status == 0
    assert newest(output).name == "001"


def test_one_command_as_a_process(setup, tmp_path):
    done = subprocess.run(
        [
            sys.executable, "-m", "skaudio", "-v", "cnn", "single-task", "-dp", setup, "-t", "low",
            "-tr", setup / "low/train.csv", "-v", setup / "low/val.csv",
            "-te", setup / "low/test.csv", "-ebp", tmp_path, "-e", "1", "-nf", "2", "-N", "1",
            "-c", "FCNAttention", "-nm", "16",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (newest(done.stdout) / "model.skaudio").exists()
    assert "epoch 1: " in done.stderr


def test_main_takes_the_arguments_of_the_process(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["skaudio", "--version"])
    assert main() == 0
    assert capsys.readouterr().out == f"skaudio {skaudio.__version__}\n"


def test_what_is_not_given_is_as_in_the_initial_model(command):
    _, output, _ = command("cnn single-task {low} {tiny} -e 1 -w 0.2 -do 0.1 0.3 -ib -iwd")
    line = f"cnn single-task {{low}} -e 1 -m finetune -im {newest(output)}/model.skaudio -do 0 0.2"
    status, output, errors = command(line)
    assert status == 0, errors
    model = skaudio.load(newest(output) / "model.skaudio")
    assert (model.crop, model.frontend.n_mels) == (0.2, 16)
    assert (model.network.n_filters, model.network.input_norm) == (2, True)
    assert model.network.dropout == (0.0, 0.2)  # given
    assert (model.network.adapter_l2, model.lr_decay) == (1e-6, "size")  # without -iwd


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("The training loss became nan. Lower lr or clip_norm.", "lr is -lr"),
        ("loss='ordinal' wants class_order", "class_order is --class-order, loss is -l"),
        ("network__n_mels: got 0", "n_mels is -nm"),
        ("mode is None", "mode is -m"),
        ("The weights, the mode and the loss are odd.", None),
    ],
)
def test_errors_name_the_options(command, monkeypatch, message, hint):
    def fail(*args):
        raise ValueError(message)

    monkeypatch.setattr(experiments, "train_on_one", fail)
    status, _, errors = command("cnn single-task {low} {tiny}")
    assert status == 1
    hint = "" if hint is None else f" (On the command line: {hint}.)"
    assert errors == f"Error: {message}{hint}\n"
