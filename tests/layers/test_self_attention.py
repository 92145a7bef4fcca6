import math

import torch

from skaudio.layers import SelfAttention, frame_mask


def by_definition(layer, x):
    """Each pair of frames of one clip."""
    v = layer.score.weight[0]
    out = []
    for frame in x:
        scores = [(v @ torch.tanh(layer.query(frame) + layer.key(other))).sigmoid() for other in x]
        weights = [score.exp() for score in scores]
        out.append(sum(w * other for w, other in zip(weights, x, strict=True)) / sum(weights))
    return torch.stack(out)


def test_by_definition_and_padding_changes_nothing():
    layer = SelfAttention(6).double()
    x, lengths = torch.randn(3, 7, 6, dtype=torch.float64), torch.tensor([7, 3, 1])
    together = layer(x, frame_mask(lengths, 7))
    for clip, y, n in zip(x, together, lengths, strict=True):
        torch.testing.assert_close(y[:n], by_definition(layer, clip[:n]))
        torch.testing.assert_close(y[:n], layer(clip[None, :n])[0])


def test_no_frame_weighs_more_than_e_times_another():
    layer = SelfAttention(4)
    with torch.no_grad():
        layer.score.weight.mul_(1e4)
    weights = layer(torch.eye(4)[None])[0]  # frames that are the axes: what comes out is weights
    largest, smallest = weights.amax(dim=1), weights.amin(dim=1)
    assert (largest <= math.e * smallest * (1 + 1e-5)).all()


def test_a_single_frame_and_equal_frames_stay_as_they_are():
    layer = SelfAttention(4)
    frame = torch.randn(1, 1, 4)
    torch.testing.assert_close(layer(frame), frame)
    torch.testing.assert_close(layer(frame.expand(1, 9, 4)), frame.expand(1, 9, 4))
