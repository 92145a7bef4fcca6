import pytest
import torch
from torch import nn

from skaudio.layers import ConvBlock, MaskedBlocks, frame_mask


def blocks(pool_sizes=((2, 2), (2, 3)), **options):
    torch.manual_seed(0)
    widths = [1, 4, 6]
    made = [
        ConvBlock(nn.Conv2d(n_in, n_out, 3, padding=1), n_out, pool, **options)
        for n_in, n_out, pool in zip(widths, widths[1:], pool_sizes, strict=False)
    ]
    return MaskedBlocks(made, strides=[frames for _, frames in pool_sizes])


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_padded_clip_is_the_clip_alone(batch_norm):
    layer = blocks(batch_norm=batch_norm).eval()
    x, lengths = torch.randn(6, 1, 8, 13), torch.tensor([1, 2, 6, 7, 12, 13])
    y, mask = layer(x, lengths)
    for clip, length in enumerate(lengths.tolist()):
        alone, nothing = layer(x[clip : clip + 1, ..., :length])
        n_left = alone.shape[-1]
        assert nothing is None
        assert mask[clip].sum() == n_left
        torch.testing.assert_close(y[clip, ..., :n_left], alone[0])
        assert not y[clip, ..., n_left:].any()


def test_padding_teaches_nothing():
    x, lengths = torch.randn(3, 1, 8, 12), torch.tensor([5, 12, 9])
    results = []
    for noise in (0.0, 99.0):
        layer, padded = blocks(), x.masked_fill(~frame_mask(lengths, 12), noise)
        y, _ = layer(padded, lengths)
        y.square().sum().backward()
        results.append([y.detach(), *layer.buffers(), *(w.grad for w in layer.parameters())])
    for quiet, loud in zip(*results, strict=True):
        torch.testing.assert_close(quiet, loud)


def test_without_padding_the_blocks_are_a_sequence():
    layer = blocks().eval()
    x = torch.randn(2, 1, 8, 13)
    expected = x
    for block in layer:
        expected = block.pool(block.norm(block.conv(expected)).relu())
    torch.testing.assert_close(layer(x)[0], expected)
    torch.testing.assert_close(layer(x, torch.tensor([13, 13]))[0], expected)


def test_a_convolution_may_step_over_frames():
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 4, 5, stride=(2, 3), padding=2)
    layer = MaskedBlocks([ConvBlock(conv, 4, (1, 2), stride=3)], strides=[6])
    x, lengths = torch.randn(7, 1, 8, 25), torch.tensor([1, 3, 4, 6, 7, 24, 25])
    layer(x, lengths)  # the norm sees a batch
    layer.eval()
    y, mask = layer(x, lengths)
    assert mask.sum(3).flatten().tolist() == [1, 1, 1, 1, 2, 4, 5]
    for clip, n in enumerate(lengths.tolist()):
        alone, _ = layer(x[clip : clip + 1, ..., :n])
        torch.testing.assert_close(y[clip, ..., : alone.shape[-1]], alone[0])
        assert not y[clip, ..., alone.shape[-1] :].any()


def test_a_block_keeps_incomplete_windows():
    block = ConvBlock(nn.Conv2d(1, 4, 3, padding=1), 4, (2, 3)).eval()
    assert block(torch.randn(2, 1, 5, 7)).shape == (2, 4, 3, 3)


def test_dropout_only_in_training():
    block = ConvBlock(nn.Conv2d(1, 4, 3, padding=1), 4, dropout=0.9)
    x = torch.randn(2, 1, 8, 20)
    assert (block.train()(x) == 0).float().mean() > 0.8
    assert (block.eval()(x) == 0).float().mean() < 0.5


def test_every_block_needs_a_stride():
    with pytest.raises(ValueError, match="got 1 strides for 2 blocks, but expected one for each"):
        MaskedBlocks(list(blocks()), strides=[2])
