import pickle

import numpy as np
import pytest
import skorch
import torch
from torch import nn

from skaudio.callbacks import NormScaling
from skaudio.layers import ConstrainedLinear, SeparableConv2d


class Small(nn.Module):
    def __init__(self, rate=1.0, min_norm=None):
        super().__init__()
        self.conv = SeparableConv2d(1, 4, 3, depth_max_norm=0.5, point_max_norm=0.5)
        self.head = ConstrainedLinear(4, 2, max_norm=0.25, min_norm=min_norm, minmax_rate=rate)

    def forward(self, x):
        return self.head(self.conv(x).relu().amax((2, 3)))


class Watch(skorch.callbacks.Callback):
    """Looks after every step at what a user could see."""

    def initialize(self):
        self.norms = []
        return self

    def on_batch_end(self, net, training, **kwargs):
        if training:
            conv = net.module_.conv
            self.norms += [
                conv.depthwise.weight.flatten(1).norm(dim=1).max().item(),
                conv.pointwise.weight.flatten(1).norm(dim=1).max().item(),
                2 * net.module_.head.weight.norm(dim=1).max().item(),
            ]


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((24, 1, 6, 8)).astype(np.float32), np.arange(24) % 2


def make_net(module=Small, **arguments):
    torch.manual_seed(0)
    look = Watch()
    settings = {
        "criterion": nn.CrossEntropyLoss, "optimizer": torch.optim.Adam, "lr": 0.5,
        "max_epochs": 3, "batch_size": 8, "train_split": None, "verbose": 0,
        "callbacks": [NormScaling(), look],
    }  # fmt: skip
    return skorch.NeuralNet(module, **{**settings, **arguments})


def test_bounds_hold_after_every_step(data):
    net = make_net().fit(*data)
    norms = dict(net.callbacks_)["Watch"].norms
    assert len(norms) == 3 * 3 * 3
    assert max(norms) <= 0.5 * (1 + 1e-5)


def test_moves_once_per_training_step_and_not_in_validation(data):
    net = make_net(
        module__rate=0.5, module__min_norm=0.2, lr=0.0, max_epochs=1,
        train_split=skorch.dataset.ValidSplit(3),
    ).initialize()  # fmt: skip
    with torch.no_grad():
        net.module_.head.weight.copy_(torch.ones(2, 4))
    net.partial_fit(*data)  # 16 clips to train: two steps; one batch to validate
    # from norm 2 towards 0.25, half of the way at each of the two steps
    expected = 0.25 + (2 - 0.25) * 0.5**2
    torch.testing.assert_close(net.module_.head.weight.norm(dim=1), torch.full((2,), expected))


def test_pickle_keeps_no_layers_and_trains_on(data):
    net = make_net().fit(*data)
    callback = dict(net.callbacks_)["NormScaling"]
    assert len(pickle.dumps(callback)) < 200
    twin = pickle.loads(pickle.dumps(net))
    twin.partial_fit(*data)
    assert twin.module_.head.weight.norm(dim=1).max() <= 0.25 * (1 + 1e-5)


def test_network_without_such_layers_is_left_alone(data):
    def weight(callbacks):
        net = make_net(lambda: nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), callbacks=callbacks)
        return net.fit(*data).module_[1].weight

    assert torch.equal(weight([NormScaling()]), weight([]))
