"""The examples run, and say what they promise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(folder, name, *options):
    """Run an example as a user does, in a folder of its own; give its table rows as cells."""
    environment = {key: value for key, value in os.environ.items() if key != "SKAUDIO_DATA"}
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, options)],
        capture_output=True, text=True, check=False, cwd=folder, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.slow
def test_quickstart(tmp_path):
    run(tmp_path, "plot_01_quickstart.py")
    assert list(tmp_path.rglob("*.png"))


def test_emotion(recordings, tmp_path):
    options = ["--data", recordings, "--speakers", 2, "--epochs", 2, "--jobs", 1]
    _, *rows = run(tmp_path, "plot_02_emotion.py", *options)
    assert [row[0] for row in rows[:2]] == ["plain CNN", "MTS, factors 0.7 and 1.428"]
    assert all(0.05 < float(row[1]) <= 1 for row in rows)


@pytest.mark.slow
def test_diffres(tmp_path):
    _, *rows = run(tmp_path, "plot_03_diffres.py", "--quick")
    assert {row[0] for row in rows} == {
        "fixed hop", "average pooling", "maximum pooling", "DiffRes",
    }  # fmt: skip
    assert (tmp_path / "results" / "diffres.png").exists()


@pytest.mark.slow
def test_small_models(tmp_path):
    _, *rows = run(tmp_path, "plot_04_small_models.py", "--quick")
    n_parameters = {row[0]: int(row[1]) for row in rows}
    n_products = {row[0]: float(row[2].split()[0]) for row in rows}
    assert n_parameters["CNN"] >= 6 * n_parameters["separable"]
    assert n_products["CNN"] > n_products["separable"] > n_products["DiffRes and separable"]
    assert (tmp_path / "results" / "small_models.png").exists()


@pytest.mark.slow
def test_honest_search(recordings, tmp_path):
    options = ["--data", recordings, "--pairs", 1, "--epochs", 9]
    _, ours, published = run(tmp_path, "plot_05_honest_search.py", *options)
    assert 0.2 < float(ours[1]) < 1
    assert float(published[1]) == 0.746
