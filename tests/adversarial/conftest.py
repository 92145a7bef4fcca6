import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

RUNS = Path(__file__).with_name("runs.py")


@pytest.fixture
def rng(request):
    """Random numbers of one test, which names its seed when it fails.

    Set SKAUDIO_ADVERSARIAL_SEED to try others.
    """
    seed = int(os.environ.get("SKAUDIO_ADVERSARIAL_SEED", "0"))
    print(f"SKAUDIO_ADVERSARIAL_SEED={seed}")
    return np.random.default_rng([seed, *request.node.name.encode()])


class Process:
    """A run of ``runs.py`` in a process of its own."""

    def __init__(self, *arguments):
        self.popen = subprocess.Popen(
            [sys.executable, RUNS, *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def wait_for_start(self):
        line = self.popen.stdout.readline()
        assert line == "started\n", line + self.popen.stderr.read()

    def ended_within(self, seconds):
        """Wait; tell whether it ended before the time was over."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.popen.poll() is not None:
                return True
            time.sleep(0.002)
        return self.popen.poll() is not None

    def kill(self):
        self.popen.kill()
        self.popen.communicate()

    def finish(self, timeout=300):
        """Wait for the end; return what it printed since the start."""
        try:
            output, errors = self.popen.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        assert self.popen.returncode == 0, f"{output[-500:]}\n{errors}"
        return output


@pytest.fixture
def start():
    """Start ``runs.py`` with some arguments; what still runs at the end of the test is killed."""
    processes = []

    def start_one(*arguments):
        processes.append(Process(*arguments))
        return processes[-1]

    yield start_one
    for process in processes:
        if process.popen.poll() is None:
            process.kill()


@pytest.fixture
def run(start):
    """Run ``runs.py`` to its end."""
    return lambda *arguments: start(*arguments).finish()


def load(file):
    with np.load(file) as arrays:
        return {name: arrays[name] for name in arrays.files if name != "seconds"}


@pytest.fixture
def assert_same_bits():
    """Compare two results of ``runs.py``, files or dicts of arrays."""

    def compare(result, expected):
        result, expected = (x if isinstance(x, dict) else load(x) for x in (result, expected))
        assert result.keys() == expected.keys()
        for name, array in expected.items():
            assert result[name].dtype == array.dtype, name
            np.testing.assert_array_equal(result[name], array, err_msg=name)

    return compare
