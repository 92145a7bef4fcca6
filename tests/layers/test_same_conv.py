import numpy as np
import pytest
import torch

from skaudio.layers import SameConv2d


def by_definition(x, weight, stride):
    """One clip, window by window, padded as TensorFlow documents it."""
    sides = []
    for n in x.shape[1:]:
        total = max((-(-n // stride) - 1) * stride + 3 - n, 0)
        sides.append((total // 2, total - total // 2))
    padded = np.pad(x, [(0, 0), *sides])
    shape = [-(-n // stride) for n in x.shape[1:]]
    out = np.empty((len(weight), *shape))
    for i, j in np.ndindex(*shape):
        window = padded[:, i * stride : i * stride + 3, j * stride : j * stride + 3]
        out[:, i, j] = np.einsum("ocij,cij->o", weight, window)
    return out


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("n_bands", [1, 2, 7, 8])
@pytest.mark.parametrize("lengths", [[1], [2], [9, 8, 1, 2], [10, 9, 3]])
def test_each_clip_is_the_definition_of_it_alone(stride, n_bands, lengths):
    torch.manual_seed(0)
    conv = SameConv2d(2, 3, stride).double()
    x = torch.randn(len(lengths), 2, n_bands, max(lengths), dtype=torch.float64)
    for clip, n in zip(x, lengths, strict=True):
        clip[..., n:] = 0
    together = conv(x, torch.tensor(lengths)).detach()
    assert together.shape[-1] == -(-max(lengths) // stride)
    weight = conv.weight.detach().numpy()
    for clip, y, n in zip(x, together, lengths, strict=True):
        expected = by_definition(clip[..., :n].numpy(), weight, stride)
        np.testing.assert_allclose(y[..., : expected.shape[-1]], expected, atol=1e-12)
        alone = conv(clip[None, ..., :n]).detach()[0]
        np.testing.assert_allclose(alone, expected, atol=1e-12)


@pytest.mark.parametrize(("size", "centre"), [(8, 1), (9, 0)])
def test_the_centre_lies_at_odd_places_of_even_sizes(size, centre):
    conv = SameConv2d(1, 1, stride=2)
    with torch.no_grad():
        conv.weight.zero_()[..., 1, 1] = 1
    x = torch.arange(size * size, dtype=torch.float32).view(1, 1, size, size)
    assert torch.equal(conv(x), x[..., centre::2, centre::2])


def test_weights_start_he_normal_and_cut():
    torch.manual_seed(0)
    weight = SameConv2d(64, 256).weight
    deviation = (2 / (9 * 64)) ** 0.5
    assert weight.std().item() == pytest.approx(deviation, rel=0.01)
    assert weight.abs().max() <= 2 * deviation / 0.8796
    assert weight.abs().max() > 2 * deviation


def test_gradient_against_finite_differences():
    conv = SameConv2d(1, 2, stride=2).double()
    x = torch.randn(2, 1, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: conv(x, torch.tensor([5, 4])), x)


def test_other_strides_are_refused():
    with pytest.raises(ValueError, match="SameConv2d: got stride=3, but expected 1 or 2"):
        SameConv2d(1, 1, stride=3)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(7, 9), (8, 9), (7, 10), (8, 10)])
def test_an_adapter_is_a_convolution_of_one_position(stride, shape):
    conv, x = SameConv2d(2, 3, stride).double(), torch.randn(2, 2, *shape, dtype=torch.float64)
    kernel = torch.randn(3, 2, 1, 1, dtype=torch.float64)
    expected = conv(x) + torch.nn.functional.conv2d(x, kernel, stride=stride)
    torch.testing.assert_close(conv(x, adapter=kernel), expected)


def test_an_adapter_cannot_be_aligned_clip_by_clip():
    conv, x = SameConv2d(2, 3, stride=2), torch.randn(1, 2, 4, 4)
    with pytest.raises(ValueError, match="got an adapter and lengths, but with stride=2"):
        conv(x, torch.tensor([3]), torch.randn(3, 2, 1, 1))
