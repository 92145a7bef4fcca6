"""Files that were damaged at random, and files made by someone who means harm."""

import contextlib
import io
import json
import pickle
import random
import time
import tracemalloc
import zipfile

import joblib
import numpy as np
import pytest
import safetensors.torch
import torch

import skaudio
from skaudio import AudioClassifier, LogMelSpectrogram
from skaudio._artifacts import CHECKSUM_BYTES, write_checked
from skaudio.exceptions import DamagedFileError, FileVersionError, UntrustedFileError
from skaudio.networks import MTSNet
from skaudio.persistence._archive import write_archive
from skaudio.persistence._structure import expand, nodes_in

CLEAN = (DamagedFileError, FileVersionError, UntrustedFileError)


@pytest.fixture(scope="module")
def model(clips):
    return AudioClassifier(
        MTSNet(n_filters=(2,), n_hidden=4), max_epochs=1, device="cpu",
        frontend=LogMelSpectrogram(sample_rate=8000, n_fft=64, n_mels=4),
        random_state=np.random.RandomState(0),
    ).fit(*clips)  # fmt: skip


@pytest.fixture(scope="module")
def honest(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "m.skaudio"
    skaudio.save(model, path)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.skaudio"


# --------------------------------------------------------------------------------- random damage


def test_cut_at_every_length(honest, path):
    data = honest.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(DamagedFileError, match=r"m\.skaudio: "):
            skaudio.load(path)


def check_random_changes(honest, path, n_changes):
    data = honest.read_bytes()
    draw = random.Random(0)
    for _ in range(n_changes):
        changed = bytearray(data)
        for _ in range(draw.randint(1, 8)):
            changed[draw.randrange(len(data))] ^= draw.randint(1, 255)
        if changed != data:
            path.write_bytes(changed)
            with pytest.raises(DamagedFileError, match=r"m\.skaudio: "):
                skaudio.load(path)


def test_random_changes(honest, path):
    check_random_changes(honest, path, 300)


@pytest.mark.slow
def test_many_random_changes(honest, path):
    check_random_changes(honest, path, 10_000)


def test_the_card_of_a_damaged_file_is_whole_or_refused(honest, path):
    data, card = honest.read_bytes(), skaudio.describe(honest)
    draw = random.Random(1)
    for _ in range(300):
        changed = bytearray(data)
        for _ in range(draw.randint(1, 8)):
            changed[draw.randrange(len(data))] ^= draw.randint(1, 255)
        path.write_bytes(changed)
        with contextlib.suppress(*CLEAN):
            assert skaudio.describe(path) == card


# ----------------------------------------------------------------------------- files of all kinds


def test_pickles_are_never_loaded(path):
    for dump in (lambda: joblib.dump({"a": 1}, path), lambda: path.write_bytes(pickle.dumps(1))):
        dump()
        with pytest.raises(DamagedFileError, match=r"is no zip file.*joblib\.load"):
            skaudio.load(path)
        with pytest.raises(DamagedFileError):
            skaudio.describe(path)


def seal(path, buffer):
    """Write a zip file as an attacker would: with the checksum that belongs to it."""
    write_checked(path, buffer.getvalue()[:-CHECKSUM_BYTES])


def zipped(members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.comment = bytes(CHECKSUM_BYTES)
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer


def members_of(honest):
    with zipfile.ZipFile(honest) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ({}, "has the members"),
        ({"card.json": b"{}"}, "has the members"),
        ({"card.json": b"[]", "structure.json": b"{}"}, "expected an object"),
        ({"card.json": b"{", "structure.json": b"{}"}, "JSONDecodeError"),
        ({"model.pkl": b""}, "does not write"),
        ({"../0.npy": b""}, "does not write"),
        ({"/0.npy": b""}, "does not write"),
        ({"0.npy/../../x": b""}, "does not write"),
    ],
)
def test_foreign_zip_files(members, fault, honest, path):
    seal(path, zipped(members))
    with pytest.raises(DamagedFileError, match=fault):
        skaudio.load(path)


def peak_of_loading(path):
    tracemalloc.start()
    try:
        with pytest.raises(DamagedFileError) as caught:
            skaudio.load(path)
        return tracemalloc.get_traced_memory()[1], str(caught.value)
    finally:
        tracemalloc.stop()


