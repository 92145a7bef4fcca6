"""Commands for everybody, on small made clips."""

import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline

import skaudio
from skaudio import AudioLoader, AudioRegressor, LogMelSpectrogram, TemporalStatistics
from skaudio.networks import AdapterResNet, MTSNet


@pytest.fixture(scope="module")
def table(setup):
    clips = pd.concat([pd.read_csv(setup / "low" / f"{part}.csv") for part in ("train", "val")])
    clips["speaker"] = [f"0{i % 4}" for i in range(len(clips))]
    clips.to_csv(setup / "clips.csv", index=False)
    return clips


@pytest.mark.usefixtures("table")
def test_fit_predict_evaluate_info(command, setup, tmp_path):
    line = "fit {setup}/clips.csv -o {out}/new/m.skaudio --epochs 8 --crop 0.25 --sample-rate 8000"
    status, output, errors = command(line)
    assert status == 0, errors
    told = json.loads(output)
    assert told["labels"] == ["low-high", "low-low", "low-mid"]
    assert (told["n_clips"], told["training"]["epochs"]) == (18, 8)

    status, output, errors = command(
        "evaluate {out}/new/m.skaudio {setup}/low/test.csv "
        "--data-path {setup} --predictions {out}/p.csv"
    )
    assert status == 0, errors
    metrics = json.loads(output)
    assert metrics["n_clips"] == 6
    written = pd.read_csv(tmp_path / "p.csv")
    right = written["pred_label"] == written["true_label"]
    assert metrics["accuracy"] == pytest.approx(right.mean())
    assert written["filename"][0] == "low/18.wav"

    files = [setup / "low" / f"{i}.wav" for i in (18, 19)]
    status, output, errors = command(f"predict {{out}}/new/m.skaudio {files[0]} {files[1]}")
    assert status == 0, errors
    predictions = pd.read_csv(io.StringIO(output))
    assert predictions["filename"].tolist() == list(map(str, files))
    assert predictions["pred_label"].tolist() == written["pred_label"].tolist()[:2]

    status, output, _ = command("info {out}/new/m.skaudio")
    assert status == 0
    assert json.loads(output)["sample_rate"] == 8000
    status, output, _ = command("info {setup}/odd/0.wav")
    assert json.loads(output) == {
        "sample_rate": 22050, "n_channels": 1, "n_samples": 6615, "seconds": 0.3,
    }  # fmt: skip


@pytest.mark.usefixtures("table")
def test_groups_are_held_back(command, tmp_path):
    line = (
        "fit {setup}/clips.csv -o {out}/m.skaudio --epochs 2 --groups speaker --network separable"
    )
    status, output, errors = command(f"{line} --balanced --augmentation sound --seed 5")
    assert status == 0, errors
    told = json.loads(output)
    assert told["n_clips"] < 18
    assert told["training"]["best"] is not None
    model = skaudio.load(tmp_path / "m.skaudio")
    assert model.class_weight == "balanced"
    assert model.augmentation == "sound"
    assert model.random_state == 5
    assert type(model.network).__name__ == "SeparableNet"


@pytest.mark.usefixtures("table")
def test_a_pipeline(command, tmp_path):
    status, output, errors = command("fit {setup}/clips.csv -o {out}/m.skaudio --pipeline sound")
    assert status == 0, errors
    told = json.loads(output)
    assert (told["labels"], told["n_clips"]) == (["low-high", "low-low", "low-mid"], 18)
    assert skaudio.load(tmp_path / "m.skaudio")["loader"].n_jobs is None
    status, output, errors = command(
        "evaluate {out}/m.skaudio {setup}/low/test.csv --data-path {setup}"
    )
    assert status == 0, errors
    assert json.loads(output)["accuracy"] == 1


