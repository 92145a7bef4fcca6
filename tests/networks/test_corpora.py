"""What all networks promise whose parts are shared by corpora."""

import copy
import inspect
import pickle

import pytest
import torch

from skaudio import networks
from skaudio.networks import (
    AdapterResNet,
    AdapterRNN,
    BaseNetwork,
    CorpusModule,
    FusionNet,
    NetworkModule,
    VGG16Net,
)

SIZES = {
    AdapterResNet: {"n_filters": 2, "n_blocks": 1},
    AdapterRNN: {"n_hidden": 4},
    FusionNet: {"n_filters": 2, "n_blocks": 1, "n_hidden": 4},
    VGG16Net: {"width": 1 / 64},
}
OPTIONS = {
    AdapterResNet: [
        {},
        {"share_pooling": True, "input_norm": True},
        {"pooling": "rnn"},
        {"pooling": "rnn", "share_pooling": True},
        {"pooling": "average"},
    ],
    AdapterRNN: [
        {},
        {"bidirectional": True, "cell": "gru", "self_attention": True, "down_pool": 3},
        {"projection": True, "n_layers": 3, "self_attention": True, "share_pooling": True},
        {"n_layers": 1, "self_attention": True, "input_norm": False, "down_pool": 1},
    ],
    FusionNet: [{}, {"share_pooling": True, "bidirectional": True, "down_pool": 4}],
    VGG16Net: [
        {},
        {"pooling": "attention"},
        {"pooling": "rnn", "input_norm": False},
        {"pooling": "attention", "share_pooling": True},
    ],
}
NETWORKS = [kind(**SIZES[kind], **given) for kind, options in OPTIONS.items() for given in options]
ANY_LENGTH = [net for net in NETWORKS if net.get_params().get("pooling") != "average" or
              isinstance(net, VGG16Net)]  # fmt: skip

every_network = pytest.mark.parametrize("net", NETWORKS, ids=repr)
N_BANDS, N_FRAMES = 60, 60


def build(net, n_outputs):
    torch.manual_seed(0)
    return net.build(N_BANDS, n_outputs, n_frames=N_FRAMES)


def features(n_clips=3):
    return 10 * torch.randn(n_clips, 1, N_BANDS, N_FRAMES) - 40


def logits_of(output):
    return output[0] if isinstance(output, tuple) else output


def moved(module):
    """Let the norms see something, so that evaluation is on the scale of training."""
    for corpus in range(len(module.sets)):
        for _ in range(10):
            module(features(), corpus=corpus)
    return module.eval()


def test_all_such_networks_are_tested():
    kinds = [getattr(networks, name) for name in networks.__all__]
    kinds = [kind for kind in kinds if inspect.isclass(kind) and issubclass(kind, BaseNetwork)]
    assert {kind for kind in kinds if kind.has_adapters} <= set(OPTIONS)
    assert not VGG16Net.has_adapters


@every_network
@pytest.mark.parametrize("n_outputs", [3, (3,), (3, 2, 5)])
def test_modules_offer_what_the_contract_says(net, n_outputs):
    module = build(net, n_outputs)
    assert isinstance(module, CorpusModule)
    assert isinstance(module, NetworkModule)
    counts = [n_outputs] if isinstance(n_outputs, int) else n_outputs
    assert len(module.sets) == len(counts)
    assert module.head is module.sets[0].head
    for corpus, count in enumerate(counts):
        assert logits_of(module(features(), corpus=corpus)).shape == (3, count)


@every_network
def test_names_of_a_corpus_do_not_depend_on_the_others(net):
    one, two = (set(build(net, n_outputs).state_dict()) for n_outputs in ((3,), (3, 2)))
    assert {name for name in two if not name.startswith("sets.1.")} == one
    own = {name.removeprefix("sets.0.") for name in one if name.startswith("sets.0.")}
    assert {f"sets.1.{name}" for name in own} == two - one
    assert all(name.startswith(("trunk.", "sets.0.")) for name in one)


