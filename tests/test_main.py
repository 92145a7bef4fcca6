"""The command ``python -m skaudio``."""

import subprocess
import sys

import pytest

import skaudio


def run(*arguments):
    """Run the command; return its exit status, output and errors, and the modules it imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "skaudio", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = done.stderr.splitlines()
    modules = {line.split("|")[-1].strip() for line in lines if line.startswith("import time:")}
    errors = [line for line in lines if not line.startswith("import time:")]
    return done.returncode, done.stdout, "\n".join(errors), modules


def test_version():
    status, output, errors, modules = run("--version")
    assert (status, output, errors) == (0, f"skaudio {skaudio.__version__}\n", "")
    assert not modules & {"torch", "numpy", "sklearn", "librosa"}
    assert "skaudio" in modules


@pytest.mark.parametrize("arguments", [(), ("--help",)], ids=str)
def test_help(arguments):
    status, output, errors, _ = run(*arguments)
    assert (status, errors) == (0, "")
    assert "usage: python -m skaudio" in output
    assert "--version" in output


def test_unknown_option():
    status, _, errors, _ = run("--verison")
    assert status == 2
    assert "unrecognized arguments: --verison" in errors