def test_bombs_are_not_unpacked(honest, path):
    bomb = {"0.npy": bytes(100 * 2**20)}
    for members in (
        members_of(honest) | bomb,
        members_of(honest) | {"structure.json": b" " * 10**8},
    ):
        seal(path, zipped(members, zipfile.ZIP_DEFLATED))
        peak, message = peak_of_loading(path)
        assert "compressed" in message
        assert peak < 20 * 2**20


def test_members_that_share_bytes_are_refused(honest, path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.comment = bytes(CHECKSUM_BYTES)
        for name, data in members_of(honest).items():
            archive.writestr(name, data)
        archive.writestr("7.npy", bytes(10**6))
        for i in range(10, 60):  # fifty names for one megabyte
            twin = zipfile.ZipInfo(f"{i}.npy")
            last = archive.filelist[-1 if i == 10 else -(i - 9)]
            twin.header_offset, twin.CRC = last.header_offset, last.CRC
            twin.file_size = twin.compress_size = 10**6
            archive.filelist.append(twin)
            archive.NameToInfo[twin.filename] = twin
        archive._didModify = True
    seal(path, buffer)
    peak, message = peak_of_loading(path)
    assert "claim more bytes" in message
    assert peak < 20 * 2**20


# ------------------------------------------------- a right checksum around something that is wrong


def with_members(honest, path, **changes):
    members = members_of(honest)
    for name, change in changes.items():
        (member,) = [m for m in members if m.startswith(name)]
        members[member] = change(members[member])
    write_archive(path, members)


def long_form(data):
    """Return a structure of which no two parts are one object."""
    return json.loads(json.dumps(expand(json.loads(data))))


def edited(honest, path, edit):
    """Write a copy in which a function has changed the structure."""

    def change(data):
        tree = long_form(data)
        edit(tree)
        return json.dumps(tree).encode()

    with_members(honest, path, structure=change)


def attributes(tree, kind):
    """Return the attributes of the first object of a class, as nodes by name."""
    node = next(node for node in nodes_in(tree) if node.get("__class__") == kind)
    return node["content"]["content"]


def named(loader, name, **parts):
    module, _, kind = name.rpartition(".")
    return {"__loader__": loader, "__module__": module, "__class__": kind, **parts}


ARGUMENTS = named("TupleNode", "builtins.tuple", content=[{"json": '"touch /tmp/x"'}])
LIST = named("ListNode", "builtins.list", content=[])
ARRAY = named("NdArrayNode", "numpy.ndarray", type="numpy")
HOSTILE = {
    "function": (named("FunctionNode", "posix.system"), r"names posix\.system"),
    "type": (named("TypeNode", "builtins.eval"), r"names builtins\.eval"),
    "other function of skaudio": (
        named("FunctionNode", "skaudio.persistence.files.save"), r"names skaudio\.persistence"),
    "module run as a script": (named("ObjectNode", "skaudio.__main__.main"), "names skaudio"),
    "partial": (
        named("PartialNode", "functools.partial", content={
            "func": named("FunctionNode", "os.system"), "args": ARGUMENTS,
            "kwds": named("DictNode", "builtins.dict", content={}, key_types=LIST),
            "namespace": {"json": "null"}}), r"names os\.system"),
    "constructor": (
        named("ConstructorFromReduceNode", "skaudio.features.mfcc.MFCC", content=ARGUMENTS),
        "would be called with values"),
    "other constructor": (
        named("ConstructorFromReduceNode", "subprocess.Popen", content=ARGUMENTS), "names subproc"),
    "unknown loss": (
        named("LossNode", "sklearn._loss._loss.x", content=LIST, __reduce__={"args": ARGUMENTS}),
        "names sklearn._loss"),
    "called as a list": (
        named("ListNode", "skaudio.losses.make_loss", content=[]), "a ListNode cannot be"),
    "called as a dictionary": (
        named("DictNode", "posix.getcwd", content={}, key_types=LIST), "a DictNode cannot be"),
    "called as a number": (named("NdArrayNode", "os.system", type="numpy"), "cannot be a os"),
    "called as a loss": (
        named("LossNode", "os.system", content=LIST, __reduce__={"args": ARGUMENTS}), "cannot be"),
    "called as a key": (
        named("DictNode", "builtins.dict", content={"x": {"json": "1"}}, key_types=named(
            "ListNode", "builtins.list", content=[named("TypeNode", "builtins.exec")])),
        "keys of type builtins.exec"),
    "method": (
        named("MethodNode", "os.x", content={"func": "system", "obj": LIST}), "not supported"),
    "attribute": (named("OperatorFuncNode", "operator.attrgetter", attrs=ARGUMENTS), "supported"),
    "old loader": (named("NoSuchNode", "os.system"), "not supported"),
    "sparse": (named("SparseMatrixNode", "scipy.sparse.x", file="0.npy"), "not supported"),
    "itself": (named("ListNode", "builtins.list", __id__=99, content=[{"same": 99}]), "precede"),
    "nothing": ({"same": 98}, "precede"),
    "number twice": (named("ListNode", "builtins.list", __id__=1, content=[]), "new node"),
    "hidden number": ({"__id__": 1}, "not the number"),
    "no number": (named("ListNode", "builtins.list", __id__="1", content=[]), "not the number"),
    "no such array": (ARRAY | {"file": "9.npy"}, "KeyError"),
    "no array": (ARRAY | {"file": "card.json"}, "KeyError"),
    "array twice": (ARRAY | {"file": "0.npy"}, "two nodes"),
    "pairs of three": ({"dict": [["a", {"json": "1"}, 2]]}, "too many values"),
    "key twice": ({"dict": [["a", {"json": "1"}], ["a", {"json": "1"}]]}, "written alike"),
    "no node": (3, "TypeError|AttributeError"),
    "no name": ({"__loader__": "ListNode"}, "KeyError"),
    "bad value": ({"json": "{"}, "JSONDecodeError"),
    "deep value": ({"json": "[" * 10**5}, "RecursionError"),
    "long number": ({"json": "1" * 10**5}, "ValueError"),
}  # fmt: skip


@pytest.mark.parametrize(("node", "fault"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_nodes(node, fault, honest, path):
    edited(honest, path, lambda tree: attributes(tree, "AudioClassifier").update(verbose=node))
    with pytest.raises(CLEAN, match=fault):
        skaudio.load(path)


def set_plain(kind, name, value):
    return lambda tree: attributes(tree, kind).update({name: {"json": json.dumps(value)}})


WRONG = {
    "huge network": (set_plain("Architecture", "n_bands", 10**9), "weights"),
    "huge filter bank": (
        lambda tree: [
            node["content"]["content"].update(n_fft={"json": "268435456"})
            for node in nodes_in(tree)
            if node.get("__class__") == "LogMelSpectrogram"
        ],
        "536870916 filter values",
    ),
    "huge rate": (
        lambda tree: [
            node["content"]["content"].update(n_fft={"json": "null"}, sample_rate={"json": "1e12"})
            for node in nodes_in(tree)
            if node.get("__class__") == "LogMelSpectrogram"
        ],
        "filter values",
    ),
    "many outputs": (set_plain("Architecture", "n_outputs", 4), r"has \(4,\) outputs, but"),
    "size as text": (set_plain("Architecture", "n_bands", "4"), "expected integers"),
    "no network": (set_plain("Architecture", "network", 5), "TypeError|not callable"),
    "no architecture": (set_plain("AudioNet", "architecture", None), "object of Architecture"),
    "no outputs": (set_plain("Architecture", "n_outputs", None), "but the targets need"),
    "no settings": (set_plain("AudioNet", "settings", "x"), "AttributeError"),
    "no device": (set_plain("AudioNet", "device", 1), "AttributeError"),
    "unknown device": (set_plain("AudioNet", "device", "tpu9"), "tpu9"),
    "no seed": (set_plain("AudioNet", "seed", "x"), "object of int"),
    "no history": (set_plain("AudioNet", "history", [1]), "object of dict"),
    "unknown tensors": (set_plain("AudioNet", "tensors", 7), "weights"),
    "more parts": (set_plain("AudioNet", "x", 7), "written alike"),
    "unknown loss": (set_plain("StepSettings", "loss", "x"), "KeyError"),
}


@pytest.mark.parametrize(("edit", "fault"), WRONG.values(), ids=WRONG)
def test_wrong_values(edit, fault, honest, path):
    edited(honest, path, edit)
    with pytest.raises(DamagedFileError, match=fault):
        skaudio.load(path)


def test_position_of_a_generator_is_checked(honest, path):
    def edit(tree):
        generator = next(n for n in nodes_in(tree) if n["__loader__"] == "RandomStateNode")
        generator["content"]["content"]["state"]["content"]["pos"] = {"json": "100000"}

    edited(honest, path, edit)
    with pytest.raises(DamagedFileError, match="position of a random generator"):
        skaudio.load(path)


def test_nodes_that_multiply_are_refused_in_time(honest, path):
    def edit(tree):
        levels = [named("ListNode", "builtins.list", __id__=1000, content=[])]
        for i in range(1001, 1060):
            twice = [{"same": i - 1}, {"same": i - 1}]
            levels.append(named("ListNode", "builtins.list", __id__=i, content=twice))
        bomb = named("ListNode", "builtins.list", content=levels)
        attributes(tree, "AudioClassifier")["verbose"] = bomb

    edited(honest, path, edit)
    start = time.perf_counter()
    with pytest.raises(DamagedFileError, match="more than 200000 nodes"):
        skaudio.load(path)
    assert time.perf_counter() - start < 5


SHORT = b'{"list":['
LONG = b'{"__loader__":"ListNode","__module__":"builtins","__class__":"list","content":['


@pytest.mark.parametrize("opening", [SHORT, LONG])
@pytest.mark.parametrize("n_levels", [300, 900, 50_000])
def test_deep_structures_are_refused(n_levels, opening, honest, path):
    def nest(data):
        return opening * n_levels + b"]}" * n_levels

    with_members(honest, path, structure=nest)
    with pytest.raises(DamagedFileError, match="too deep|RecursionError"):
        skaudio.load(path)


def weights(change):
    def changed(data):
        tensors = safetensors.torch.load(data)
        return safetensors.torch.save(change(tensors))

    return changed


def first(tensors):
    return next(name for name, tensor in tensors.items() if tensor.ndim == 4)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (weights(lambda t: t | {first(t): t[first(t)][:1]}), "but the network has"),
        (weights(lambda t: t | {first(t): t[first(t)].double()}), "float64"),
        (weights(lambda t: t | {first(t): t[first(t)].flatten()}), "but the network has"),
        (weights(lambda t: {n: p for n, p in t.items() if n != first(t)}), "are None, but"),
        (weights(lambda t: t | {"0.module.x": torch.zeros(1)}), "the network has None"),
        (weights(lambda t: t | {"0.criterion.x": torch.zeros(1)}), "Unexpected key"),
        (lambda data: b"", "Safetensor"),
        (lambda data: data[:-1], "Safetensor"),
        (lambda data: b"\xff" * 8 + data[8:], "Safetensor"),
    ],
)
def test_weights_that_do_not_fit(change, fault, honest, path):
    with_members(honest, path, weights=change)
    with pytest.raises(DamagedFileError, match=fault):
        skaudio.load(path)


def lying_array(shape, descr="<f8"):
    buffer = io.BytesIO()
    header = {"shape": shape, "fortran_order": False, "descr": descr}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + bytes(8)


LYING = [lying_array((10**12,)), lying_array((-1,)), lying_array((1,), "|O")]


@pytest.mark.parametrize("array", [*LYING, b"", b"PK\x03\x04", b"x" * 99])
def test_arrays_that_lie_about_themselves(array, honest, path):
    with_members(honest, path, **{"0.npy": lambda data: array})
    with pytest.raises(DamagedFileError):
        skaudio.load(path)


def check_random_structures(honest, path, n_changes):
    """Put random parts of the structure in the place of others."""
    draw = random.Random(2)
    text = json.dumps(long_form(members_of(honest)["structure.json"]))
    outcomes = set()
    for _ in range(n_changes):
        tree = json.loads(text)
        nodes = list(nodes_in(tree))
        target, source = draw.choice(nodes), json.loads(json.dumps(draw.choice(nodes)))
        keys = [key for key in target if key in source] or ["content"]
        change = draw.choice(keys)
        target[change] = draw.choice(
            [source.get(change), draw.choice([None, [], {}, "x", -1, 2.5])]
        )
        with_members(honest, path, structure=lambda _, tree=tree: json.dumps(tree).encode())
        try:
            outcomes.add(type(skaudio.load(path)))
        except CLEAN as error:
            outcomes.add(type(error))
    assert DamagedFileError in outcomes


def test_random_structures(honest, path):
    check_random_structures(honest, path, 100)


@pytest.mark.slow
def test_many_random_structures(honest, path):
    check_random_structures(honest, path, 3000)
