"""What every network promises, and the network of docs/contributing.md with them."""

import inspect
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone

from skaudio import networks
from skaudio.estimators import AudioClassifier
from skaudio.layers import LinearHead
from skaudio.networks import BaseNetwork, NetworkModule
from skaudio.networks.contract import takes_lengths


def recipe_network():
    """Run the recipe for a new network as a module of a user's own."""
    text = (Path(__file__).parents[2] / "docs" / "contributing.md").read_text()
    code = text.split("## A new network")[1].split("```python\n")[1].split("```")[0]
    sys.modules["recipe"] = module = types.ModuleType("recipe")  # where pickle looks for it
    exec(compile(code, "docs/contributing.md", "exec"), vars(module))
    return module.TinyNet()


SMALL = {
    "AdapterRNN": {"n_hidden": 8},
    "AdapterResNet": {"n_filters": 4},
    "FusionNet": {"n_filters": 2, "n_hidden": 4},
    "VGG16Net": {"width": 1 / 32},
}
KINDS = [getattr(networks, name) for name in networks.__all__]
DESCRIPTIONS = [
    kind(**SMALL.get(kind.__name__, {}))
    for kind in KINDS
    if issubclass(kind, BaseNetwork) and kind != BaseNetwork
]


def name_of(description):
    return type(description).__name__


OPTIONS = [
    networks.MTSNet((4, 8), n_frame_features=None, pooling="attention", first_stride=None),
    networks.MTSNet((4, 8), (3, 3), (), n_hidden=5, first_stride=(1, 3), block="plain"),
    networks.SeparableNet((8, 16), first_stride=None, block="plain", pooling="attention"),
]


@pytest.fixture(params=[*DESCRIPTIONS, *OPTIONS, recipe_network()], ids=name_of)
def network(request):
    return clone(request.param)


def logits_of(output):
    return output[0] if isinstance(output, tuple) else output


def build(network, n_bands=20, **keywords):
    torch.manual_seed(0)
    return network.build(n_bands, 3, **keywords).eval()


def test_it_is_a_network(network):
    assert isinstance(network, BaseNetwork)


def test_the_module_offers_what_the_contract_says(network):
    module = build(network)
    assert isinstance(module, NetworkModule)
    assert takes_lengths(module)
    assert module.n_frames is None


def test_constructor_stores_and_nothing_else(network):
    kind = type(network)
    parameters = inspect.signature(kind).parameters
    assert vars(kind()) == {name: value.default for name, value in parameters.items()}
    assert repr(kind()) == f"{name_of(network)}()"


def test_parameters_survive_clone_and_pickle(network):
    for copy in (clone(network), pickle.loads(pickle.dumps(network))):
        assert repr(copy.get_params(deep=False)) == repr(network.get_params(deep=False))
    assert set(network._parameter_constraints) == set(network.get_params(deep=False))


def test_unknown_parameter(network):
    with pytest.raises(ValueError, match="Invalid parameter 'n_filter' for estimator"):
        network.set_params(n_filter=3)


def test_every_build_is_fresh(network):
    first, second = network.build(8, 3), network.build(8, 3)
    assert not set(map(id, first.parameters())) & set(map(id, second.parameters()))


def test_head_comes_last_and_is_called_head(network):
    module = build(network)
    last = [layer for layer in module.head.modules() if isinstance(layer, torch.nn.Linear)][-1]
    assert isinstance(last, LinearHead)
    assert last.out_features == 3


@pytest.mark.parametrize("n_bands", [1, 2, 13, 64])
@pytest.mark.parametrize("n_frames", [1, 2, 3, 50])
@pytest.mark.parametrize("training", [False, True])
def test_any_number_of_bands_and_frames(network, n_bands, n_frames, training):
    module = build(network, n_bands).train(training)
    logits = logits_of(module(10 * torch.randn(2, 1, n_bands, n_frames) - 30))
    assert logits.shape == (2, 3)
    assert torch.isfinite(logits).all()


def test_several_channels(network):
    module = build(network, n_channels=2)
    assert logits_of(module(torch.randn(2, 2, 20, 30) - 30)).shape == (2, 3)


def test_padding_stays_out_of_the_answer(network):
    module = build(network)
    x = 10 * torch.randn(5, 1, 20, 60) - 30
    lengths = torch.tensor([60, 7, 31, 2, 44])
    with torch.no_grad():
        padded = logits_of(module(x, lengths))
        alone = [
            logits_of(module(clip[None, ..., :n]))
            for clip, n in zip(x, lengths.tolist(), strict=True)
        ]
    torch.testing.assert_close(padded, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_clips_do_not_see_each_other(network):
    module = build(network)
    x = 10 * torch.randn(6, 1, 20, 40) - 30
    with torch.no_grad():
        together = logits_of(module(x))
        alone = torch.cat([logits_of(module(clip[None])) for clip in x])
        shuffled = logits_of(module(x.flip(0))).flip(0)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together, shuffled, atol=1e-7, rtol=1e-7)


def test_gradients_reach_every_parameter(network):
    module = build(network).train()
    output = module(10 * torch.randn(4, 1, 20, 40) - 30)
    loss = logits_of(output)[:, 0].square().sum()
    named = output[1] if isinstance(output, tuple) else {}
    (loss + sum(value for key, value in named.items() if key.endswith("_loss"))).backward()
    missing = [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []


def test_a_batch_of_one_trains(network):
    module = build(network).train()
    logits_of(module(torch.randn(1, 1, 20, 1) - 30)).sum().backward()


def test_estimator_trains_it_and_batches_do_not_matter(network):
    rng = np.random.default_rng(0)
    y = np.arange(24) % 2
    X = [
        (rng.normal(size=(12, 10 + i % 7)) * 5 - 40 + 20 * label).astype(np.float32)
        for i, label in enumerate(y)
    ]
    model = AudioClassifier(network, max_epochs=3, batch_size=8, lr=1e-2, random_state=0)
    together = model.fit(X, y).predict_proba(X)
    alone = np.concatenate([model.predict_proba([clip]) for clip in X])
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("grad", [False, True], ids=["no grad", "grad"])
def test_every_export_of_a_process_runs(network, grad):
    with torch.set_grad_enabled(grad):
        for n_bands in (20, 32):
            module, x = build(network, n_bands), 10 * torch.randn(2, 1, n_bands, 30) - 30
            expected = module(x)
            exported = torch.export.export(module, (x,)).module()
            torch.testing.assert_close(exported(x), expected)
            torch.testing.assert_close(module(x), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_gives_the_same_logits(network):
    module = build(network)
    x = 10 * torch.randn(3, 1, 20, 40) - 30
    with torch.no_grad():
        on_cpu = logits_of(module(x))
        on_gpu = logits_of(module.cuda()(x.cuda()))
    torch.testing.assert_close(on_gpu.cpu().double(), on_cpu.double(), atol=1e-3, rtol=1e-3)
