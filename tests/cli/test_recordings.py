"""Every command as a process, on real recordings of three sample rates and three formats."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.slow

TASKS = ["emodb", "urdu", "fsdd", "esc10"]
TINY = {
    "cnn": "-nf 2 -N 1 -nm 32 -w 0.6 -c FCNAttention",
    "rnn": "-hd 8 -nm 32 -w 0.6",
    "vgg16": "-nm 32 -w 0.6 -bs 32",
    "fusion": "-nf 2 -N 1 -hd 8 -nm 32 -w 0.6 --down-pool 4",
}


@pytest.fixture(scope="module")
def setup(recordings):
    folder = recordings / "setup"
    if not all((folder / task / "train.csv").exists() for task in TASKS):
        pytest.skip(f"needs {folder}/TASK/train.csv, val.csv and test.csv of {TASKS}")
    return folder


def start(line, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "skaudio", *line.split()], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"},
        # A shell lets its background jobs ignore Ctrl-C, and these would hand that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **options,
    )  # fmt: skip


def run(line):
    process = start(line)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    return json.loads(output)


def single(setup, task, network, out):
    parts = {"-tr": "train", "-v": "val", "-te": "test"}
    tables = " ".join(f"{flag} {setup}/{task}/{part}.csv" for flag, part in parts.items())
    return f"{network} single-task -dp {setup.parent} -t {task} {tables} -ebp {out} -e 1 -nw 2"


@pytest.mark.parametrize("network", TINY)
def test_commands_of_emonet(setup, tmp_path, network):
    told = run(
        f"{network} multi-task -dp {setup.parent} -mts {setup} -t {' '.join(TASKS)} -e 1 -spe 1 "
        f"-nw 2 -ebp {tmp_path} {TINY[network]}"
    )
    model = Path(told["run"]) / "model.skaudio"
    n_clips = {task: found["n_clips"] for task, found in told["tasks"].items()}
    assert n_clips == {"emodb": 127, "urdu": 74, "fsdd": 500, "esc10": 80}

    scratch = run(f"{single(setup, 'esc10', network, tmp_path)} {TINY[network]}")
    assert scratch["n_clips"] == 80
    modes = [""] if network == "vgg16" else ["-m adapters", "-m finetune", "-m last-layer"]
    for mode in modes:
        found = run(f"{single(setup, 'urdu', network, tmp_path)} {mode} -im {model}")
        name = mode.removeprefix("-m ") or "finetune"
        assert Path(found["run"]) == tmp_path / "single-task" / network / name / "urdu" / "001"

    found = run(
        f"{network} evaluate -dp {setup.parent} -t emodb -v {setup}/emodb/test.csv -im {model} "
        f"-po {tmp_path}/p.csv"
    )
    assert found["accuracy"] == told["tasks"]["emodb"]["accuracy"]
    assert len(pd.read_csv(tmp_path / "p.csv")) == 127


def test_commands_for_everybody(setup, tmp_path):
    model = tmp_path / "m.skaudio"
    base = f"--data-path {setup.parent}"
    told = run(f"fit {setup}/urdu/train.csv -o {model} {base} --epochs 1 --crop 0.5")
    assert told["n_clips"] == 234
    assert run(f"evaluate {model} {setup}/urdu/test.csv {base}")["n_clips"] == 74
    assert run(f"info {model}")["sample_rate"] == 16000
    clip = next(iter(pd.read_csv(setup / "urdu" / "test.csv")["file"]))
    assert run(f"info {setup.parent / clip}")["sample_rate"] == 16000
    process = start(f"predict {model} {setup.parent / clip}")
    output, _ = process.communicate()
    assert process.returncode == 0
    assert output.startswith("filename,probability_")


@pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
def test_interrupted_and_killed_runs_go_on_to_the_same_result(setup, tmp_path):
    line = f"{single(setup, 'emodb', 'cnn', '{out}')} {TINY['cnn']}".replace("-e 1 ", "-e 12 ")
    whole = Path(run(line.format(out=tmp_path / "whole"))["run"])
    run_folder = tmp_path / "again" / whole.relative_to(tmp_path / "whole")
    line = line.format(out=tmp_path / "again")
    for n_epochs, kind, status in [(2, signal.SIGINT, 130), (5, signal.SIGKILL, -9)]:
        process = start(line)
        while len(read_history(run_folder)) < n_epochs:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(kind)
        _, errors = process.communicate()
        assert process.returncode == status, errors
        assert ("The same command goes on with this run." in errors) == (kind == signal.SIGINT)
    assert Path(run(line)["run"]) == run_folder
    for name in ("test_metrics.json", "predictions.csv"):
        assert (run_folder / name).read_bytes() == (whole / name).read_bytes()
    pd.testing.assert_frame_equal(read_history(run_folder), read_history(whole))


def read_history(folder):
    file = folder / "metrics.csv"
    return pd.read_csv(file).drop(columns="dur") if file.exists() else []
