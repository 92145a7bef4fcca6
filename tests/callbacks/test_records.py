"""Callbacks that write down what happens in a training."""

import logging
import pickle
import sys

import numpy as np
import pandas as pd
import pytest
from skorch.callbacks import Callback

import skaudio
from skaudio import AudioClassifier
from skaudio.callbacks import EpochLog, HistoryFile, TensorBoardEvents
from skaudio.datasets import make_tones
from skaudio.networks import MTSNet


@pytest.fixture(scope="module")
def tones():
    return make_tones(12, duration=0.05, random_state=0)


def fit(callback, tones, max_epochs=2, further=(), **settings):
    model = AudioClassifier(
        MTSNet(n_filters=(2,)), callbacks=[callback, *further], max_epochs=max_epochs,
        random_state=0, **settings,
    )  # fmt: skip
    return model.fit(*tones, X_val=tones[0], y_val=tones[1])


def test_the_file_holds_the_history(tmp_path, tones):
    path = tmp_path / "runs" / "metrics.csv"
    model = fit(HistoryFile(path), tones)
    written = pd.read_csv(path, index_col="epoch")
    pd.testing.assert_frame_equal(written, model.history_, check_like=True)
    assert [file.name for file in path.parent.iterdir()] == ["metrics.csv"]


def test_an_interrupted_training_leaves_the_same_file(tmp_path, tones):
    class Interrupt(HistoryFile):
        def on_epoch_end(self, net, **kwargs):
            super().on_epoch_end(net, **kwargs)
            if len(net.history) == 2:
                raise KeyboardInterrupt

    fit(HistoryFile(tmp_path / "whole.csv"), tones, max_epochs=3)
    run = {"max_epochs": 3, "checkpoint_dir": tmp_path / "checkpoints"}
    with pytest.raises(KeyboardInterrupt), pytest.warns(UserWarning, match="interrupted"):
        fit(Interrupt(tmp_path / "resumed.csv"), tones, **run)
    fit(HistoryFile(tmp_path / "resumed.csv"), tones, **run)
    whole, resumed = (
        pd.read_csv(tmp_path / name, index_col="epoch").drop(columns="dur")
        for name in ("whole.csv", "resumed.csv")
    )
    pd.testing.assert_frame_equal(whole, resumed)


def test_a_line_per_epoch(tones, caplog):
    with caplog.at_level(logging.INFO, logger="mine"):
        model = fit(EpochLog("mine"), tones)
    first, second = caplog.messages
    assert first.startswith("epoch 1: ")
    assert f"valid_score {model.history_['valid_score'][2]:.4g}" in second


class Note(Callback):
    """Records a text."""

    def on_epoch_end(self, net, **kwargs):
        net.history.record("note", "all is well")
        net.history.record("share", np.array(1 / 3))


def test_a_callback_may_record_texts(tmp_path, tones, caplog):
    with caplog.at_level(logging.INFO, logger="mine"):
        fit(
            Note(), tones, max_epochs=1, further=[EpochLog("mine"), HistoryFile(tmp_path / "m.csv")]
        )
    assert "note all is well" in caplog.messages[0]
    assert "share 0.3333" in caplog.messages[0]
    assert "share 0.33333" not in caplog.messages[0]
    assert pd.read_csv(tmp_path / "m.csv")["note"].tolist() == ["all is well"]


def test_events(tmp_path, tones):
    pytest.importorskip("tensorboard")
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    callback = TensorBoardEvents(tmp_path)
    model = fit(callback, tones)
    pickle.loads(pickle.dumps(callback))
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    losses = [event.value for event in events.Scalars("train_loss")]
    assert losses == pytest.approx(model.history_["train_loss"].tolist())


def test_without_tensorboard(tmp_path, tones, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"TensorBoard.*Install skaudio\[tensorboard\]"):
        fit(TensorBoardEvents(tmp_path), tones)


def test_they_are_saved_with_a_model(tmp_path, tones):
    model = fit(HistoryFile(str(tmp_path / "metrics.csv")), tones)
    skaudio.save(model, tmp_path / "m.skaudio")
    (callback,) = skaudio.load(tmp_path / "m.skaudio").callbacks
    assert callback.path == str(tmp_path / "metrics.csv")
