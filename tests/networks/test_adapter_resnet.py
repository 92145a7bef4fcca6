import json
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import torch

from skaudio.features import LogMelSpectrogram
from skaudio.layers import LogMel
from skaudio.networks import AdapterResNet

DATA = Path(__file__).parents[1] / "data"
POOLING = {"FCNAttention": "attention", "avgpool": "average"}


def n_parameters(*modules):
    return sum(weight.numel() for module in modules for weight in module.parameters())


# Sizes


def test_parameters_are_those_of_the_paper():
    module = AdapterResNet().build(128, (7,))
    own = module.sets[0]
    assert n_parameters(module.trunk) == 2_709_792
    assert n_parameters(*(conv.adapter for conv in own.layers.convs)) == 301_088
    norms = [*(conv.norm for conv in own.layers.convs), own.layers.norm]
    assert n_parameters(*norms) == 4160
    assert n_parameters(own.pooling) == 66_048
    assert n_parameters(own.head) == 34_055
    assert n_parameters(own) == 301_088 + 4160 + 66_048 + 34_055


@pytest.mark.parametrize(
    ("options", "share"),
    [({}, 0.144), ({"share_pooling": True}, 0.121), ({"pooling": "average"}, 0.154)],
)
def test_share_of_what_is_trained_with_a_frozen_trunk(options, share):
    net = AdapterResNet(**options)
    new_set = net.build(128, (7,), n_frames=61).sets[0]
    finetuned = net.build(128, 7, n_frames=61)
    assert n_parameters(new_set) / n_parameters(finetuned) == pytest.approx(share, abs=6e-4)


def test_n_blocks_and_width():
    module = AdapterResNet(n_filters=2, widen_factor=3, n_blocks=1).build(64, 7)
    assert [conv.out_channels for conv in module.trunk.body.convs] == [6, 12, 12, 24, 24, 48, 48]
    assert [conv.stride[0] for conv in module.trunk.body.convs] == [1, 2, 1, 2, 1, 2, 1]


def test_weights_start_as_in_the_original():
    torch.manual_seed(0)
    module = AdapterResNet(pooling="attention").build(64, (7,))
    own, conv = module.sets[0], module.trunk.body.convs[-1]
    assert conv.weight.std().item() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.01)
    adapter = own.layers.convs[-1].adapter
    assert adapter.weight.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.02)
    assert own.pooling.hidden.weight.std().item() == pytest.approx(0.05, rel=0.02)


# The network by its definition, clip by clip and window by window


