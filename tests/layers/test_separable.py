import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from skaudio.layers import DepthwiseConv2d, SeparableConv2d, project_norms

GOLDEN = Path(__file__).parents[1] / "data" / "constrained.npz"


def golden_state(arrays, when):
    prefix = f"separable/state_{when}/"
    return {
        name.removeprefix(prefix): torch.from_numpy(arrays[name])
        for name in arrays.files
        if name.startswith(prefix)
    }


def test_golden_numbers_of_the_separable_layer():
    with np.load(GOLDEN) as arrays:
        config = json.loads(str(arrays["separable/config"]))
        n_in, n_out, kernel_size = config["args"]
        layer = SeparableConv2d(n_in, n_out, tuple(kernel_size), **config["kwargs"])
        layer.load_state_dict(golden_state(arrays, "before"))
        project_norms(layer)
        y = layer.eval()(torch.from_numpy(arrays["separable/x"]))
        expected = golden_state(arrays, "after")
        assert list(layer.state_dict()) == list(expected)
        for name, value in layer.state_dict().items():
            torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(
            y.detach(), torch.from_numpy(arrays["separable/y"]), rtol=1e-4, atol=1e-5
        )


def test_documented_example_of_the_original():
    x = torch.randn(4, 1, 8, 64)
    mdl = DepthwiseConv2d(1, 2, (1, 15), max_norm=0.5)
    mdl.weight = torch.nn.Parameter(mdl.weight * 10)
    out = mdl(x)
    norms = torch.sqrt(torch.sum(torch.square(mdl.weight), axis=[1, 2, 3]))
    assert out.shape == (4, 2, 8, 64)
    assert torch.isnan(out).sum() == 0
    assert torch.sum(norms > (0.5 + 1e-3)).item() == 0


@pytest.mark.parametrize("padding", ["same", "valid", 1, (1, 2)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_depthwise_filters_each_channel_on_its_own(padding, dilation):
    layer = DepthwiseConv2d(3, 2, (3, 5), padding=padding, dilation=dilation, bias=True).eval()
    x = torch.randn(2, 3, 12, 16)
    per_channel = [
        nn.functional.conv2d(
            x[:, [c]], layer.weight[2 * c : 2 * c + 2], layer.bias[2 * c : 2 * c + 2],
            padding=padding, dilation=dilation,
        )
        for c in range(3)
    ]  # fmt: skip
    torch.testing.assert_close(layer(x), torch.cat(per_channel, dim=1))


def test_depthwise_refuses_no_filters():
    with pytest.raises(ValueError, match="depth_multiplier=0, but expected at least 1"):
        DepthwiseConv2d(3, 0, 3)


@pytest.mark.parametrize("part", ["depth", "point"])
@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"max_norm": -1.0}, r"^{0}_max_norm=-1\.0, but expected a number > 0, or None"),
        ({"max_norm": 1.0, "min_norm": "a"}, "^{0}_min_norm='a', but expected a number > 0"),
        ({"max_norm": 1.0, "min_norm": 2.0}, r"^{0}_min_norm=2\.0 exceeds {0}_max_norm=1\.0"),
        ({"max_norm": 1.0, "minmax_rate": 2.0}, r"^{0}_minmax_rate=2\.0, but expected a number in"),
    ],
)
def test_separable_names_its_own_parameters(part, bounds, message):
    with pytest.raises(ValueError, match=message.format(part)):
        SeparableConv2d(3, 4, 3, **{f"{part}_{name}": value for name, value in bounds.items()})


def test_separable_is_a_convolution_of_rank_one_per_channel():
    layer = SeparableConv2d(3, 4, (3, 5)).eval()
    # output, input, band, frame: the pointwise weight times each channel's own filter
    kernel = layer.pointwise.weight * layer.depthwise.weight.transpose(0, 1)
    x = torch.randn(2, 3, 8, 10)
    torch.testing.assert_close(
        layer(x), nn.functional.conv2d(x, kernel, padding="same"), rtol=1e-4, atol=1e-5
    )


def test_separable_passes_its_arguments_on():
    layer = SeparableConv2d(
        3, 4, 3, stride=2, padding=1, bias=True, depth_multiplier=2, depth_max_norm=1.0,
        depth_min_norm=0.5, depth_minmax_rate=0.9, point_max_norm=0.25, point_min_norm=0.1,
        point_minmax_rate=0.8, axis_norm=(2, 3), dtype=torch.float64,
    )  # fmt: skip
    depth, point = layer.depthwise.constraint, layer.pointwise.constraint
    assert (depth.max_norm, depth.min_norm, depth.minmax_rate) == (1.0, 0.5, 0.9)
    assert (point.max_norm, point.min_norm, point.minmax_rate) == (0.25, 0.1, 0.8)
    assert depth.axes == point.axes == (2, 3)
    assert layer.depthwise.out_channels == 6
    y = layer(torch.randn(2, 3, 8, 10, dtype=torch.float64))
    assert y.shape == (2, 4, 4, 5)
    assert y.dtype == torch.float64


def test_separable_is_free_by_default():
    layer = SeparableConv2d(3, 4, 3)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.mul_(100)
    before = [weight.detach().clone() for weight in layer.parameters()]
    layer(torch.randn(2, 3, 8, 10))
    project_norms(layer)
    assert all(torch.equal(*pair) for pair in zip(layer.parameters(), before, strict=True))


@pytest.mark.parametrize("name", ["depth_max_norm", "point_max_norm", "depth_minmax_rate"])
def test_errors_name_the_parameters_of_the_layer(name):
    with pytest.raises(ValueError, match=rf"^{name}=-1, but expected"):
        SeparableConv2d(2, 3, 3, **{name: -1})
