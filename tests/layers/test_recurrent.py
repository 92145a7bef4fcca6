import pytest
import torch
from torch import nn

from skaudio.layers import RecurrentLayer


def both_directions(layer, cell):
    """One of torch's layers with the weights of both directions."""
    reference = {"lstm": nn.LSTM, "gru": nn.GRU}[cell](5, 4, batch_first=True, bidirectional=True)
    backwards = {f"{name}_reverse": w for name, w in layer.backwards.state_dict().items()}
    reference.load_state_dict(layer.forwards.state_dict() | backwards)
    return reference


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_numbers_are_those_of_torch(cell, training):
    layer = RecurrentLayer(5, 4, cell, bidirectional=True).train(training)
    x = torch.randn(3, 9, 5)
    expected = both_directions(layer, cell)(x)[0]
    torch.testing.assert_close(layer(x).float(), expected)
    one_way = RecurrentLayer(5, 4, cell).train(training)
    torch.testing.assert_close(one_way(x).float(), one_way.forwards(x)[0])


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_each_clip_as_if_alone(cell, bidirectional):
    layer = RecurrentLayer(5, 4, cell, bidirectional).eval()
    x, lengths = torch.randn(4, 9, 5), torch.tensor([9, 4, 1, 8])
    together = layer(x, lengths)
    assert together.dtype == torch.float64
    for clip, y, n in zip(x, together, lengths, strict=True):
        torch.testing.assert_close(y[:n], layer(clip[None, :n])[0], rtol=1e-12, atol=1e-12)


def test_reading_backwards_is_reading_the_mirrored_clip():
    layer = RecurrentLayer(5, 4, bidirectional=True).eval()
    layer.backwards.load_state_dict(layer.forwards.state_dict())
    x = torch.randn(2, 9, 5)
    mirrored = layer(x.flip(1)).flip(1).unflatten(2, (2, 4))
    torch.testing.assert_close(layer(x).unflatten(2, (2, 4)), mirrored.flip(2))


def test_evaluation_has_gradients_too():
    layer = RecurrentLayer(5, 4, bidirectional=True).eval()
    layer(torch.randn(2, 9, 5)).sum().backward()
    assert all(weight.grad is not None for weight in layer.parameters())


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
            ],
        ),
    ],
)
def test_a_frozen_layer_passes_gradients_on_in_single_precision(cell, device):
    torch.manual_seed(0)
    layer = RecurrentLayer(4, 3, cell).to(device).requires_grad_(False)
    x = torch.randn(2, 5, 4, device=device)
    gradients = []
    for training in (True, False):
        given = x.clone().requires_grad_()
        out = layer.train(training)(given)
        assert out.dtype == torch.float32
        out.square().sum().backward()
        gradients.append(given.grad)
    torch.testing.assert_close(*gradients)