def same_conv(x, kernel, stride):
    sides = []
    for n in x.shape[1:]:
        total = max((-(-n // stride) - 1) * stride + kernel.shape[2] - n, 0)
        sides.append((total // 2, total - total // 2))
    padded = np.pad(x, [(0, 0), *sides])
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[2:], axis=(1, 2))
    return np.einsum("ocij,cftij->oft", kernel, windows[:, ::stride, ::stride])


def norm(x, state, name):
    scale = state[f"{name}.weight"] / np.sqrt(state[f"{name}.running_var"] + 1e-3)
    shape = (-1,) + (1,) * (x.ndim - 1)
    centred = x - state[f"{name}.running_mean"].reshape(shape)
    return centred * scale.reshape(shape) + state[f"{name}.bias"].reshape(shape)


def shortcut(x, n_channels):
    out = np.zeros((n_channels, -(-x.shape[1] // 2), -(-x.shape[2] // 2)))
    for i, j in np.ndindex(*out.shape[1:]):
        out[: len(x), i, j] = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((1, 2))
    return out


def reference(net, state, x, corpus):
    """Pooled vector and logits of one clip, ``(n_channels, n_bands, n_frames)``."""
    own = f"sets.{corpus}"

    def conv(x, i, stride):
        y = same_conv(x, state[f"trunk.body.convs.{i}.weight"], stride)
        adapter = state.get(f"{own}.layers.convs.{i}.adapter.weight")
        if adapter is not None:
            y = y + np.einsum("oc,cft->oft", adapter[:, :, 0, 0], x[:, ::stride, ::stride])
        return norm(y, state, f"{own}.layers.convs.{i}.norm")

    if net.input_norm:
        x = norm(x, state, f"{own}.input_norm")
    x, i = conv(x, 0, 1), 1
    for _stage in range(3):
        for block in range(net.n_blocks):
            stride = 2 if block == 0 else 1
            y = conv(np.maximum(conv(x, i, stride), 0), i + 1, 1)
            x = np.maximum(y + (x if stride == 1 else shortcut(x, len(y))), 0)
            i += 2
    x = np.maximum(norm(x, state, f"{own}.layers.norm"), 0)
    pooled = pool(net, state, x, own)
    hidden = state[f"{own}.head.hidden.weight"] @ pooled + state[f"{own}.head.hidden.bias"]
    hidden = np.maximum(norm(hidden, state, f"{own}.head.norm"), 0)
    return state[f"{own}.head.output.weight"] @ hidden + state[f"{own}.head.output.bias"]


def pool(net, state, x, own):
    if net.pooling == "average":
        n_bands, n_frames = (n // 8 for n in x.shape[1:])
        cells = [
            x[:, 8 * i : 8 * i + 8, 8 * j : 8 * j + 8].mean((1, 2))
            for i in range(n_bands)
            for j in range(n_frames)
        ]
        return np.concatenate(cells)
    place = "trunk.pooling" if net.share_pooling else f"{own}.pooling"
    positions = x.reshape(len(x), -1).T
    weight, bias = state[f"{place}.hidden.weight"], state[f"{place}.hidden.bias"]
    score = 0.3 * np.tanh(positions @ weight.T + bias) @ state[f"{place}.score.weight"][0]
    share = np.exp(score - score.max())
    return (share / share.sum()) @ positions


def with_random_norms(module):
    """Move all statistics and scales away from where they start."""
    for name, values in module.state_dict().items():
        if name.endswith(("norm.weight", "running_var")):
            values.uniform_(0.5, 2)
        elif name.endswith(("norm.bias", "running_mean")):
            values.normal_()
    return module.eval()


SETTINGS = [
    ({}, (3, 2), 20),
    ({}, 3, 21),
    ({"input_norm": True, "n_blocks": 1}, (3, 2), 13),
    ({"n_blocks": 3, "share_pooling": True}, (3, 2), 9),
    ({"widen_factor": 2, "n_blocks": 1, "share_pooling": True}, 3, 16),
    ({}, (3, 2), 1),
]


@pytest.mark.parametrize(("settings", "n_outputs", "n_bands"), SETTINGS)
def test_by_definition_and_padding_changes_nothing(settings, n_outputs, n_bands):
    torch.manual_seed(0)
    net = AdapterResNet(n_filters=2, **settings)
    module = with_random_norms(net.build(n_bands, n_outputs, n_channels=2).double())
    state = {name: values.numpy() for name, values in module.state_dict().items()}
    lengths = [26, 25, 13, 8, 2, 1]
    x = torch.randn(len(lengths), 2, n_bands, max(lengths), dtype=torch.float64)
    for corpus in range(len(module.sets)):
        together = module(x, torch.tensor(lengths), corpus=corpus).detach()
        for clip, logits, n in zip(x, together, lengths, strict=True):
            expected = reference(net, state, clip[..., :n].numpy(), corpus)
            np.testing.assert_allclose(logits, expected, rtol=1e-9, atol=1e-9)
            alone = module(clip[None, ..., :n], corpus=corpus).detach()[0]
            np.testing.assert_allclose(alone, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("n_bands", "n_frames"), [(57, 121), (128, 57), (130, 140)])
def test_average_pooling_by_definition(n_bands, n_frames):
    net = AdapterResNet(n_filters=1, n_blocks=1, pooling="average")
    module = with_random_norms(net.build(n_bands, (3, 2), n_frames=n_frames).double())
    state = {name: values.numpy() for name, values in module.state_dict().items()}
    x = torch.randn(2, 1, n_bands, n_frames, dtype=torch.float64)
    for corpus in range(2):
        logits = module(x, corpus=corpus).detach()
        expected = [reference(net, state, clip.numpy(), corpus) for clip in x]
        np.testing.assert_allclose(logits, expected, rtol=1e-9, atol=1e-9)
    assert module.n_frames == n_frames


# Golden numbers of EmoNet's published implementation


def as_they_are(array):
    return array


def out_first(kernel):
    return kernel.transpose(3, 2, 0, 1)


def two_logits(array):
    """One sigmoid of z is the softmax of (0, z)."""
    array = array.T
    return np.concatenate([0 * array, array]) if len(array) == 1 else array


class PublishedWeights:
    """Weights by TensorFlow's names, each to be used once."""

    def __init__(self, weights):
        self.left = dict(weights)

    def fill(self, tensor, name, turn=as_they_are):
        values = torch.from_numpy(np.ascontiguousarray(turn(self.left.pop(f"{name}:0"))))
        assert values.shape == tensor.shape
        tensor.data.copy_(values)

    def fill_norm(self, layer, name):
        self.fill(layer.weight, f"{name}/gamma")
        self.fill(layer.bias, f"{name}/beta")
        self.fill(layer.running_mean, f"{name}/moving_mean")
        self.fill(layer.running_var, f"{name}/moving_variance")

    def fill_attention(self, pooling, name):
        if pooling is not None and n_parameters(pooling):
            self.fill(pooling.hidden.weight, f"{name}_2d_attention/W", np.transpose)
            self.fill(pooling.hidden.bias, f"{name}_2d_attention/b")
            self.fill(pooling.score.weight, f"{name}_2d_attention/u", lambda u: u[np.newaxis])

    def fill_trunk(self, trunk):
        self.fill_attention(trunk.pooling, "core")
        for i, conv in enumerate(trunk.body.convs):
            self.fill(conv.weight, f"conv2d_{i}/kernel" if i else "conv2d/kernel", out_first)

    def fill_set(self, own, task):
        name = task if own.layers.convs[0].adapter is not None else "core"
        for i, conv in enumerate(own.layers.convs):
            layer = f"{name}_conv2d_{i}" if i else f"{name}_conv2d"
            self.fill_norm(conv.norm, f"{layer}_batch_normalization")
            if conv.adapter is not None:
                self.fill(conv.adapter.weight, f"{layer}_adapter/kernel", out_first)
        self.fill_norm(own.layers.norm, f"{name}_final_batch_normalization")
        self.fill_attention(own.pooling, name)
        self.fill(own.head.hidden.weight, f"{task}_dense/kernel", np.transpose)
        self.fill(own.head.hidden.bias, f"{task}_dense/bias")
        self.fill_norm(own.head.norm, f"{task}_dense_batchnorm")
        self.fill(own.head.output.weight, f"{task}/kernel", two_logits)
        self.fill(own.head.output.bias, f"{task}/bias", two_logits)


def golden_module(case, golden, n_frames):
    config = json.loads(str(golden[f"{case}/config"]))
    assert (config["input_bn"], config["widen_factor"], config["n_blocks"]) == (False, 1, 2)
    net = AdapterResNet(
        config["filters"],
        pooling=POOLING[config["classifier"]],
        share_pooling=config["share_feature_layer"],
    )
    n_outputs = config["classes"] if config["mode"] == "adapters" else config["classes"][0]
    module = net.build(config["n_mels"], n_outputs, n_frames=n_frames).eval()
    prefix = f"{case}/weights/"
    weights = PublishedWeights(
        {k.removeprefix(prefix): golden[k] for k in golden if k.startswith(prefix)}
    )
    weights.fill_trunk(module.trunk)
    for own, task in zip(module.sets, config["tasks"], strict=True):
        weights.fill_set(own, task)
    assert not weights.left
    return module, config["tasks"]


def outputs(module, x, corpus):
    """Return what goes into the head, and the probabilities that come out."""
    pooled = []
    hook = module.sets[corpus].head.register_forward_pre_hook(lambda _, args: pooled.extend(args))
    with torch.no_grad():
        proba = module(x, corpus=corpus).softmax(1)
    hook.remove()
    return pooled[0].numpy(), proba.numpy()


def compare_with_golden(case, golden, features, rtol, atol):
    module, tasks = golden_module(case, golden, features.shape[-1])
    for corpus, task in enumerate(tasks):
        pooled, proba = outputs(module, features[:, None], corpus)
        expected = golden[f"{case}/pooled/{task}"]
        np.testing.assert_allclose(pooled, expected, rtol=rtol, atol=atol)
        expected = golden[f"{case}/proba/{task}"]
        proba = proba[:, -expected.shape[1] :]
        np.testing.assert_allclose(proba, expected, rtol=rtol, atol=atol)


@pytest.fixture(scope="module")
def features():
    """Audio, log-mel features and mel matrix as the original had them."""
    with np.load(DATA / "emonet_logmel.npz") as file:
        return dict(file)


def log_mel(audio, mel_matrix):
    window = scipy.signal.get_window("hann", 1024)
    layer = LogMel(window, mel_matrix.T, 512, center=False, log="ln", eps=1e-6)
    return layer(torch.from_numpy(audio))


def own_log_mel(audio):
    front = LogMelSpectrogram(
        n_fft=1024, hop_length=512, center=False, n_mels=64, fmin=20, fmax=8000, htk=True,
        norm=None, triangles="mel", log="ln",
    )  # fmt: skip
    return LogMel(**front.layer_arguments())(torch.from_numpy(audio))


def test_golden_features(features):
    x = log_mel(features["audio"], features["mel_matrix"]).transpose(1, 2)
    np.testing.assert_allclose(x, features["logmel"], rtol=1e-4, atol=1e-5)
    x = own_log_mel(features["audio"]).transpose(1, 2)
    np.testing.assert_allclose(x, features["logmel"], rtol=0, atol=3e-4)


def test_golden_numbers(features):
    case = "cnn_attention_adapters"
    with np.load(DATA / "emonet.npz") as golden:
        x = log_mel(features["audio"], features["mel_matrix"])
        compare_with_golden(case, dict(golden), x, rtol=1e-4, atol=1e-5)
        compare_with_golden(case, dict(golden), own_log_mel(features["audio"]), 2e-4, 1e-5)


@pytest.mark.parametrize(
    "case",
    [
        "cnn_attention_adapters",
        "cnn_attention_scratch",
        "cnn_avgpool_adapters",
        "cnn_attention_shared_binary",
    ],
)
def test_all_golden_numbers(case, golden_folder, features):
    with np.load(golden_folder / "emonet.npz") as file:
        golden = {name: file[name] for name in file.files if name.startswith(case)}
    audio = golden[f"{case}/audio"]
    compare_with_golden(case, golden, log_mel(audio, features["mel_matrix"]), 1e-4, 1e-5)
    compare_with_golden(case, golden, own_log_mel(audio), 2e-4, 1e-5)


# Bad hyperparameters


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_filters": 0}, "The 'n_filters' parameter of AdapterResNet must be"),
        ({"widen_factor": 0}, "The 'widen_factor' parameter of AdapterResNet must be"),
        ({"n_blocks": 0}, "The 'n_blocks' parameter of AdapterResNet must be"),
        ({"dropout": (0.0, 1.0)}, r"dropout: got \(0\.0, 1\.0\), but expected two numbers in"),
        ({"dropout": (-0.1, 0.5)}, r"dropout: got \(-0\.1, 0\.5\), but expected two numbers"),
        ({"dropout": (0.5,)}, r"dropout: got \(0\.5,\), but expected two numbers"),
        ({"dropout": 0.5}, "The 'dropout' parameter of AdapterResNet must be"),
        ({"rnn_dropout": 1.0}, "The 'rnn_dropout' parameter of AdapterResNet must be"),
        ({"pooling": "max"}, "The 'pooling' parameter of AdapterResNet must be"),
        ({"l2": -1e-6}, "The 'l2' parameter of AdapterResNet must be"),
        ({"adapter_l2": "large"}, "The 'adapter_l2' parameter of AdapterResNet must be"),
    ],
)
def test_bad_hyperparameters_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        AdapterResNet(**arguments).build(40, 10)


@pytest.mark.parametrize(
    ("n_bands", "n_frames", "message"),
    [
        (64, None, "pooling: got 'average', which needs clips of one length.*'attention'"),
        (56, 100, "at least 57 bands and 57 frames, but the features have 56 bands and 100 frames"),
        (64, 56, "at least 57 bands and 57 frames, but the features have 64 bands and 56 frames"),
    ],
)
def test_average_pooling_needs_room(n_bands, n_frames, message):
    with pytest.raises(ValueError, match=message):
        AdapterResNet(pooling="average").build(n_bands, 7, n_frames=n_frames)
