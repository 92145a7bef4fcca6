import pytest
import torch
from torch import nn

from skaudio.networks import BaseNetwork, DiffResNet, MTSNet, SeparableNet
from skaudio.networks.building import build_network, default_network, fill_in_default
from skaudio.networks.contract import takes_lengths


class WithLengths(nn.Linear):
    def forward(self, x, lengths=None):
        return super().forward(x)


def test_none_is_the_default_network():
    torch.manual_seed(0)
    built = build_network(None, 12, 3, None)
    torch.manual_seed(0)
    expected = default_network().build(12, 3)
    assert repr(built) == repr(expected)
    assert torch.equal(built.head.weight, expected.head.weight)
    assert default_network() is not default_network()
    assert repr(default_network()) == "MTSNet()"


def test_a_module_is_copied():
    module = nn.Linear(2, 3)
    built = build_network(module, 12, 3, None)
    assert built is not module
    assert torch.equal(built.weight, module.weight)


def test_a_function_is_called_as_build_is():
    def build(n_bands, n_outputs, *, n_frames, n_channels):
        return nn.Conv2d(n_channels, n_outputs, kernel_size=(n_bands, n_frames))

    assert build_network(build, 12, 3, 40, 2).weight.shape == (3, 2, 12, 40)


def test_what_is_built_must_be_a_module():
    with pytest.raises(TypeError, match=r"built 'logits', but expected a torch\.nn\.Module"):
        build_network(lambda *sizes, **named: "logits", 12, 3, None)


@pytest.mark.parametrize(("module", "takes"), [(nn.Linear(2, 3), False), (WithLengths(2, 3), True)])
def test_lengths_go_to_modules_with_such_an_argument(module, takes):
    assert takes_lengths(module) is takes


@pytest.mark.parametrize(
    ("backbone", "names", "expected"),
    [
        (None, ["backbone__n_filters", "reduction_rate"], MTSNet),
        (None, ["reduction_rate", "backbones__n_filters"], type(None)),
        (SeparableNet(), ["backbone__n_filters"], SeparableNet),
    ],
)
def test_the_default_takes_nested_parameters(backbone, names, expected):
    owner = DiffResNet(backbone=backbone)
    fill_in_default(owner, "backbone", names)
    assert type(owner.backbone) is expected


def test_a_network_must_say_how_to_build():
    class Unfinished(BaseNetwork):
        pass

    with pytest.raises(TypeError, match="abstract method '?_build"):
        Unfinished()
