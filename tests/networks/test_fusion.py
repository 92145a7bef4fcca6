import pytest
import torch

from skaudio.layers import BandNorm
from skaudio.networks import AdapterResNet, AdapterRNN, FusionNet


def vectors(module, x, lengths, corpus):
    """Return what goes into the head."""
    pooled = []
    head = module.sets[corpus].head
    hook = head.register_forward_pre_hook(lambda _, arguments: pooled.extend(arguments))
    module(x, lengths, corpus)
    hook.remove()
    return pooled[0]


def part(state, name):
    """Turn the names of one half of a FusionNet into those of the network that it is."""
    own = "resnet" if name == "body" else name
    picked = {}
    for key, values in state.items():
        key = key.replace(f"trunk.{own}.", f"trunk.{name}.")
        for place in ("layers", "pooling"):
            key = key.replace(f".{place}.{own}.", f".{place}.")
        picked[key] = values
    return picked


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "down_pool": 4}])
def test_both_networks_side_by_side(options):
    torch.manual_seed(0)
    fusion = FusionNet(n_filters=2, n_blocks=1, n_hidden=4, **options).build(20, (3, 2)).double()
    resnet = AdapterResNet(n_filters=2, n_blocks=1).build(20, (3, 2)).double()
    rnn = AdapterRNN(n_hidden=4, **{"down_pool": 1, **options}, self_attention=True)
    rnn = rnn.build(20, (3, 2)).double()
    x, lengths = 3 * torch.randn(4, 1, 20, 37).double() + 1, torch.tensor([37, 30, 9, 1])
    for corpus in (0, 1):
        fusion(x, lengths, corpus)  # moves the norms
    fusion.eval()
    # The heads have other sizes, and the residual network shares the norm of the bands.
    state = {k: v for k, v in fusion.state_dict().items() if ".head." not in k}
    for module, name in ((resnet, "body"), (rnn, "recurrent")):
        report = module.eval().load_state_dict(part(state, name), strict=False)
        assert all(".head." in key for key in report.missing_keys)
    for corpus in (0, 1):
        norm = fusion.sets[corpus].input_norm
        assert isinstance(norm, BandNorm)
        halves = [vectors(resnet, norm(x), lengths, corpus), vectors(rnn, x, lengths, corpus)]
        torch.testing.assert_close(vectors(fusion, x, lengths, corpus), torch.cat(halves, dim=1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widen_factor": 0}, "The 'widen_factor' parameter of FusionNet must be"),
        ({"dropout": (0.0, 1.5)}, r"dropout: got \(0\.0, 1\.5\), but expected two numbers in"),
        ({"n_hidden": 0}, "The 'n_hidden' parameter of FusionNet must be"),
        ({"rnn_dropout": -0.1}, "The 'rnn_dropout' parameter of FusionNet must be"),
    ],
)
def test_bad_hyperparameters_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        FusionNet(**arguments).build(40, 10)
