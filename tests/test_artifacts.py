"""Equal values have equal hashes, other values other ones; what is written is read, or refused."""

import copy
import enum
import functools
import io
import os
import subprocess
import sys
import textwrap
from collections import OrderedDict, namedtuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch import nn

from skaudio._artifacts import (
    CHECKSUM_BYTES,
    fits_checksum,
    hash_value,
    identify_file,
    read_checked,
    remove_stale,
    write_checked,
)
from skaudio.exceptions import DamagedFileError
from skaudio.features import LogMelSpectrogram

Pair = namedtuple("Pair", "a b")


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Loss(nn.Module):
    """Of its attributes, neither ``repr`` nor ``state_dict`` tells."""

    def __init__(self, gamma=1.0, alpha=0.5):
        super().__init__()
        self._gamma = gamma
        self.register_buffer("alpha", torch.tensor(alpha), persistent=False)


class Settings:
    """An object without ``get_params``."""

    def __init__(self, **settings):
        self.__dict__.update(settings)


def ones(dtype=torch.float32, **options):
    return torch.ones(2, 3, dtype=dtype, **options)


def not_learning():
    return nn.Linear(1, 1).requires_grad_(False)


def tied(is_tied=True):
    layers = nn.ModuleList([nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)])
    for layer in layers:
        nn.init.ones_(layer.weight)
    if is_tied:
        layers[1].weight = layers[0].weight
    return layers


def fitted_scaler(mean):
    return StandardScaler().fit([[mean - 1.0], [mean + 1.0]])


VALUES = [
    None, "None", True, 1, 1.0, 1 + 0j, "1", b"1", "", 0.0, -0.0, np.nan, np.float32(0.1), 0.1,
    (1, 2), (12,), [1, 2], {1, 2}, ("a", "b"), ("a, b",), (), [], {}, [[]], ((1,), 2), ((1, 2),),
    {"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": 1, 1: "a"}, OrderedDict(a=1, b=2),
    OrderedDict(b=2, a=1), Pair(1, 2), Color.RED, Color.BLUE, slice(1, 2), range(3),
    Path("a"), "a", Path("b"), np.max, np.min, np.log, np.exp, np.ndarray, StandardScaler, len,
    "abc".upper, "abd".upper, functools.partial(np.max, axis=0), functools.partial(np.max, axis=1),
    np.array([1.0, 2.0]), np.array([1.0, 3.0]), np.array([1.0, 2.0], np.float32),
    np.zeros((2, 3)), np.zeros((3, 2)), np.zeros(0), np.zeros((0, 3)), np.zeros(()),
    np.array(["2020", "2021"], "datetime64[D]"), np.array([(1, 2)], [("a", "i4"), ("b", "i4")]),
    np.array([(1, 2)], [("a", "i4"), ("c", "i4")]), np.array(["a", None, 1], dtype=object),
    np.array(["a", None, 2], dtype=object), np.dtype("f4"), np.dtype("f8"),
    np.random.RandomState(0), np.random.RandomState(1), np.random.default_rng(0),
    pd.Series([1, 2]), pd.Series([1, 2], index=[1, 2]), pd.Series([1, 2], name="a"),
    pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [1, 2], "b": [1, 2]}),
    LogMelSpectrogram(), LogMelSpectrogram(n_mels=3), make_pipeline(LogMelSpectrogram()),
    FrozenEstimator(fitted_scaler(0.0)), FrozenEstimator(fitted_scaler(1.0)), StandardScaler(),
    FrozenEstimator(make_pipeline(fitted_scaler(0.0))),
    FrozenEstimator(make_pipeline(fitted_scaler(1.0))),
    Settings(), Settings(a=1), Settings(a=2), Settings(a=Settings(a=1)),
    ones(), ones().reshape(3, 2), ones(torch.float64), ones(torch.bfloat16), 2 * ones(),
    ones(requires_grad=True), torch.ones(()), torch.ones(0), np.ones((2, 3)), np.ones(()),
    torch.float16, torch.relu, torch.tanh,
    nn.Linear(2, 2), nn.Linear(2, 2, bias=False), nn.Conv1d(2, 2, 1), nn.BatchNorm1d(3),
    nn.BatchNorm1d(3, momentum=0.5), nn.GRU(2, 2), nn.LSTM(2, 2), not_learning(), tied(),
    tied(is_tied=False),
    nn.TransformerEncoderLayer(4, 2), nn.TransformerEncoderLayer(4, 2, activation="gelu"),
    nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)),
    Loss(), Loss(gamma=2.0), Loss(alpha=0.25),
    [nn.Flatten()], {"act": nn.ReLU()}, nn.Sequential(nn.ReLU(), nn.Flatten()),
    nn.Sequential(OrderedDict(a=nn.ReLU(), b=nn.Flatten())),
    nn.Sequential(OrderedDict(b=nn.Flatten(), a=nn.ReLU())),
    FunctionTransformer(torch.relu, kw_args={"module": nn.ReLU()}),
    FunctionTransformer(torch.relu, kw_args={"module": nn.Tanh()}),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_copies_have_one_hash(value):
    assert hash_value(copy.deepcopy(value)) == hash_value(value)


