import pytest
import torch
from torch import nn

from skaudio.layers import frame_mask, shrink_lengths


def test_mask_marks_the_first_frames():
    mask = frame_mask(torch.tensor([0, 2, 3]), 3)
    assert mask.shape == (3, 1, 1, 3)
    assert mask[:, 0, 0].tolist() == [[False] * 3, [True, True, False], [True] * 3]


@pytest.mark.parametrize("stride", [1, 2, 3, 7])
def test_lengths_shrink_as_pooling_with_the_ceiling_does(stride):
    lengths = torch.arange(1, 20)
    pool = nn.MaxPool1d(stride, ceil_mode=True)
    expected = [pool(torch.zeros(1, 1, n)).shape[-1] for n in lengths.tolist()]
    assert shrink_lengths(lengths, stride).tolist() == expected
