import pickle

import librosa
import numpy as np
import pytest
import soundfile
import torch
from sklearn.base import clone
from torch import nn

from skaudio.networks import BaseNetwork, DiffResNet, MTSNet


def small(**options):
    return DiffResNet(backbone=MTSNet(n_filters=(4, 4), tempo_factors=()), **options)


def decibels(*shape, seed=0):
    """Features with the tilt and the dynamics of recordings, in decibels."""
    rng = torch.Generator().manual_seed(seed)
    tilt = torch.linspace(0, -40, shape[-2])[:, None]
    loudness = 10 * torch.randn(shape[0], 1, 1, shape[-1], generator=rng)
    return -20 + tilt + loudness + 5 * torch.randn(shape, generator=rng)


def warmed(network, n_bands, seed=0):
    torch.manual_seed(seed)
    module = network.build(n_bands, 3)
    for step in range(3):
        module(decibels(4, 1, n_bands, 60, seed=step))
    return module.eval()


@pytest.mark.parametrize("rate", [0, 0.25, 0.75, 0.95])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (2, 1, 1, 2), (3, 1, 7, 20), (2, 1, 40, 101), (2, 2, 9, 33)]
)
def test_any_size_goes_through(shape, rate):
    module = small(reduction_rate=rate).build(shape[2], 3, n_channels=shape[1])
    logits, named = module(decibels(*shape))
    (logits.sum() + named["guide_loss"]).backward()
    assert logits.shape == (shape[0], 3)
    for name, parameter in module.diffres.scorer.named_parameters():
        assert parameter.grad.isfinite().all(), name
    assert module.eval()(decibels(*shape)).shape == (shape[0], 3)


def test_the_backbone_gets_average_maximum_and_encoding():
    module = warmed(small(reduction_rate=0.5), 12)
    seen = []
    module.backbone.register_forward_pre_hook(lambda _, args: seen.append(args))
    x = decibels(2, 1, 12, 40)
    module(x)
    ret = module.diffres(x[:, 0].transpose(1, 2) * (np.log(10) / 10))
    assert torch.equal(seen[0][0], ret["feature"].transpose(2, 3))
    assert seen[0][0].shape == (2, 3, 12, 20)
    assert len(seen[0]) == 1


def test_channels_are_scored_together_and_kept_apart():
    torch.manual_seed(0)
    module = small(reduction_rate=0.5).build(6, 2, n_channels=2).eval()
    seen = []
    module.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = decibels(1, 2, 6, 30)
    ret = module.warp(x)
    module(x)
    for channel in range(2):
        bands = slice(6 * channel, 6 * (channel + 1))
        expected = ret["feature"][0, ..., bands].transpose(1, 2)
        assert torch.equal(seen[0][0, 3 * channel : 3 * channel + 3], expected)


def test_decibels_and_natural_logarithm_are_the_same_thing():
    in_db = warmed(small(reduction_rate=0.5), 12)
    in_ln = small(reduction_rate=0.5, input_scale="ln").build(12, 3).eval()
    in_ln.load_state_dict(in_db.state_dict())
    x = decibels(2, 1, 12, 40)
    torch.testing.assert_close(in_ln(x * np.log(10) / 10), in_db(x))


@pytest.mark.parametrize("rate", [0, 0.5, 0.8])
def test_a_clip_in_a_padded_batch_is_the_clip_alone(rate):
    module = warmed(small(reduction_rate=rate), 12)
    x, lengths = decibels(4, 1, 12, 50), torch.tensor([50, 1, 23, 4])
    for clip, length in enumerate(lengths):
        x[clip, ..., length:] = 1e3
    together = module(x, lengths)
    for clip, length in enumerate(lengths):
        alone = module(x[clip : clip + 1, ..., :length])
        torch.testing.assert_close(together[clip], alone[0], rtol=0, atol=1e-5)


def test_a_short_clip_repeats_its_last_frame():
    module = warmed(small(reduction_rate=0.75), 12)
    x = decibels(2, 1, 12, 2)
    longer = torch.cat([x, x[..., -1:], x[..., -1:]], dim=-1)
    assert torch.equal(module(x), module(longer))