def test_others_have_other_hashes():
    assert len({hash_value(value) for value in VALUES}) == len(VALUES)


def test_functions_of_one_name_in_two_modules_have_two_hashes():
    assert hash_value(np.trace) != hash_value(np.linalg.trace)
    assert hash_value(torch.channels_last) != hash_value(torch.preserve_format)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.float64(0.5), 0.5),
        (np.str_("a"), "a"),
        (np.array([1, 2]), np.array([[1, 2]]).repeat(2, 0)[0]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"x", "y", "z"}, {"z", "y", "x"}),
        ({"x", 1, (2,)}, {(2,), 1, "x"}),
        ([[1.0]] * 2, [[1.0], [1.0]]),
        (pd.DataFrame({"a": [1.0], "b": [2.0]}), pd.DataFrame([[1.0, 2.0]], columns=["a", "b"])),
        (FrozenEstimator(fitted_scaler(0.0)), FrozenEstimator(fitted_scaler(0.0))),
        (fitted_scaler(0.0), StandardScaler()),
    ],
    ids=str,
)
def test_equal_values_have_one_hash(first, second):
    assert hash_value(first) == hash_value(second)


def test_it_does_not_matter_how_an_array_lies_in_memory(tmp_path):
    x = np.arange(12.0).reshape(3, 4)
    np.save(tmp_path / "x.npy", x)
    same = [np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]]
    same.append(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert {hash_value(other) for other in same} == {hash_value(x)}
    assert hash_value(torch.tensor(x).T) == hash_value(torch.tensor(x.T.copy()))


@pytest.mark.parametrize(
    "parameters", [{"n_jobs": 2}, {"verbose": 1}, {"callbacks": [lambda: 0]}, {"memory": "cache"}]
)
def test_parameters_that_cannot_change_a_result_do_not_count(parameters):
    class Step(LogMelSpectrogram):
        def __init__(self, n_jobs=None, verbose=0, callbacks=None, memory=None):
            self.n_jobs, self.verbose = n_jobs, verbose
            self.callbacks, self.memory = callbacks, memory

    assert hash_value(Step(**parameters)) == hash_value(Step())


def test_a_clone_has_the_hash_of_its_original():
    pipeline = make_pipeline(LogMelSpectrogram(n_mels=3), fitted_scaler(2.0))
    assert hash_value(clone(pipeline)) == hash_value(pipeline)


def test_mode_of_a_module_does_not_matter():
    module = nn.Linear(2, 2)
    assert hash_value(copy.deepcopy(module).eval()) == hash_value(module)


def test_values_may_refer_to_themselves():
    module, cyclic, other = nn.Flatten(), [1], [2]
    module.parents = [module]
    cyclic.append(cyclic)
    other.append(other)
    assert hash_value(copy.deepcopy(module)) == hash_value(module)
    assert hash_value(copy.deepcopy(cyclic)) == hash_value(cyclic) != hash_value(other)


def test_every_process_gives_one_hash():
    code = """
        import scipy.special, torch, numpy as np
        from torch import nn
        from sklearn.preprocessing import FunctionTransformer
        from skaudio._artifacts import hash_value
        torch.manual_seed(0)
        modules = [nn.GRU(2, 2), nn.TransformerEncoderLayer(4, 2), {"a": nn.BatchNorm1d(3)}]
        nested = FunctionTransformer(torch.relu, kw_args={"modules": modules})
        mixed = [{"x", 1, None, ("y",)}, {"a": 1, 1: "a", None: 2}, np.array(["a", 1], object)]
        named = [np.max, np.add, scipy.special.expit, torch.channels_last, torch.float16]
        print(hash_value([torch.ones(3), *modules, nested, mixed, *named, "abc"]))
    """
    printed = {
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in "12"
    }  # fmt: skip
    assert len(printed) == 1
    assert len(printed.pop().strip()) == 32


def test_torch_is_not_needed():
    code = "import sys, skaudio._artifacts as a; a.hash_value([1]); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def make_closure(n):
    @functools.wraps(ones)
    def wrapper():
        return n

    return wrapper


def local_function():
    def inner():
        pass

    return inner


def generator():
    yield 1


@functools.cache
def decorated():
    pass


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (lambda X: X, "<function <lambda>"),
        (local_function(), "<function local_function.<locals>.inner"),
        (make_closure(1), "<function ones"),
        (object(), "<object object"),
        (np.frompyfunc(lambda v: v + 1, 1, 1), "<ufunc"),
        (generator(), "<generator object"),
        (functools.partial(lambda X: X), "<function <lambda>"),
        (sys, "<module 'sys'"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize(
    ("wrap", "path"),
    [
        (lambda value: value, "steps"),
        (lambda value: [value], "steps"),
        (lambda value: {"window": value}, r"steps\.window"),
        (lambda value: LogMelSpectrogram(window=value), r"steps\.window"),
        (lambda value: Settings(window=[value]), r"steps\.window"),
        (lambda value: FunctionTransformer(np.max, kw_args={"a": value}), r"steps\.kw_args\.a"),
    ],
)
def test_what_cannot_be_known_again_is_named(value, found, wrap, path):
    with pytest.raises(ValueError, match=f"^{path} is {found}.* at the top level of a module"):
        hash_value(wrap(value), "steps")


def test_a_decorated_function_of_a_module_has_a_name():
    assert hash_value(decorated) == hash_value(copy.deepcopy(decorated))


# Files


def test_identify_file(tmp_path, monkeypatch):
    path = tmp_path / "take.wav"
    assert identify_file(path) is None
    assert identify_file("a\0b") is None
    path.write_bytes(b"abc")
    (tmp_path / "link").symlink_to(path)
    monkeypatch.chdir(tmp_path)
    first = identify_file(path)
    assert first == (os.path.realpath(path), 3, path.stat().st_mtime_ns)
    assert {identify_file(str(path)), identify_file("take.wav"), identify_file("link")} == {first}
    os.utime(path, ns=(1, 1))
    assert identify_file(path) != first


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("data", [b"", b"\0", b"some data" * 1000])
def test_what_is_written_is_read(tmp_path, data, durable):
    path = tmp_path / "new" / "folder" / "result.bin"
    write_checked(path, b"old")
    write_checked(path, data, durable=durable)
    assert read_checked(path) == data
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[:20],
        lambda content: content[1:],
        lambda content: b"",
        lambda content: bytes(len(content)),
        lambda content: content + b"\0",
        lambda content: bytes([content[0] ^ 1]) + content[1:],
        lambda content: content[:-1] + bytes([content[-1] ^ 128]),
    ],
)
def test_damage_is_noticed(tmp_path, damage):
    path = tmp_path / "result.bin"
    write_checked(path, b"some data" * 10)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DamagedFileError, match=r"result\.bin: damaged, .* checksum.*Delete"):
        read_checked(path)


