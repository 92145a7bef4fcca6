import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from skaudio.networks import MTSNet


@pytest.fixture
def tiny():
    """A network that trains in no time."""
    return MTSNet(n_filters=(4,), kernel_size=(3, 3), tempo_factors=(), dropout=0.0)


def make_features(n_clips=48, n_bands=6, n_frames=12, seed=0):
    """Features whose class is the band that sounds, loudly enough to be learned at once."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n_clips) % 3
    X = rng.normal(size=(n_clips, n_bands, n_frames)).astype(np.float32)
    X[np.arange(n_clips), 2 * labels] += 6.0
    return X, np.array(["dog", "cat", "cow"])[labels]


@pytest.fixture
def features():
    return make_features()


@pytest.fixture
def ragged():
    X, y = make_features()
    lengths = 4 + np.arange(len(X)) * 7 % 9
    return [clip[:, :n] for clip, n in zip(X, lengths, strict=True)], y


@pytest.fixture
def printed_by_two_processes():
    """Run code in two processes that hash strings differently; give what they print."""

    def run(code):
        children = [
            subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(code)],
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONHASHSEED": seed},
            )
            for seed in "12"
        ]
        return [child.communicate()[0] for child in children]

    return run