def test_many_corpora(command, setup, tmp_path):
    tables = [
        pd.read_csv(setup / task / "train.csv").assign(corpus=task) for task in ("low", "odd")
    ]
    X = pd.concat(tables, ignore_index=True)
    X["file"] = [str(setup / file) for file in X["file"]]
    single = skaudio.AudioClassifier(
        AdapterResNet(n_filters=2), frontend=LogMelSpectrogram(), max_epochs=1, random_state=0
    )
    many = skaudio.MultiCorpusClassifier(single).fit(X[["file", "corpus"]], X["label"])
    skaudio.save(many, tmp_path / "m.skaudio")
    line = "evaluate {out}/m.skaudio {setup}/odd/test.csv --data-path {setup}"
    status, output, errors = command(f"{line} --corpus odd")
    assert status == 0, errors
    assert json.loads(output)["labels"] == ["odd-high", "odd-low", "odd-mid"]
    status, _, errors = command(line)
    assert status == 2
    assert re.search(r"knows the corpora low, odd. Say which .* with --corpus", errors)


def test_pipelines_and_numbers(command, setup, tmp_path, table):
    paths = [str(setup / file) for file in table["file"]]
    pipeline = make_pipeline(
        AudioLoader(), LogMelSpectrogram(), TemporalStatistics(), LogisticRegression()
    )
    skaudio.save(pipeline.fit(paths, np.arange(18) % 2), tmp_path / "p.skaudio")
    status, output, errors = command(f"predict {{out}}/p.skaudio {paths[0]}")
    assert status == 0, errors
    assert output.splitlines()[0] == "filename,probability_0,probability_1,pred_label"

    regressor = AudioRegressor(
        MTSNet(n_filters=(2,)), frontend=LogMelSpectrogram(), max_epochs=1, random_state=0
    )
    skaudio.save(regressor.fit(paths, np.arange(18.0)), tmp_path / "r.skaudio")
    (tmp_path / "numbers.csv").write_text("file,label\nlow/0.wav,0.5\nlow/1.wav,2\n")
    status, output, errors = command(
        "evaluate {out}/r.skaudio {out}/numbers.csv --data-path {setup} --predictions {out}/p.csv"
    )
    assert status == 0, errors
    expected = regressor.predict(paths[:2])
    error = np.mean(np.abs(expected - [0.5, 2]))
    assert json.loads(output)["mean_absolute_error"] == pytest.approx(error, rel=1e-5)
    assert pd.read_csv(tmp_path / "p.csv")["prediction"].tolist() == pytest.approx(expected)

    regressor.fit(paths, np.arange(18.0)[:, np.newaxis])
    skaudio.save(regressor, tmp_path / "column.skaudio")
    status, output, errors = command(f"predict {{out}}/column.skaudio {paths[0]}")
    assert status == 0, errors
    assert output.splitlines()[0] == "filename,prediction"