def test_a_missing_file_is_told_from_a_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_checked(tmp_path / "result.bin")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, error):
    path = tmp_path / "result.bin"
    write_checked(path, b"old")

    def fail(*args):
        raise error

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(type(error)) as caught:
        write_checked(path, b"new")
    if isinstance(error, OSError):
        assert str(caught.value) == (
            "[Errno 28] No space left on device. Make space there or choose another folder: "
            f"{str(path)!r}"
        )
    assert list(tmp_path.iterdir()) == [path]
    assert read_checked(path) == b"old"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk(tmp_path, monkeypatch):
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda self, mode: real(Path("/dev/full"), "wb"))
    with pytest.raises(OSError, match=r"No space left on device\. Make space.*result\.bin"):
        write_checked(tmp_path / "result.bin", b"new" * 10000)


def test_old_temporaries_go(tmp_path):
    names = ["old.bin.0123.tmp", "fresh.bin.0123.tmp", "result.bin", "folder"]
    old, fresh, result, folder = (tmp_path / name for name in names)
    for path in (old, fresh, result):
        path.write_bytes(b"half a res")
    folder.mkdir()
    for path in (old, result):
        os.utime(path, (0, 0))
    remove_stale(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([fresh, result, folder])
    remove_stale(tmp_path / "missing")


@pytest.mark.parametrize("n_bytes", [0, 1, 2**20 - 1, 2**20, 2**21 + 5])
def test_checksum_of_an_open_file(tmp_path, n_bytes):
    path = tmp_path / "x"
    write_checked(path, memoryview(bytes(n_bytes)))
    assert path.stat().st_size == n_bytes + CHECKSUM_BYTES
    content = bytearray(path.read_bytes())
    assert fits_checksum(io.BytesIO(content))
    assert not fits_checksum(io.BytesIO(content[:-1]))
    content[n_bytes // 2] ^= 1
    assert not fits_checksum(io.BytesIO(content))


def test_a_file_shorter_than_a_checksum_has_none():
    assert not fits_checksum(io.BytesIO(b"short"))