def test_guide_loss_is_weighted_and_activeness_only_shown():
    x = decibels(3, 1, 12, 40)
    named = {}
    for weight in (1.0, 0.25):
        torch.manual_seed(0)
        named[weight] = small(guide_weight=weight).build(12, 3)(x)[1]
    assert named[1.0]["guide_loss"] > 0
    torch.testing.assert_close(named[0.25]["guide_loss"], named[1.0]["guide_loss"] / 4)
    assert named[1.0]["guide_loss"].requires_grad
    assert not named[1.0]["activeness"].requires_grad
    assert set(named[1.0]) == {"guide_loss", "activeness"}


def test_the_guide_loss_drives_scores_off_silence():
    torch.manual_seed(0)
    module = small(reduction_rate=0.5).build(8, 2)
    x = decibels(4, 1, 8, 60) + 30
    x[..., 30:] = -100
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    first = None
    for _ in range(60):
        _, named = module(x)
        first = named["guide_loss"].item() if first is None else first
        optimizer.zero_grad()
        named["guide_loss"].backward()
        optimizer.step()
        if named["guide_loss"] == 0:
            break
    assert first > 0.5
    assert module.warp(x)["guide_loss_total"] < 0.85 * first


def test_a_backbones_own_losses_are_handed_on():
    class Talkative(nn.Module):
        def forward(self, x):
            return x.mean((1, 2))[:, :2], {"guide_loss": torch.tensor(5.0), "aux_loss": 7.0}

    x = decibels(2, 1, 8, 40)
    torch.manual_seed(0)
    _, named = DiffResNet(0.5, Talkative()).build(8, 2)(x)
    torch.manual_seed(0)
    _, alone = DiffResNet(0.5, MTSNet(n_filters=(4,))).build(8, 2)(x)
    torch.testing.assert_close(named["guide_loss"], alone["guide_loss"] + 5.0)
    assert named["aux_loss"] == 7.0


class Plain(nn.Module):
    """A network of one's own, which knows nothing of lengths."""

    def __init__(self, n_channels, n_outputs):
        super().__init__()
        self.head = nn.Linear(n_channels, n_outputs)

    def forward(self, x):
        return self.head(x.mean((2, 3)))


def build_plain(n_bands, n_outputs, n_frames=None, n_channels=1):
    return Plain(n_channels, n_outputs)


@pytest.mark.parametrize("backbone", [Plain(3, 2), build_plain], ids=["module", "function"])
def test_any_network_may_stand_behind(backbone):
    module = DiffResNet(0.5, backbone).build(8, 2).eval()
    assert module.backbone is not backbone
    assert module(decibels(2, 1, 8, 40), torch.tensor([40, 20])).shape == (2, 2)


def test_a_gain_does_not_reach_the_encoding():
    module = DiffResNet(0.5, MTSNet(level_norm=True)).build(20, 3).eval()
    x = decibels(2, 1, 20, 40)
    seen = []
    module.backbone.input_norm.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    for gain in (0.0, -15.0):
        raw = torch.full((2, 40), 0.5)
        module.diffres.scorer.forward = lambda *_, raw=raw: raw[..., None]
        module(x + gain)
    torch.testing.assert_close(*seen, rtol=0, atol=1e-2)


def test_nested_parameters_reach_the_default_backbone():
    network = clone(DiffResNet()).set_params(backbone__n_filters=(2,), reduction_rate=0.25)
    assert network.backbone.get_params() == MTSNet(n_filters=(2,)).get_params()
    assert network.reduction_rate == 0.25
    assert DiffResNet().backbone is None


@pytest.mark.parametrize("input_scale", ["db", "ln"])
@pytest.mark.parametrize("ragged", [False, True])
def test_standardised_features_are_refused(input_scale, ragged):
    module = small(input_scale=input_scale).build(40, 3)
    x = decibels(16, 1, 40, 100)
    x = (x - x.mean((0, 3), keepdim=True)) / x.std((0, 3), keepdim=True)
    lengths = torch.tensor([100, *[70] * 15]) if ragged else None
    with pytest.raises(ValueError, match=r"look standardised.*input_scale=.*leave out BandScaler"):
        module(x, lengths)


def white_noise():
    """Decibels of white noise: the same mean in every band, and deviations of a few."""
    rng = torch.Generator().manual_seed(0)
    power = -torch.rand(16, 1, 40, 100, generator=rng).log()
    return 10 * power.log10()


