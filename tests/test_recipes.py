"""The recipes of docs/contributing.md and the README's first example work as they are written."""

import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(file, heading):
    """Run the code of a section; return the names that it defines."""
    section = (ROOT / file).read_text(encoding="utf-8").split(f"# {heading}\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"^ *```python\n(.*?)^ *```$", section, re.DOTALL | re.MULTILINE)
    names = {"__name__": "recipe"}
    exec(textwrap.dedent(code), names)
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
