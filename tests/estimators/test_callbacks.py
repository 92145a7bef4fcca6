"""What is shown of a training."""

from types import SimpleNamespace

from skaudio.estimators._callbacks import EpochProgress


def test_a_resumed_run_starts_where_it_stopped():
    progress = EpochProgress(n_epochs=5)
    net = SimpleNamespace(history=[])
    progress.on_train_begin(net)
    seen = []
    for n_epochs in (3, 4, 5):  # three of them were done before
        net.history = [{"train_loss": 0.5}] * n_epochs
        progress.on_epoch_end(net)
        seen.append(progress.bar_.n)
    progress.on_train_end(net)
    assert seen == [3, 4, 5]
