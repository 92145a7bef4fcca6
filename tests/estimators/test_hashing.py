"""Equal values have equal hashes, whatever holds them; others have others."""

import copy

import numpy as np
import pytest
import torch
from skaudio.estimators._hashing import hash_by_value
from sklearn.preprocessing import FunctionTransformer
from torch import nn


class Loss(nn.Module):
    """Of its attributes, neither ``repr`` nor ``state_dict`` tells."""

    def __init__(self, gamma=1.0, alpha=0.5):
        super().__init__()
        self._gamma = gamma
        self.register_buffer("alpha", torch.tensor(alpha), persistent=False)


def ones(dtype=torch.float32, **options):
    return torch.ones(2, 3, dtype=dtype, **options)


def frozen():
    return nn.Linear(1, 1).requires_grad_(False)


def tied():
    layers = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    layers[1].weight = layers[0].weight
    return layers


VALUES = [
    ones(), ones().reshape(3, 2), ones(torch.float64), ones(torch.bfloat16), 2 * ones(),
    ones(requires_grad=True), torch.ones(()), torch.ones(0), np.ones((2, 3)), np.ones(()),
    nn.Linear(2, 2), nn.Linear(2, 2, bias=False), nn.Conv1d(2, 2, 1), nn.BatchNorm1d(3),
    nn.BatchNorm1d(3, momentum=0.5), nn.GRU(2, 2), nn.LSTM(2, 2), frozen(), tied(),
    nn.TransformerEncoderLayer(4, 2), nn.TransformerEncoderLayer(4, 2, activation="gelu"),
    nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)),
    Loss(), Loss(gamma=2.0), Loss(alpha=0.25),
    [nn.Flatten()], {"act": nn.ReLU()}, nn.Sequential(nn.ReLU(), nn.Flatten()),
    FunctionTransformer(torch.relu, kw_args={"module": nn.ReLU()}),
    FunctionTransformer(torch.relu, kw_args={"module": nn.Tanh()}),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_copies_have_one_hash(value):
    assert hash_by_value(copy.deepcopy(value)) == hash_by_value(value)


def test_others_have_other_hashes():
    assert len({hash_by_value(value) for value in VALUES}) == len(VALUES)


def test_it_does_not_matter_how_an_array_lies_in_memory(tmp_path):
    x = np.arange(12.0).reshape(3, 4)
    np.save(tmp_path / "x.npy", x)
    same = [np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]]
    same.append(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert {hash_by_value(other) for other in same} == {hash_by_value(x)}
    assert hash_by_value(torch.tensor(x).T) == hash_by_value(torch.tensor(x.T.copy()))


def test_mode_of_a_module_does_not_matter():
    module = nn.Linear(2, 2)
    assert hash_by_value(copy.deepcopy(module).eval()) == hash_by_value(module)


def test_a_module_may_refer_to_itself():
    module = nn.Flatten()
    module.parents = [module]
    assert hash_by_value(copy.deepcopy(module)) == hash_by_value(module)


def test_every_process_gives_one_hash(printed_by_two_processes):
    code = """
        import torch
        from torch import nn
        from sklearn.preprocessing import FunctionTransformer
        from skaudio.estimators._hashing import hash_by_value
        torch.manual_seed(0)
        modules = [nn.GRU(2, 2), nn.TransformerEncoderLayer(4, 2), {"a": nn.BatchNorm1d(3)}]
        nested = FunctionTransformer(torch.relu, kw_args={"modules": modules})
        print(hash_by_value([torch.ones(3), torch.float16, *modules, nested]))
    """
    first, second = printed_by_two_processes(code)
    assert first == second
    assert len(first) > 30
