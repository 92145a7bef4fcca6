"""The estimators on a GPU, and their models on a machine without one."""

import os
import subprocess
import sys

import joblib
import numpy as np
import pytest
import torch

from skaudio.estimators import AudioClassifier

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

PREDICT = """
import joblib, numpy, sys
folder = sys.argv[1]
numpy.save(f"{folder}/there.npy", joblib.load(f"{folder}/model").predict_proba(
    numpy.load(f"{folder}/clips.npy")))
"""


@pytest.mark.parametrize("amp", [None, "bfloat16", "float16"])
@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_learns_and_predicts_on_a_machine_without_a_gpu(tiny, features, tmp_path, amp, loss):
    X, y = features
    model = AudioClassifier(
        tiny, device="cuda", amp=amp, loss=loss, max_epochs=15, lr=1e-2, random_state=0
    ).fit(X, y)
    assert model.score(X, y) > 0.9
    assert next(model.net_.module_.parameters()).is_cuda
    joblib.dump(model, tmp_path / "model")
    np.save(tmp_path / "clips.npy", X)
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, "-c", PREDICT, tmp_path], env=environment, check=True)
    there = np.load(tmp_path / "there.npy")
    np.testing.assert_allclose(there, model.predict_proba(X), rtol=1e-3, atol=1e-4)
