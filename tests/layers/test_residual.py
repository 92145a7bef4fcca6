import pytest
import torch
from torch import nn

from skaudio.layers import (
    ConstrainedConv2d,
    MaskedBlocks,
    MultiscaleConv2d,
    ResidualBlock,
    SeparableConv2d,
    SqueezeExcitation,
    frame_mask,
)

LENGTHS = torch.tensor([1, 2, 6, 7, 12, 13])


def plain(n_in, n_out):
    return nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)


def multiscale(n_in, n_out):
    factors = [(1.0, 0.7), (1.0, 1.428)]
    return MultiscaleConv2d(n_in, n_out, (3, 5), padding="same", scale_factors=factors)


def constrained(n_in, n_out):
    return ConstrainedConv2d(n_in, n_out, 3, padding="same", max_norm=0.5)


def separable(n_in, n_out):
    return SeparableConv2d(n_in, n_out, 3, depth_max_norm=1.0)


def block(make=plain, n_in=3, n_out=4, **options):
    torch.manual_seed(0)
    return ResidualBlock(make(n_in, n_out), make(n_out, n_out), n_in, n_out, **options)


def clips(n_clips=6, n_channels=3, n_frames=13):
    return torch.randn(n_clips, n_channels, 8, n_frames).relu()


class TestSqueezeExcitation:
    def test_factors_are_those_of_a_channel(self):
        x = clips()
        gate = SqueezeExcitation(3)(x) / x
        factor = gate.nanmean((2, 3), keepdim=True)
        torch.testing.assert_close(gate.nan_to_num(0), (factor * (x > 0)).nan_to_num(0))
        assert ((factor > 0) & (factor < 1)).all()

    def test_only_means_matter(self):
        layer, x = SqueezeExcitation(3).eval(), clips() + 0.1
        mirrored = layer(x.flip(2, 3)).flip(2, 3)
        torch.testing.assert_close(layer(x), mirrored)

    @pytest.mark.parametrize("training", [False, True])
    def test_padding_is_not_counted(self, training):
        layer, x = SqueezeExcitation(3).train(training), clips()
        mask = frame_mask(LENGTHS, 13)
        together = layer(x * mask, mask)
        for clip, n in enumerate(LENGTHS.tolist()):
            alone = layer(x[clip : clip + 1, ..., :n])
            torch.testing.assert_close(together[clip : clip + 1, ..., :n], alone)

    def test_a_clip_is_the_same_in_any_batch_to_the_last_bit(self):
        layer, x = SqueezeExcitation(64).eval(), clips(33, 64)
        alone = torch.cat([layer(clip[None]) for clip in x])
        assert torch.equal(layer(x), alone)


@pytest.mark.parametrize("make", [plain, multiscale, constrained, separable])
class TestResidualBlock:
    @pytest.mark.parametrize("n_out", [3, 4])
    @pytest.mark.parametrize("batch_norm", [False, True])
    def test_a_padded_clip_is_the_clip_alone(self, make, n_out, batch_norm):
        layer = MaskedBlocks(
            [
                block(make, n_out=n_out, batch_norm=batch_norm),
                block(make, n_out, pool_size=(2, 3), batch_norm=batch_norm),
            ],
            strides=[2, 3],
        ).eval()
        x = clips()
        y, mask = layer(x, LENGTHS)
        for clip, n in enumerate(LENGTHS.tolist()):
            alone, _ = layer(x[clip : clip + 1, ..., :n])
            n_left = alone.shape[-1]
            assert mask[clip].sum() == n_left
            torch.testing.assert_close(y[clip, ..., :n_left], alone[0])
            assert not y[clip, ..., n_left:].any()

    def test_padding_teaches_nothing(self, make):
        results = []
        for noise in (0.0, 99.0):
            layer = MaskedBlocks([block(make)], strides=[2])
            x = clips().masked_fill(~frame_mask(LENGTHS, 13), noise)
            y, _ = layer(x, LENGTHS)
            y.square().sum().backward()
            results.append([y.detach(), *layer.buffers(), *(w.grad for w in layer.parameters())])
        for quiet, loud in zip(*results, strict=True):
            torch.testing.assert_close(quiet, loud)

    def test_nothing_added_is_the_shortcut(self, make):
        layer = block(make, n_in=4).eval()
        nn.init.zeros_(layer.second_norm.weight)
        x = clips(n_channels=4)
        torch.testing.assert_close(layer(x), nn.functional.max_pool2d(x, 2, ceil_mode=True))

    def test_every_weight_learns(self, make):
        layer = block(make)
        layer(clips()).square().sum().backward()
        assert all(weight.grad.isfinite().all() for weight in layer.parameters())