def test_the_label_is_that_of_predict(command, setup, tmp_path, table):
    paths = [str(setup / file) for file in table["file"]]
    steps = AudioLoader(), LogMelSpectrogram(), TemporalStatistics(), LogisticRegression()
    model = FixedThresholdClassifier(make_pipeline(*steps), threshold=1e-6, pos_label="b")
    skaudio.save(model.fit(paths, ["a", "b"] * 9), tmp_path / "m.skaudio")
    table.assign(label=["a", "b"] * 9).to_csv(tmp_path / "t.csv", index=False)
    status, output, errors = command(
        "evaluate {out}/m.skaudio {out}/t.csv --data-path {setup} --predictions {out}/p.csv"
    )
    assert status == 0, errors
    assert json.loads(output)["recall"] == {"a": 0.0, "b": 1.0}
    written = pd.read_csv(tmp_path / "p.csv")
    assert written["pred_label"].tolist() == model.predict(paths).tolist() == ["b"] * 18
    assert (written["probability_a"] > 0.5).any()


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        (
            "fit {setup}/clips.csv -o {out}/m --groups voice",
            2,
            r"no column 'voice', but file, label",
        ),
        (
            "fit {out}/groups.csv -o {out}/m --groups empty --data-path {setup}",
            2,
            r"has no empty of 5 clips, such as low/0.wav. Fill the cells",
        ),
        (
            "fit {out}/groups.csv -o {out}/m --groups one --data-path {setup}",
            2,
            r"has the single one 'x', .* Leave --groups out",
        ),
        (
            "evaluate {out}/two.skaudio {out}/t.csv --data-path {setup} --predictions {out}/p.csv",
            1,
            r"t.csv: 1 of 2 clips have a label that is no finite number, .* low/1.wav with 'b'",
        ),
        (
            "evaluate {out}/two.skaudio {out}/groups.csv --data-path {setup}",
            1,
            r"two.skaudio: estimates 2 numbers for each clip, but the table's label is a single",
        ),
        (
            "fit {setup}/clips.csv -o {out}/m --pipeline voice --sample-rate 8000",
            2,
            r"--sample-rate is for networks. Leave it out, or --pipeline",
        ),
        (
            "fit {setup}/clips.csv -o {setup}/clips.csv/m",
            2,
            r"nothing can be written to .*clips.csv",
        ),
        ("fit {setup}/clips.csv", 2, r"Missing option '-o'"),
        (
            "fit {out}/one.csv -o {out}/m --pipeline voice --data-path {setup}",
            1,
            r"one.csv: has the single label 'x', but expected several",
        ),
        (
            "fit {setup}/clips.csv -o {out}/m --groups label --epochs 1",
            1,
            r"each has all clips of some class.*On the command line: early_stopping is --groups",
        ),
        ("fit {setup}/low/test.csv -o {out}/m", 1, r"6 of 6 files are missing"),
        ("predict {out}/m {setup}/low/0.wav", 2, r"File '.*' does not exist"),
        ("predict {setup}/clips.csv {setup}/low/0.wav", 1, r"is no zip file"),
        ("predict {out}/features.skaudio {setup}/low/0.wav", 1, r"which recognises nothing"),
        ("predict {out}/features.skaudio", 2, r"Missing argument 'FILES...'"),
        ("evaluate {out}/one.skaudio {setup}/odd/val.csv --data-path {setup}", 1, r"6 of 6 clips"),
        ("predict {out}/one.skaudio {setup}/low/0.wav --corpus a", 2, r"Leave --corpus out"),
        ("predict {out}/one.skaudio {setup}/clips.csv", 1, r"clips.csv"),
        ("info {setup}/clips.csv", 1, r"clips.csv"),
    ],
)
def test_mistakes(command, setup, tmp_path, line, status, message):
    skaudio.save(LogMelSpectrogram(), tmp_path / "features.skaudio")
    pipeline = make_pipeline(
        AudioLoader(), LogMelSpectrogram(), TemporalStatistics(), LogisticRegression()
    )
    paths = [str(setup / "low" / f"{i}.wav") for i in range(2)]
    skaudio.save(pipeline.fit(paths, ["a", "b"]), tmp_path / "one.skaudio")
    skaudio.save(
        make_pipeline(*pipeline[:-1], Ridge()).fit(paths, np.ones((2, 2))), tmp_path / "two.skaudio"
    )
    lines = [f"low/{i}.wav,{i},{'' if i < 5 else 'x'},x" for i in range(6)]
    (tmp_path / "one.csv").write_text("file,label\nlow/0.wav,x\nlow/1.wav,x\n")
    (tmp_path / "t.csv").write_text("file,label\nlow/0.wav,1\nlow/1.wav,b\n")
    (tmp_path / "groups.csv").write_text("\n".join(["file,label,empty,one", *lines]) + "\n")
    found, output, errors = command(line)
    assert (found, output) == (status, "")
    assert re.search(message, re.sub(r"\s+", " ", errors))
    assert not (tmp_path / "p.csv").exists()
