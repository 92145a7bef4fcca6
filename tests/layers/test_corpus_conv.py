import pytest
import torch
from torch.nn import functional

from skaudio.layers import CorpusConv, SameConv2d, frame_mask


def normalise(x, norm):
    shape = (1, -1, 1, 1)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (x - norm.running_mean.view(shape)) * scale.view(shape) + norm.bias.view(shape)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("n_frames", [8, 9])
def test_the_adapter_reads_the_first_of_each_two_positions(stride, n_frames):
    conv = SameConv2d(3, 4, stride)
    own = CorpusConv(conv).eval()
    x = torch.randn(2, 3, 6, n_frames)
    y, _ = own(conv, x)
    adapted = torch.einsum(
        "oi,bift->boft", own.adapter.weight[:, :, 0, 0], x[..., ::stride, ::stride]
    )
    torch.testing.assert_close(y, normalise(conv(x) + adapted, own.norm), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(6, 9), (7, 8)])
def test_gradients_do_not_depend_on_whether_kernels_are_added(stride, shape):
    conv = SameConv2d(3, 4, stride).double()
    own = CorpusConv(conv).double()
    x = torch.randn(2, 3, *shape, dtype=torch.float64, requires_grad=True)
    inputs = (x, own.adapter.weight)
    gradients = []
    for trained in (True, False):  # a frozen convolution stays one of its own
        conv.requires_grad_(trained)
        gradients.append(torch.autograd.grad(own(conv, x)[0].pow(3).sum(), inputs))
    for together, apart in zip(*gradients, strict=True):
        torch.testing.assert_close(together, apart)


@pytest.mark.parametrize("adapter", [True, False])
def test_padding_is_zero_and_changes_nothing(adapter):
    conv = SameConv2d(2, 4, stride=2)
    own = CorpusConv(conv, adapter)
    lengths = torch.tensor([9, 4, 7])
    x = torch.randn(3, 2, 6, 9) * frame_mask(lengths, 9)
    own(conv, 3 * x + 1, lengths)  # moves the running statistics
    y, left = own.eval()(conv, x, lengths)
    assert left.tolist() == [5, 2, 4]
    for clip, out, n, n_left in zip(x, y, lengths, left, strict=True):
        assert (out[..., n_left:] == 0).all()
        alone, _ = own(conv, clip[None, ..., :n])
        torch.testing.assert_close(out[None, ..., :n_left], alone, rtol=1e-5, atol=1e-5)


def test_dropout_touches_the_adapter_only():
    torch.manual_seed(0)
    conv = SameConv2d(2, 4)
    own, core = CorpusConv(conv, dropout=0.5), CorpusConv(conv, adapter=False, dropout=0.5)
    x = torch.randn(2, 2, 6, 9)
    assert not torch.equal(own(conv, x)[0], own(conv, x)[0])
    assert not torch.equal(core(conv, x)[0], core(conv, x)[0])
    with torch.no_grad():
        own.adapter.weight.zero_()
    expected = functional.batch_norm(conv(x), None, None, training=True, eps=1e-3)
    torch.testing.assert_close(own(conv, x)[0], expected, rtol=1e-5, atol=1e-5)


def test_the_shared_convolution_is_no_part_of_it():
    conv = SameConv2d(2, 4)
    names = set(CorpusConv(conv).state_dict())
    assert {name.split(".")[0] for name in names} == {"adapter", "norm"}
    assert {name.split(".")[0] for name in CorpusConv(conv, adapter=False).state_dict()} == {"norm"}
