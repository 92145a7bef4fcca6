import os
from pathlib import Path

# Read when scipy is first imported; without it scikit-learn skips one of its checks.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import matplotlib as mpl
import pytest
import torch
from hypothesis import settings

mpl.use("Agg")
torch.manual_seed(0)  # for what is drawn before the first test

# The same examples in each run; others are tried with --hypothesis-profile=default.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

collect_ignore = ["benchmarks"]


@pytest.fixture(autouse=True, scope="session")
def _one_torch_thread():
    # On a busy two-core machine tiny networks run many times slower with two threads.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _one_seed():
    # A test must not hang on what those before it drew.
    torch.manual_seed(0)


def _folder(variable):
    folder = os.environ.get(variable)
    return Path(folder) if folder and Path(folder).is_dir() else None


@pytest.fixture(scope="session")
def recordings():
    """Folder with the real recordings, as ``SKAUDIO_DATA`` names it."""
    folder = _folder("SKAUDIO_DATA")
    if folder is None:
        pytest.skip("needs real recordings: set SKAUDIO_DATA to a folder with their tables")
    return folder


@pytest.fixture(scope="session")
def golden_folder():
    """Folder with the recorded outputs of published implementations: ``SKAUDIO_GOLDEN``."""
    folder = _folder("SKAUDIO_GOLDEN")
    if folder is None:
        pytest.skip("needs recorded outputs: set SKAUDIO_GOLDEN to the folder with their files")
    return folder