@every_network
def test_a_number_of_outputs_makes_no_adapters(net):
    core, adapted = (set(build(net, n_outputs).state_dict()) for n_outputs in (3, (3,)))
    assert core < adapted if net.has_adapters else core == adapted
    assert all(name.startswith("sets.0.layers.") for name in adapted - core)
    trunks = [{name for name in names if name.startswith("trunk.")} for names in (core, adapted)]
    assert trunks[0] == trunks[1]


SHARED = [net for net in NETWORKS if net.share_pooling]


@pytest.mark.parametrize("net", SHARED, ids=repr)
def test_a_shared_pooling_is_in_the_trunk(net):
    shared, own = (
        set(build(copy.deepcopy(net).set_params(share_pooling=share), (3,)).state_dict())
        for share in (True, False)
    )
    inside = {n.removeprefix("trunk.pooling.") for n in shared if n.startswith("trunk.pooling.")}
    assert inside
    assert inside == {
        n.removeprefix("sets.0.pooling.") for n in own if n.startswith("sets.0.pooling.")
    }
    assert shared - own == {f"trunk.pooling.{name}" for name in inside}


@every_network
def test_a_batch_trains_its_own_corpus_and_the_trunk(net):
    module = build(net, (3, 2))
    before = copy.deepcopy(module.sets[0].state_dict())
    output = module(features(), corpus=1)
    (logits_of(output).square().sum() + output[1]["l2_loss"]).backward()
    assert all(weight.grad is None for weight in module.sets[0].parameters())
    trained = [*module.trunk.parameters(), *module.sets[1].parameters()]
    assert all(weight.grad is not None for weight in trained)
    for name, values in module.sets[0].state_dict().items():
        assert torch.equal(values, before[name])


@every_network
def test_corpora_do_not_see_each_other(net):
    alone, together = build(net, (3,)), moved(build(net, (3, 2)))
    alone.load_state_dict({
        name: values for name, values in together.state_dict().items() if "sets.1." not in name
    })  # fmt: skip
    x = features()
    with torch.no_grad():
        assert torch.equal(alone.eval()(x), together(x))
        assert together(x, corpus=1).shape == (3, 2)
        assert torch.equal(alone(x), together(x))


@pytest.mark.parametrize("net", ANY_LENGTH, ids=repr)
@pytest.mark.parametrize("n_outputs", [3, (2, 3)])
def test_padding_stays_out_of_the_answer(net, n_outputs):
    module = moved(build(net, n_outputs))
    corpus = len(module.sets) - 1
    x, lengths = features(6), torch.tensor([60, 59, 33, 17, 2, 1])
    with torch.no_grad():
        together = module(x, lengths, corpus)
        further = module(torch.cat([x, features(6)], dim=3), lengths, corpus)
        alone = torch.cat([
            module(clip[None, ..., :n], corpus=corpus)
            for clip, n in zip(x, lengths.tolist(), strict=True)
        ])  # fmt: skip
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together, further, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("net", ANY_LENGTH, ids=repr)
def test_padding_teaches_nothing(net):
    net = copy.deepcopy(net)
    net.set_params(**{n: 0.0 for n in ("rnn_dropout",) if n in net.get_params()})
    net.set_params(**{n: (0.0, 0.0) for n in ("dropout",) if n in net.get_params()})
    x, lengths = features(4), torch.tensor([60, 59, 33, 7])
    results = []
    for given in (x, torch.cat([x, features(4)], dim=3)):
        module = build(net, (3,)).double()
        for own in module.sets:
            own.head.dropout.p = 0.0
        logits_of(module(given.double(), lengths)).square().sum().backward()
        results.append([*module.buffers(), *(weight.grad for weight in module.parameters())])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)


@every_network
def test_clips_and_their_order_do_not_matter(net):
    module = moved(build(net, (3,)))
    x = features(7)
    with torch.no_grad():
        together = module(x)
        alone = torch.cat([module(clip[None]) for clip in x])
        shuffled = module(x.flip(0)).flip(0)
    assert together.dtype == torch.float64
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together, shuffled, atol=1e-9, rtol=1e-9)


