"""The examples run, and their results are as good as they promise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import skaudio
from skaudio.datasets import load_spoken_digits

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(folder, name, *options):
    """Run an example as a user does, in a folder of its own; return what it prints."""
    environment = {key: value for key, value in os.environ.items() if key != "SKAUDIO_DATA"}
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, options)],
        capture_output=True, text=True, check=False, cwd=folder, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(output):
    """The cells of a printed table, row by row, without its header."""
    lines = [line for line in output.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines][1:]


@pytest.mark.slow
def test_quickstart(tmp_path):
    output = run(tmp_path, "plot_01_quickstart.py")
    assert float(output.split("unweighted average recall:")[1].split()[0]) > 0.92
    assert (tmp_path / "results" / "quickstart_confusion.png").exists()
    clips = load_spoken_digits()
    loaded = skaudio.load(tmp_path / "results" / "digits.skaudio")
    assert (loaded.predict(clips.data[::7]) == clips.target[::7]).mean() > 0.8


@pytest.mark.slow
def test_networks(tmp_path):
    table = rows(run(tmp_path, "plot_02_networks.py", "--folds", 1, "--jobs", 1))
    assert [name for _, name, *_ in table] == ["network", "pipeline", "vote"]
    assert min(float(recall.split()[0]) for _, _, recall, _ in table) > 0.9


@pytest.mark.slow
def test_diffres(tmp_path):
    table = rows(run(tmp_path, "plot_03_diffres.py", "--quick"))
    # What reaches the network follows from the hop and the share of frames that are kept.
    for _, hop, kept, per_second, _, _ in table:
        assert float(per_second) == pytest.approx(10 * float(kept) / float(hop), abs=1)
    seconds = {
        (method, hop, kept): float(row[-1]) for row in table for method, hop, kept in [row[:3]]
    }
    assert seconds["DiffRes", "1", "10"] < seconds["fixed hop", "1", "100"]
    assert (tmp_path / "results" / "diffres.png").exists()


@pytest.mark.slow
def test_small_models(tmp_path):
    table = rows(run(tmp_path, "plot_04_small_models.py", "--quick"))
    n_parameters = {row[0]: int(row[1]) for row in table}
    n_products = {row[0]: float(row[2].split()[0]) for row in table}
    assert n_parameters["CNN"] >= 6 * n_parameters["separable"]
    assert n_products["CNN"] > n_products["separable"] > n_products["DiffRes and separable"]
    assert (tmp_path / "results" / "small_models.png").exists()


@pytest.mark.slow
def test_honest_search(recordings, tmp_path):
    options = ["--data", recordings, "--pairs", 1, "--epochs", 9]
    (_, ours), _ = rows(run(tmp_path, "plot_05_honest_search.py", *options))
    assert 0.2 < float(ours) < 1


@pytest.mark.slow
def test_recognition(recordings, tmp_path):
    options = ["--data", recordings, "--corpora", "emodb", "--speakers", 2, "--whole"]
    ((corpus, _, recall, _, _),) = rows(run(tmp_path, "plot_09_recognition.py", *options))
    assert corpus == "emodb"
    assert float(recall.split()[0]) > 2 / 7  # trained on one speaker only
    assert (tmp_path / "results" / "recognition.png").exists()


@pytest.mark.slow
def test_regression(tmp_path):
    table = rows(run(tmp_path, "plot_06_regression.py"))
    assert len(table) == 2
    for _, correlation, semitones in table:
        assert float(correlation) > 0.9
        assert float(semitones) < 3
    assert (tmp_path / "results" / "regression.png").exists()


@pytest.mark.slow
def test_transfer(recordings, tmp_path):
    options = ["--data", recordings, "--quick", "--jobs", 1]
    table = rows(run(tmp_path, "plot_07_transfer.py", *options))
    assert len(table) == 16
    trained = {row[2]: int(row[4].replace(" ", "")) for row in table}
    assert trained["last-layer"] < trained["adapters"] < trained["finetune"] == trained["scratch"]
    assert trained["adapters"] < 0.15 * trained["finetune"]
    assert (tmp_path / "results" / "transfer.png").exists()


@pytest.mark.slow
def test_many_corpora(recordings, tmp_path):
    options = ["--data", recordings, "--quick", "--jobs", 1]
    table = rows(run(tmp_path, "plot_08_many_corpora.py", *options))
    alone, adapters, shared = (int(row[-2].replace(" ", "")) for row in table)
    assert shared < adapters < alone
    assert (tmp_path / "results" / "many_corpora.png").exists()


def test_augmentation(tmp_path):
    lines = [line for line in run(tmp_path, "plot_10_augmentation.py").splitlines() if ": " in line]
    seconds = {name: float(rest.split()[0]) for name, rest in (x.split(": ") for x in lines)}
    assert seconds["played faster"] == pytest.approx(seconds["as it was"] / 1.25, abs=0.02)
    assert seconds["played slower"] == pytest.approx(seconds["as it was"] / 0.8, abs=0.02)
    assert seconds["in a room"] == seconds["as it was"]
    folder = tmp_path / "results" / "augmentation"
    assert len(list(folder.glob("*.wav"))) == len(seconds) == 8
    assert (folder / "augmentations.png").exists()
