import torch

from skaudio.layers import BottleneckAdapter


def test_by_definition():
    adapter = BottleneckAdapter(8)
    with torch.no_grad():
        adapter.norm.weight.uniform_(0.5, 2)
        adapter.norm.bias.normal_()
    x = 3 * torch.randn(2, 5, 8) + 1
    centred = x - x.mean(2, keepdim=True)
    normalised = centred / (x.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
    narrow = (normalised * adapter.norm.weight + adapter.norm.bias) @ adapter.down.weight.T
    expected = x + narrow.clamp(min=0) @ adapter.up.weight.T
    torch.testing.assert_close(adapter(x), expected)
    torch.testing.assert_close(adapter.eval()(x.double()), expected.double(), rtol=1e-4, atol=1e-5)


def test_a_quarter_of_the_size_without_biases():
    names = {name: tuple(weight.shape) for name, weight in BottleneckAdapter(9).named_parameters()}
    assert names == {
        "norm.weight": (9,), "norm.bias": (9,), "down.weight": (2, 9), "up.weight": (9, 2)
    }  # fmt: skip
    assert BottleneckAdapter(2).down.out_features == 1


def test_an_adapter_of_zeros_changes_nothing():
    adapter = BottleneckAdapter(8)
    with torch.no_grad():
        adapter.up.weight.zero_()
    x = torch.randn(2, 5, 8)
    assert torch.equal(adapter(x), x)
