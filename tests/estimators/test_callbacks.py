"""What is shown of a training."""

import re

import pytest
from skorch.callbacks import Callback

from skaudio.estimators import AudioClassifier


class Crash(Callback):
    """Ends a training in its fourth epoch, as a crash would."""

    def on_batch_begin(self, net, training=False, **kwargs):
        if len(net.history) == 4:
            raise RuntimeError("crash")


def test_the_progress_bar_counts_the_epochs_before_a_crash(tiny, features, tmp_path, capsys):
    model = AudioClassifier(
        tiny, max_epochs=5, callbacks=[Crash()], checkpoint_dir=tmp_path, random_state=0, verbose=1
    )

    def last_shown():
        """Return the newest count of epochs and the loss next to it."""
        return re.findall(r"(\d)/5 [^\r]*train_loss=([\d.]+)", capsys.readouterr().err)[-1]

    with pytest.raises(RuntimeError, match="crash"):
        model.fit(*features)
    assert last_shown() == ("3", f"{model.history_['train_loss'].iloc[-1]:.3f}")
    model.set_params(callbacks=None).fit(*features)
    assert last_shown() == ("5", f"{model.history_['train_loss'].iloc[-1]:.3f}")
