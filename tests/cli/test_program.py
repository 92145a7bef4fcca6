"""The program as a process: help, lazy imports, completion, exit status."""

import logging
import os
import re
import subprocess
import sys

import pytest

import skaudio
from skaudio.cli import main


def run(*arguments, **variables):
    """Run the command; return its exit status, output and errors, and the modules it imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "skaudio", *arguments],
        capture_output=True, text=True, check=False, env=os.environ | variables,
    )  # fmt: skip
    lines = done.stderr.splitlines()
    modules = {line.split("|")[-1].strip() for line in lines if line.startswith("import time:")}
    errors = [line for line in lines if not line.startswith("import time:")]
    return done.returncode, done.stdout, "\n".join(errors), modules


HEAVY = {"torch", "numpy", "pandas", "sklearn", "librosa"}


def test_version():
    status, output, errors, modules = run("--version")
    assert (status, output, errors) == (0, f"skaudio {skaudio.__version__}\n", "")
    assert not modules & HEAVY


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--help"], ["For everybody:", "Networks of EmoNet", "fit ", "vgg16 "]),
        (["cnn", "--help"], ["single-task", "multi-task", "evaluate"]),
        (
            ["cnn", "single-task", "--help"],
            ["Data:", "Output:", "Features:", "Network:", "Training:", "-iwd", "[default: 64"],
        ),
        (["fit", "-h"], ["Data:", "Training:", "--groups COLUMN"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_help_is_grouped_and_loads_nothing_heavy(arguments, told):
    status, output, errors, modules = run(*arguments)
    assert (status, errors) == (0, "")
    assert all(text in output for text in told)
    assert not modules & HEAVY


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("skaudio ", {"fit", "info", "cnn", "fusion"}),
        ("skaudio cnn ", {"single-task", "multi-task", "evaluate"}),
        ("skaudio cnn single-task -m ", {"scratch", "adapters", "last-layer", "finetune"}),
        ("skaudio rnn multi-task -t a b --cell", {"--cell-type"}),
    ],
)
def test_completion(words, found):
    place = words.count(" ")
    status, output, _, modules = run(
        _SKAUDIO_COMPLETE="bash_complete",
        COMP_WORDS=words.strip(),
        COMP_CWORD=str(place),
    )
    assert status == 0
    assert found <= {line.partition(",")[2] for line in output.splitlines()}
    assert not modules & HEAVY


def test_completion_has_a_script():
    status, output, _, _ = run(_SKAUDIO_COMPLETE="zsh_source")
    assert status == 0
    assert "#compdef skaudio" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--verison"], "No such option '?--verison"),
        (["fitt"], "No such command 'fitt'"),
        (["cnn", "single-task", "-m", "adapter"], "'adapter' is not one of"),
        (["cnn", "single-task"], "Missing option '-dp'"),
        (["rnn", "single-task", "-N", "2"], "No such option '?-N"),
    ],
    ids=str,
)
def test_a_mistake_on_the_command_line(arguments, message):
    status, output, errors, modules = run(*arguments)
    assert (status, output) == (2, "")
    assert re.search(message, errors)
    assert not modules & HEAVY


def test_a_failure(tmp_path):
    (tmp_path / "empty.wav").touch()
    status, output, errors, modules = run("info", str(tmp_path / "empty.wav"))
    assert (status, output) == (1, "")
    assert errors.startswith("Error: ")
    assert "empty.wav" in errors
    assert "torch" not in modules


def test_logging_is_left_as_it_was(tmp_path, monkeypatch):
    logger = logging.getLogger("skaudio.epochs")
    before = logger.isEnabledFor(logging.INFO)
    (tmp_path / "empty.wav").touch()
    # While the program runs it is enabled; the logger would remember that.
    monkeypatch.setattr("skaudio.audio.probe", lambda path: 1 / logger.isEnabledFor(logging.INFO))
    assert main(["info", str(tmp_path / "empty.wav")]) == 1
    assert logger.isEnabledFor(logging.INFO) == before


def test_a_traceback_on_request(tmp_path):
    (tmp_path / "empty.wav").touch()
    for flag, told in (("-v", False), ("-vv", True)):
        status, _, errors, _ = run(flag, "info", str(tmp_path / "empty.wav"))
        assert status == 1
        assert ("Traceback" in errors) == told