@every_network
def test_a_batch_of_one_trains(net):
    module = build(net, (3,))
    output = module(features(1))
    logits_of(output).sum().backward()
    assert torch.isfinite(logits_of(output)).all()


@every_network
def test_copies_and_pickles_answer_the_same(net):
    module = build(net, (3, 2)).eval()
    module.set_clip_counts([10, 20])
    x = features()
    with torch.no_grad():
        expected = module(x, corpus=1)
        for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
            assert torch.equal(twin(x, corpus=1), expected)


@pytest.mark.parametrize("corpus", [2, -1])
def test_an_unknown_corpus_is_refused(corpus):
    module = build(NETWORKS[0], (3, 2))
    message = f"corpus: got {corpus}, but the network has sets for 2 corpora"
    with pytest.raises(IndexError, match=message):
        module(features(), corpus=corpus)


# The penalty of weights


def sum_of_squares(weights):
    return sum(weight.detach().square().sum().item() for weight in weights)


def kernels(module):
    """Weights of convolutions and recurrent layers, and of adapters."""
    shared = [w for n, w in module.trunk.named_parameters() if w.ndim == 4 or "weight_" in n]
    own = [
        [w for n, w in own.layers.named_parameters() if "adapter" in n or ("norm" not in n)]
        for own in module.sets
    ]
    return shared, own


@every_network
def test_the_penalty_is_a_sum_of_squares(net):
    net = copy.deepcopy(net).set_params(l2=0.01)
    if net.has_adapters:
        net.set_params(adapter_l2=0.1)
    module = build(net, (3, 2))
    shared, own = kernels(module)
    for corpus in (0, 1):
        named = module(features(), corpus=corpus)[1]
        expected = 0.01 * sum_of_squares(shared) + 0.1 * sum_of_squares(own[corpus])
        assert set(named) == {"l2_loss"}
        assert named["l2_loss"].item() == pytest.approx(expected, rel=1e-5)


@every_network
def test_what_is_frozen_is_not_penalised(net):
    module = build(net, (3,))
    module.trunk.requires_grad_(False)
    _, own = kernels(module)
    expected = 1e-6 * sum_of_squares(own[0])
    assert module(features())[1]["l2_loss"].item() == pytest.approx(expected, rel=1e-5)
    module.sets[0].layers.requires_grad_(False)
    assert module(features())[1]["l2_loss"].item() == 0


def test_without_penalty_and_in_evaluation_there_are_only_logits():
    module = AdapterResNet(n_filters=2, l2=0.0, adapter_l2=0.0).build(N_BANDS, (3,))
    assert isinstance(module(features()), torch.Tensor)
    assert isinstance(build(NETWORKS[0], (3,)).eval()(features()), torch.Tensor)


@pytest.mark.parametrize(
    ("n_clips", "strength"),
    [(499, 5e-3), (500, 2e-3), (999, 2e-3), (1000, 5e-4), (9999, 5e-4), (10_000, 1e-6)],
)
def test_adapters_of_large_corpora_are_penalised_less(n_clips, strength):
    module = build(AdapterRNN(n_hidden=4, l2=0.0, adapter_l2="size"), (3, 2))
    names = set(module.state_dict())
    module.set_clip_counts([1, n_clips])
    expected = strength * sum_of_squares(kernels(module)[1][1])
    assert module(features(), corpus=1)[1]["l2_loss"].item() == pytest.approx(expected, rel=1e-5)
    assert set(module.state_dict()) == names


def test_the_rule_for_sizes_needs_sizes():
    module = build(AdapterRNN(n_hidden=4, adapter_l2="size"), (3, 2))
    with pytest.raises(ValueError, match=r"adapter_l2: got 'size'.*Call set_clip_counts"):
        module(features())
    with pytest.raises(ValueError, match="got 1 numbers of clips, but expected one for each of"):
        module.set_clip_counts([100])
    build(AdapterRNN(n_hidden=4, adapter_l2="size"), 3)(features())  # has no adapters
