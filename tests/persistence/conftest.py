import sys
import types

import numpy as np
import pytest


@pytest.fixture(scope="session")
def clips():
    """Clips by formula, the same for every version of every library."""
    number = np.arange(12)[:, np.newaxis]
    phase = np.arange(400) * (0.1 + 0.2 * (number % 3)) + number
    labels = np.array(["high", "low", "middle"])[np.arange(12) % 3]
    return (0.3 * np.sin(phase)).astype(np.float32), labels


@pytest.fixture
def importable(monkeypatch):
    """Return a function that makes classes and functions importable, from a module users_own."""
    module = types.ModuleType("users_own")
    monkeypatch.setitem(sys.modules, "users_own", module)

    def publish(*values):
        for value in values:
            monkeypatch.setattr(value, "__module__", "users_own")
            setattr(module, value.__name__, value)

    return publish
