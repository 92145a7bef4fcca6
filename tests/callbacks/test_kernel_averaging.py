import copy
import pickle

import numpy as np
import pytest
import skorch
import torch
from torch import nn

from skaudio.callbacks import KernelAveraging
from skaudio.layers import MultiscaleConv2d


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = MultiscaleConv2d(1, 3, (2, 5), scale_factors=[(1.0, 0.7)], time_axis=-1)
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.conv(x).relu().amax((2, 3)))


class Counts(nn.Module):
    """Notes how often it is asked."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.calls = []

    def update_kernels(self):
        self.calls.append(self.training)

    def forward(self, x):
        return self.head(x)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((12, 1, 6, 8)).astype(np.float32), np.arange(12) % 2


def make_net(module, every="step", **arguments):
    torch.manual_seed(0)
    settings = {
        "criterion": nn.CrossEntropyLoss, "lr": 0.1, "max_epochs": 3, "batch_size": 4,
        "train_split": None, "verbose": 0, "callbacks": [KernelAveraging(every)],
    }  # fmt: skip
    return skorch.NeuralNet(module, **{**settings, **arguments})


def test_it_does_what_a_plain_loop_does(data):
    net = make_net(Small, iterator_train__shuffle=False).fit(*data)
    torch.manual_seed(0)
    module = Small()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(3):
        for x, y in zip(*(torch.from_numpy(a).split(4) for a in data), strict=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x), y).backward()
            optimizer.step()
            module.conv.update_kernels()
    for ours, plain in zip(net.module_.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(ours, plain)


@pytest.mark.parametrize(("every", "n_calls"), [("step", 3 * 3), ("epoch", 3)])
@pytest.mark.parametrize("split", [None, skorch.dataset.ValidSplit(2)])
def test_how_often_layers_are_asked(every, n_calls, split):
    X, y = np.zeros((12 if split is None else 24, 4), np.float32), np.arange(24) % 2
    net = make_net(Counts, every, train_split=split).fit(X, y[: len(X)])
    assert len(net.module_.calls) == n_calls
    if every == "step":
        assert all(net.module_.calls)


def test_a_net_without_such_layers_trains_as_ever():
    X, y = np.zeros((8, 4), np.float32), np.arange(8) % 2
    module = nn.Sequential(nn.Linear(4, 2))
    plain = make_net(copy.deepcopy(module), callbacks=None).fit(X, y)
    ours = make_net(copy.deepcopy(module)).fit(X, y)
    assert np.array_equal(ours.forward(X), plain.forward(X))


def test_the_pickle_holds_no_module(data):
    net = make_net(Small).fit(*data)
    callback = dict(net.callbacks_)["KernelAveraging"]
    assert len(pickle.dumps(callback)) < 500
    assert copy.deepcopy(callback).get_params() == {"every": "step"}


def test_an_unknown_occasion():
    with pytest.raises(ValueError, match="every: got 'batch', but expected 'step' or 'epoch'"):
        make_net(Counts, "batch").initialize()