@pytest.mark.parametrize(
    "features",
    [
        decibels(16, 1, 40, 100),
        white_noise(),
        torch.full((16, 1, 40, 100), -80.0),
        torch.randn(2, 1, 40, 100),
        torch.randn(64, 1, 1, 100),
    ],
    ids=["recording", "white noise", "silence", "too few frames to tell", "too few bands to tell"],
)
@pytest.mark.parametrize("input_scale", ["db", "ln"])
def test_nothing_else_is_taken_for_standardised(features, input_scale):
    scale = 1.0 if input_scale == "db" else np.log(10) / 10
    module = small(input_scale=input_scale).build(features.shape[2], 3)
    module(features * scale)


class Fixed(BaseNetwork):
    """The least a network can be that takes clips of one length only."""

    def _build(self, n_bands, n_outputs, n_frames, n_channels):
        module = nn.Sequential(nn.Flatten(), nn.Linear(n_channels * n_bands * n_frames, n_outputs))
        module.forward = lambda x, lengths=None: module[1](module[0](x))
        module.n_frames = n_frames
        return module


def test_fixed_backbones_are_built_for_what_is_left():
    module = DiffResNet(0.75, Fixed()).build(10, 3, n_frames=40)
    assert module.n_frames == 40
    assert module.backbone.n_frames == 10
    assert module(decibels(2, 1, 10, 40))[0].shape == (2, 3)
    with pytest.raises(ValueError, match=r"got clips of 50 frames.*built for clips of 40"):
        module(decibels(2, 1, 10, 50))


def test_head_is_the_backbones():
    module = small().build(10, 3)
    assert module.head is module.backbone.head
    assert module.head.bias.shape == (3,)


def test_parameters_reach_into_the_backbone():
    network = DiffResNet(0.3, MTSNet())
    assert network.get_params()["backbone__n_filters"] == MTSNet().n_filters
    network.set_params(reduction_rate=0.6, backbone__n_filters=(2,))
    copy = clone(network)
    assert copy.reduction_rate == 0.6
    assert copy.backbone.n_filters == (2,)
    assert repr(DiffResNet(reduction_rate=0.25)) == "DiffResNet(reduction_rate=0.25)"
    assert not [name for name in DiffResNet().get_params() if name.startswith("backbone__")]


@pytest.mark.parametrize(
    "options",
    [
        {"reduction_rate": 1.0},
        {"reduction_rate": -0.1},
        {"input_scale": "log"},
        {"guide_weight": -1},
        {"backbone": "mts"},
        {"learn_pos_emb": "yes"},
    ],
)
def test_bad_parameters_are_named(options):
    with pytest.raises(ValueError, match=f"'{next(iter(options))}' parameter of DiffResNet"):
        DiffResNet(**options).build(10, 2)


def test_absurdly_loud_features_do_not_overflow():
    module = DiffResNet(0.5, input_scale="ln").build(20, 3)
    logits, named = module(torch.full((2, 1, 20, 30), 1e4))
    (logits.sum() + named["guide_loss"]).backward()
    assert logits.isfinite().all()
    assert all(p.grad.isfinite().all() for p in module.parameters() if p.grad is not None)


@pytest.mark.parametrize("learned", [False, True])
def test_learned_positions_are_parameters(learned):
    module = small(learn_pos_emb=learned).build(10, 2)
    assert ("diffres.positions.table" in dict(module.named_parameters())) is learned


def test_pickles_predict_the_same():
    module = warmed(small(), 12)
    x = decibels(2, 1, 12, 40)
    assert torch.equal(pickle.loads(pickle.dumps(module))(x), module(x))


@pytest.mark.slow
def test_real_recordings_are_not_taken_for_standardised(recordings):
    files = sorted((recordings / "emodb_2s").rglob("*.wav"))[:100:10]
    clips = [soundfile.read(file)[0] for file in files]
    for reference in (1.0, np.max, np.median, np.mean):
        mels = [librosa.feature.melspectrogram(y=y, sr=16000, n_mels=40)[:, :60] for y in clips]
        x = np.stack([librosa.power_to_db(m, ref=reference, top_db=None) for m in mels])
        x = np.concatenate([x, x])[:, None].astype(np.float32)
        for scale, factor in (("db", 1.0), ("ln", np.log(10) / 10)):
            small(input_scale=scale).build(40, 2)(torch.from_numpy(x * np.float32(factor)))
