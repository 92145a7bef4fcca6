import numpy as np
import pytest
import torch

from skaudio.features import MFCC
from skaudio.layers import MFCC as MFCCLayer
from skaudio.networks import AdapterRNN


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, state, name):
    h = c = np.zeros(state[f"{name}.weight_hh_l0"].shape[1])
    out = []
    for frame in x:
        gates = state[f"{name}.weight_ih_l0"] @ frame + state[f"{name}.bias_ih_l0"]
        gates = gates + state[f"{name}.weight_hh_l0"] @ h + state[f"{name}.bias_hh_l0"]
        keep_new, keep_old, new, show = np.split(gates, 4)
        c = sigmoid(keep_old) * c + sigmoid(keep_new) * np.tanh(new)
        h = sigmoid(show) * np.tanh(c)
        out.append(h)
    return np.array(out)


def gru(x, state, name):
    h = np.zeros(state[f"{name}.weight_hh_l0"].shape[1])
    out = []
    for frame in x:
        ours = state[f"{name}.weight_ih_l0"] @ frame + state[f"{name}.bias_ih_l0"]
        theirs = state[f"{name}.weight_hh_l0"] @ h + state[f"{name}.bias_hh_l0"]
        (reset, update, new), (r, u, n) = np.split(ours, 3), np.split(theirs, 3)
        new = np.tanh(new + sigmoid(reset + r) * n)
        h = (1 - sigmoid(update + u)) * new + sigmoid(update + u) * h
        out.append(h)
    return np.array(out)


def softmax(scores):
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


def adapt(x, state, name):
    if f"{name}.down.weight" not in state:
        return x
    centred = x - x.mean(1, keepdims=True)
    normalised = centred / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    normalised = normalised * state[f"{name}.norm.weight"] + state[f"{name}.norm.bias"]
    narrow = np.maximum(normalised @ state[f"{name}.down.weight"].T, 0)
    return x + narrow @ state[f"{name}.up.weight"].T


def attend(x, state, name):
    if f"{name}.score.weight" not in state:
        return x
    query = x @ state[f"{name}.query.weight"].T + state[f"{name}.query.bias"]
    key = x @ state[f"{name}.key.weight"].T
    v = state[f"{name}.score.weight"][0]
    return np.array([softmax(sigmoid(np.tanh(q + key) @ v)) @ x for q in query])


def reference(net, state, x, corpus):
    """Pooled vector of one clip, ``(n_bands, n_frames)``."""
    own, cell = f"sets.{corpus}", {"lstm": lstm, "gru": gru}[net.cell]
    if net.input_norm:
        name = f"{own}.input_norm.norm"
        scale = state[f"{name}.weight"] / np.sqrt(state[f"{name}.running_var"] + 1e-5)
        x = (x - state[f"{name}.running_mean"][:, None]) * scale[:, None]
        x = x + state[f"{name}.bias"][:, None]
    starts = range(0, x.shape[1], net.down_pool)
    x = np.array([x[:, start : start + net.down_pool].mean(1) for start in starts])
    recurrent, pooling = "trunk.recurrent", f"{'trunk' if net.share_pooling else own}.pooling"
    if net.projection:
        weight = state[f"{recurrent}.projection.weight"]
        x = x @ weight.T + state[f"{recurrent}.projection.bias"]
    for i in range(net.n_layers):
        y = cell(x, state, f"{recurrent}.layers.{i}.forwards")
        if net.bidirectional:
            backwards = cell(x[::-1], state, f"{recurrent}.layers.{i}.backwards")[::-1]
            y = np.concatenate([y, backwards], axis=1)
        x = attend(adapt(y, state, f"{own}.layers.{i}"), state, f"{pooling}.attentions.{i}")
    return softmax(x @ state[f"{pooling}.frames.score.weight"][0]) @ x


SETTINGS = [
    ({}, (3, 2)),
    ({"cell": "gru", "bidirectional": True, "down_pool": 3}, 3),
    ({"bidirectional": True, "self_attention": True, "down_pool": 1, "n_layers": 3}, (3, 2)),
    ({"projection": True, "share_pooling": True, "self_attention": True}, (3, 2)),
    ({"input_norm": False, "n_layers": 1, "self_attention": True, "down_pool": 2}, 3),
]


@pytest.mark.parametrize(("settings", "n_outputs"), SETTINGS)
def test_by_definition_and_padding_changes_nothing(settings, n_outputs):
    torch.manual_seed(0)
    net = AdapterRNN(n_hidden=5, **settings)
    module = net.build(6, n_outputs).double()
    lengths = [26, 25, 17, 8, 1]
    x = torch.randn(len(lengths), 1, 6, max(lengths), dtype=torch.float64)
    for corpus in range(len(module.sets)):
        module(3 * x + 1, corpus=corpus)  # moves the norms
    module.eval()
    state = {name: values.numpy() for name, values in module.state_dict().items()}
    for corpus, own in enumerate(module.sets):
        together = module(x, torch.tensor(lengths), corpus).detach()
        for clip, logits, n in zip(x, together, lengths, strict=True):
            pooled = reference(net, state, clip[0, :, :n].numpy(), corpus)
            expected = own.head(torch.from_numpy(pooled)[None])[0].detach()
            np.testing.assert_allclose(logits, expected, rtol=1e-9, atol=1e-9)


def test_digital_zeros_are_sound():
    module = AdapterRNN(n_hidden=8, input_norm=False).build(6, 3).eval()
    x = torch.randn(1, 1, 6, 40)
    followed_by_silence = torch.cat([x, torch.zeros(1, 1, 6, 40)], dim=3)
    assert not torch.allclose(module(x), module(followed_by_silence), atol=1e-4)
    torch.testing.assert_close(module(x), module(followed_by_silence, torch.tensor([40])))


def test_sizes():
    module = AdapterRNN().build(40, (7,))
    assert [layer.n_out for layer in module.trunk.recurrent.layers] == [512, 512]
    assert module.head.hidden.in_features == 512
    own = module.sets[0].layers
    assert [adapter.down.out_features for adapter in own] == [128, 128]
    assert AdapterRNN(bidirectional=True).build(40, 7).head.hidden.in_features == 1024


def test_takes_coefficients_of_natural_log_bands():
    features = MFCC(
        n_fft=1024, hop_length=512, center=False, n_mels=128, fmin=20, fmax=8000, htk=True,
        mel_norm=None, triangles="mel", log="ln",
    )  # fmt: skip
    layer = MFCCLayer(**features.layer_arguments())
    x = layer(0.1 * torch.randn(2, 16000))[:, None]
    logits, _ = AdapterRNN(n_hidden=8).build(layer.n_bands, 4)(x)
    assert logits.shape == (2, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_hidden": 0}, "The 'n_hidden' parameter of AdapterRNN must be"),
        ({"n_layers": 0}, "The 'n_layers' parameter of AdapterRNN must be"),
        ({"cell": "rnn"}, "The 'cell' parameter of AdapterRNN must be"),
        ({"down_pool": 0}, "The 'down_pool' parameter of AdapterRNN must be"),
        ({"rnn_dropout": 1.0}, "The 'rnn_dropout' parameter of AdapterRNN must be"),
        ({"adapter_l2": -1.0}, "The 'adapter_l2' parameter of AdapterRNN must be"),
    ],
)
def test_bad_hyperparameters_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        AdapterRNN(**arguments).build(40, 10)
