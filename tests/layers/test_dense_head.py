import pytest
import torch
from torch import nn

from skaudio.layers import DenseHead, VectorNorm


def test_it_is_dense_norm_relu_dropout_dense():
    head = DenseHead(8, 3).double()
    x = torch.randn(5, 8, dtype=torch.float64)
    head(x)  # moves the running statistics
    head.eval()
    norm = nn.BatchNorm1d(4, eps=1e-3).double().eval()
    norm.load_state_dict(head.norm.state_dict())
    expected = head.output(norm(head.hidden(x)).relu())
    torch.testing.assert_close(head(x), expected)


def test_half_the_size_and_at_least_one():
    assert DenseHead(8, 3).hidden.out_features == 4
    assert DenseHead(1, 3).hidden.out_features == 1


def test_weights_start_glorot_uniform_and_biases_zero():
    head = DenseHead(512, 100)
    for layer in (head.hidden, head.output):
        limit = (6 / (layer.in_features + layer.out_features)) ** 0.5
        assert 0.95 * limit < layer.weight.abs().max() <= limit
        assert (layer.bias == 0).all()


@pytest.mark.parametrize("n_clips", [2, 5])
def test_the_norm_is_that_of_torch(n_clips):
    norm, reference = VectorNorm(6, eps=1e-3), nn.BatchNorm1d(6, eps=1e-3)
    x = 3 * torch.randn(n_clips, 6) + 1
    torch.testing.assert_close(norm(x), reference(x))
    torch.testing.assert_close(norm.running_var, reference.running_var)
    torch.testing.assert_close(norm.eval()(x), reference.eval()(x))


def test_one_clip_is_normalised_by_running_statistics():
    norm = VectorNorm(6)
    norm(torch.randn(10, 6))
    x, before = torch.randn(1, 6), norm.running_mean.clone()
    trained = norm(x)
    torch.testing.assert_close(trained, norm.eval()(x))
    assert torch.equal(norm.running_mean, before)


def test_float64_in_evaluation():
    head = DenseHead(8, 3)
    assert head(torch.randn(2, 8)).dtype == torch.float32
    x = torch.randn(64, 8)
    logits = head.eval()(x)
    assert logits.dtype == torch.float64
    alone = torch.cat([head(clip[None]) for clip in x])
    torch.testing.assert_close(logits, alone, rtol=1e-12, atol=1e-12)
