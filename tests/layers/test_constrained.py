import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from skaudio import layers
from skaudio.layers import (
    ConstrainedConv1d,
    ConstrainedConv2d,
    ConstrainedDense,
    ConstrainedHead,
    ConstrainedLinear,
    DepthwiseConv2d,
    NormConstraint,
)

GOLDEN = Path(__file__).parents[1] / "data" / "constrained.npz"
CASES = [
    f"{layer}_{kind}"
    for layer in ("conv1d", "conv2d", "dense", "depthwise2d")
    for kind in ("none", "max", "minmax", "minmax_rate", "unit")
] + ["conv1d_causal", "depthwise2d_axis", "depthwise2d_stride"]


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return {name: arrays[name] for name in arrays.files}


def as_tuples(value):
    return tuple(value) if isinstance(value, list) else value


# An even kernel with padding="same", which torch warns of as slow.
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("case", CASES)
def test_golden_numbers(golden, case):
    config = json.loads(str(golden[f"{case}/config"]))
    given = {name: as_tuples(value) for name, value in config["kwargs"].items()}
    layer = getattr(layers, config["cls"])(*map(as_tuples, config["args"]), **given)
    state = {"weight": torch.from_numpy(golden[f"{case}/weight_before"])}
    if f"{case}/bias" in golden:
        state["bias"] = torch.from_numpy(golden[f"{case}/bias"])
    layer.load_state_dict(state)
    layer.scale_norm()
    y = layer.eval()(torch.from_numpy(golden[f"{case}/x"]))
    torch.testing.assert_close(
        layer.weight.detach(),
        torch.from_numpy(golden[f"{case}/weight_after"]),
        rtol=1e-5,
        atol=1e-7,
    )
    torch.testing.assert_close(
        y.detach(), torch.from_numpy(golden[f"{case}/y"]), rtol=1e-4, atol=1e-5
    )


PLAIN = [
    (ConstrainedLinear(6, 4), nn.Linear(6, 4), (3, 6)),
    (ConstrainedHead(6, 4), nn.Linear(6, 4), (3, 6)),
    (ConstrainedConv1d(3, 4, 5), nn.Conv1d(3, 4, 5, padding="same"), (2, 3, 9)),
    (ConstrainedConv2d(3, 4, (3, 5)), nn.Conv2d(3, 4, (3, 5), padding="same"), (2, 3, 8, 9)),
    (
        DepthwiseConv2d(3, 2, (3, 5)),
        nn.Conv2d(3, 6, (3, 5), padding="same", groups=3, bias=False),
        (2, 3, 8, 9),
    ),
]


@pytest.mark.parametrize(
    ("layer", "plain", "shape"), PLAIN, ids=[type(p[0]).__name__ for p in PLAIN]
)
def test_state_and_output_are_those_of_the_plain_layer(layer, plain, shape):
    assert list(layer.state_dict()) == list(plain.state_dict())
    layer.load_state_dict(plain.state_dict())
    x = torch.randn(shape)
    torch.testing.assert_close(layer.eval()(x), plain(x), check_dtype=False)
    plain.load_state_dict(layer.state_dict())
    assert all(
        torch.equal(*pair) for pair in zip(plain.parameters(), layer.parameters(), strict=True)
    )


@pytest.mark.parametrize(
    ("constrained", "plain"),
    [
        (ConstrainedLinear, nn.Linear),
        (ConstrainedConv1d, nn.Conv1d),
        (ConstrainedConv2d, nn.Conv2d),
    ],
)
def test_arguments_of_the_plain_layer_come_first(constrained, plain):
    wanted = list(inspect.signature(plain).parameters)
    assert list(inspect.signature(constrained).parameters)[: len(wanted)] == wanted


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
@pytest.mark.parametrize(
    "make",
    [
        lambda **kind: ConstrainedLinear(3, 4, max_norm=0.5, **kind),
        lambda **kind: ConstrainedConv1d(3, 4, 3, max_norm=0.5, **kind),
        lambda **kind: ConstrainedConv2d(3, 4, 3, max_norm=0.5, **kind),
        lambda **kind: DepthwiseConv2d(3, 2, 3, max_norm=0.5, **kind),
    ],
)
def test_dtype_and_device_are_passed_on(make, dtype):
    assert make(device="cpu", dtype=dtype).weight.dtype == dtype
    assert make(device="meta").weight.is_meta


def test_dense_is_another_name_for_linear():
    assert ConstrainedDense is ConstrainedLinear


@pytest.mark.parametrize("kernel_size", [1, 2, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("padding_mode", ["zeros", "replicate"])
def test_causal_output_hears_nothing_of_the_future(kernel_size, stride, dilation, padding_mode):
    layer = ConstrainedConv1d(
        2, 3, kernel_size, stride, "causal", dilation, padding_mode=padding_mode
    ).eval()
    x = torch.randn(1, 2, 20)
    y = layer(x)
    assert y.shape == (1, 3, -(-20 // stride))
    for now in range(20):
        later = x.clone()
        later[..., now + 1 :] = torch.randn(19 - now)
        heard = now // stride + 1
        torch.testing.assert_close(layer(later)[..., :heard], y[..., :heard])


def test_causal_padding_shifts_valid_padding():
    causal = ConstrainedConv1d(2, 3, 4, padding="causal").eval()
    valid = ConstrainedConv1d(2, 3, 4, padding="valid").eval()
    valid.load_state_dict(causal.state_dict())
    x = torch.randn(2, 2, 12)
    torch.testing.assert_close(causal(x)[..., 3:], valid(x))
    assert "padding='causal'" in repr(causal)


def test_head_is_bounded_and_computed_in_float64():
    head = ConstrainedHead(6, 4)
    nn.init.normal_(head.weight, std=10)
    x = torch.randn(5, 6)
    head(x)
    assert isinstance(head, layers.precision.LinearHead)
    assert head.constraint == NormConstraint(0.25)
    assert (head.weight.norm(dim=1) <= 0.25 * (1 + 1e-5)).all()
    head.eval()
    weight, bias = head.weight.double(), head.bias.double()
    torch.testing.assert_close(head(x), x.double() @ weight.T + bias, rtol=1e-12, atol=1e-12)
