"""Files that were written before load today, and predict what they predicted then.

``python tests/persistence/test_saved.py`` writes them anew. Until the first release a change of
the format may do that; it raises ``FORMAT`` as well.
"""

import inspect
from pathlib import Path

import numpy as np
import pytest

import skaudio
from skaudio import AudioClassifier, LogMelSpectrogram, networks
from skaudio.networks import BaseNetwork, MTSNet

FOLDER = Path(__file__).parents[1] / "data" / "saved"
LARGEST = 20 * 1024

SMALL = {
    "AdapterRNN": {"n_hidden": 2},
    "AdapterResNet": {"n_filters": 1, "n_blocks": 1},
    "FusionNet": {"n_filters": 1, "n_blocks": 1, "n_hidden": 1, "n_layers": 1, "input_norm": False},
    "VGG16Net": {"width": 1 / 128},
    # The names of its scorer's many small tensors take 8 kB.
    "DiffResNet": {
        "backbone": MTSNet(
            (2,),
            (3, 3),
            (),
            n_frame_features=None,
            pooling="attention",
            batch_norm=False,
            input_norm=False,
        )
    },
    "MTSNet": {"n_filters": (2, 2), "n_frame_features": 2, "n_hidden": 4},
    "SeparableNet": {"n_filters": (2, 4)},
}
SETTINGS = {"max_epochs": 1, "random_state": 0, "device": "cpu", "n_threads": 1}
FRONTEND = LogMelSpectrogram(sample_rate=8000, n_fft=64, n_mels=4)


def waveforms():
    number = np.arange(12)[:, np.newaxis]
    phase = np.arange(400) * (0.1 + 0.2 * (number % 3)) + number
    return (0.3 * np.sin(phase)).astype(np.float32), np.arange(12) % 3


def inputs(model, X):
    model = getattr(model, "estimator", model)
    return X if model.frontend is not None else X[:, :40].reshape(12, 2, 20)


def networks_and_estimators():
    """Return a small model for each public network and estimator, by the name of its file."""
    models = {}
    for name in networks.__all__:
        kind = getattr(networks, name)
        if issubclass(kind, BaseNetwork) and not inspect.isabstract(kind):
            models[name] = AudioClassifier(kind(**SMALL.get(name, {})), **SETTINGS)
    for name in skaudio.__all__:
        kind = getattr(skaudio, name)
        if inspect.isclass(kind) and hasattr(kind, "predict"):
            network = MTSNet((2,), n_frame_features=2)
            settings = {"network": network, "frontend": FRONTEND, **SETTINGS}
            wraps = "estimator" in inspect.signature(kind).parameters
            models[name] = kind(AudioClassifier(**settings)) if wraps else kind(**settings)
    return models


def outputs(model, X):
    X = inputs(model, X)
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


@pytest.mark.parametrize("name", networks_and_estimators())
def test_files_of_before_predict_the_same(name):
    path = FOLDER / f"{name}.skaudio"
    assert path.exists(), "new: run python tests/persistence/test_saved.py"
    assert path.stat().st_size <= LARGEST
    X, _ = waveforms()
    with np.load(FOLDER / "outputs.npz") as expected:
        np.testing.assert_allclose(outputs(skaudio.load(path), X), expected[name], atol=1e-4)


def main():
    """Write all files, and what their models predict."""
    X, y = waveforms()
    models = {
        name: model.fit(inputs(model, X), y) for name, model in networks_and_estimators().items()
    }
    for name, model in models.items():
        skaudio.save(model, FOLDER / f"{name}.skaudio")
    np.savez(FOLDER / "outputs.npz", **{name: outputs(model, X) for name, model in models.items()})


if __name__ == "__main__":
    main()
