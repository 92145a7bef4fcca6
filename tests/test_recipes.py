"""The recipes of docs/contributing.md and the examples of the README work as they are written."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.utils import Bunch

from skaudio.datasets import load_spoken_digits, make_tones

ROOT = Path(__file__).parents[1]


def run(file, heading, names=(), changes=()):
    """Run the code of a section, with some text replaced; return the names that are then known."""
    section = (ROOT / file).read_text(encoding="utf-8").split(f"# {heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^ *```python\n(.*?)^ *```$", section, re.DOTALL | re.MULTILINE)
    code = "\n".join(map(textwrap.dedent, blocks))
    for old, new in changes:
        assert old in code
        code = code.replace(old, new)
    names = {"__name__": "recipe", **dict(names)}
    exec(code, names)
    return names


def test_a_new_dataset(tmp_path):
    for name in ("03_anger_1.wav", "10_calm_1.wav", "03_calm_1.wav"):
        (tmp_path / name).touch()
    clips = run("docs/contributing.md", "A new dataset")["load_my_corpus"](tmp_path)
    assert clips.target.tolist() == ["anger", "calm", "calm"]
    assert clips.speaker.tolist() == ["03", "03", "10"]
    assert clips.data[0] == str(tmp_path / "03_anger_1.wav")


def test_a_new_callback():
    assert run("docs/contributing.md", "A new callback")["layers"][0].weight.abs().max() <= 0.1


@pytest.mark.slow
def test_an_export(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run("docs/contributing.md", "An export")
    assert names["probability"].shape == (1, 3)


@pytest.mark.slow
def test_the_readme():
    assert run("README.md", "skaudio")["scores"].mean() > 0.9


@pytest.mark.slow
def test_the_readmes_networks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X, y = make_tones(12, sample_rate=16000, duration=0.3, random_state=0)
    files = [f"{i}.wav" for i in range(len(X))]
    for file, waveform in zip([*files, "a_new_recording.wav"], [*X, X[0]], strict=True):
        soundfile.write(file, waveform, 16000)
    corpus = np.tile(["german", "urdu"], 6)
    pd.DataFrame({"file": files, "label": y, "corpus": corpus}).to_csv("recordings.csv")
    digits = load_spoken_digits()
    few = Bunch(data=digits.data[::12], target=digits.target[::12], sample_rate=digits.sample_rate)
    once = "max_epochs=1"
    names = run(
        "README.md", "A network", {"clips": few},
        [("random_state=0", f"random_state=0, {once}"), ("verbose=1", once)],
    )  # fmt: skip
    for language in ("german", "urdu", "new"):
        names |= {f"{language}_files": files, f"{language}_labels": y}
    names = run(
        "README.md", "Transfer learning and many corpora", names,
        [("frontend=frontend", f"frontend=frontend, {once}")],
    )  # fmt: skip
    assert names["small"].n_trained_parameters_ < names["big"].n_trained_parameters_
    assert names["many"].corpora_.tolist() == ["german", "urdu", "dogs"]
