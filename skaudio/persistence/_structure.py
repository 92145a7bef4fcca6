"""The structure of a saved object: a tree of nodes, and what is allowed in it.

skops writes an object as JSON. Each node says how it is rebuilt (``__loader__``) and as what
(``__module__``, ``__class__``)::

    {"__loader__": "ListNode", "__module__": "builtins", "__class__": "list", "content": [...]}

In our files the most frequent kinds are shorter: ``{"json": "0.5"}`` is a ``JsonNode``,
``{"list": [...]}``, ``{"tuple": [...]}`` and ``{"dict": [[key, node], ...]}`` (with text as keys)
are what they say, and ``{"same": 3}`` stands for the node with the number 3 that precedes it. What
skops writes cannot be taken for them: it has nodes or the names above in these places.

skops asks whether the names in a file are trusted, whatever is done with them: some of its loaders
call what a node names with values from the file, as ``ListNode`` calls ``list``. A file could so
have any trusted function called. Here each loader is allowed the few names that it is meant for,
and the size and depth of the tree are bounded, before skops sees it.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import sklearn.metrics
import sklearn.model_selection

__all__ = ["check_tree", "compact", "expand", "is_known", "names_in", "nodes_in"]

Node = dict[str, Any]

# Stands for an earlier node of the same number, so that one object is loaded as one object.
_REFERENCE = "CachedNode"

# Kinds that have a short form, with the loader that it stands for.
_SHORT = {"builtins.list": "ListNode", "builtins.tuple": "TupleNode", "builtins.dict": "DictNode"}

_KEY_TYPES = re.compile(r"builtins\.(str|int|float)|numpy\.(u?int\d+|float\d+|str_)")

# What a loader may name; "" stands for any name, which then has to be known or trusted.
_ALLOWED = {
    "JsonNode": r"builtins\.str",
    "DictNode": r"builtins\.dict|collections\.OrderedDict|sklearn\.utils\._bunch\.Bunch",
    "ListNode": r"builtins\.list",
    "SetNode": r"builtins\.set",
    "TupleNode": r"builtins\.tuple",
    "SliceNode": r"builtins\.slice",
    "BytesNode": r"builtins\.bytes",
    "BytearrayNode": r"builtins\.bytearray",
    "NdArrayNode": r"numpy\.(ndarray|bool|u?int\d+|float\d+|complex\d+|str_|bytes_)",
    "MaskedArrayNode": r"numpy\.ma(\.core)?\.MaskedArray",
    "DTypeNode": r"numpy\.dtype",
    "RandomStateNode": r"numpy\.random\.mtrand\.RandomState",
    "TreeNode": "",
    "LossNode": r"sklearn\.(_loss\._loss|linear_model\._sgd_fast)\.\w+",
    "PartialNode": r"functools\.partial",
    "ConstructorFromReduceNode": "",
    "TypeNode": "",
    "FunctionNode": "",
    "ObjectNode": "",
}

# Types of Python and numpy that any file may name.
_PLAIN_TYPES = re.compile(
    r"builtins\.(str|int|float|bool|complex|bytes|list|tuple|set|frozenset|dict|NoneType)"
    r"|numpy\.(ndarray|dtype|bool|u?int\d+|float\d+|complex\d+|str_|ma(\.core)?\.MaskedArray)"
    r"|functools\.partial|pathlib\.Path"
)

# Known types that may be called with values from a file.
_CONSTRUCTED = {"builtins.frozenset", "pathlib.Path"}

# Of scikit-learn, what is neither an estimator, which skops knows, nor public.
_SKLEARN_INTERNALS = {
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.metrics._scorer._MultimetricScorer",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.metrics._scorer._Scorer",
    "sklearn.model_selection._split._CVIterableWrapper",
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils._metadata_requests.MetadataRequest",
    "sklearn.utils._metadata_requests.MethodMetadataRequest",
}

# Their functions compute and do nothing else, so that any file may name them.
_SAFE_FUNCTIONS = {"skaudio.losses", "skaudio.metrics"}

# skops reads these parts of a node first, in this order: what they refer to has to precede it.
_READ_FIRST = {"key_types": -2, "content": -1}

# Files of honest models are not half as deep; Python's own limit is 1000 calls.
_MOST_LEVELS = 100

# skops walks through a shared node as often as it is referred to, so that thirty nodes, each two
# times the next, would take it hours.
_MOST_VISITS = 200_000


def nodes_in(tree: Any) -> Iterator[Node]:
    """Yield each node, outer ones first."""
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(value.get("__loader__"), str):
                yield value
            waiting.extend(reversed(value.values()))
        elif isinstance(value, list):
            waiting.extend(reversed(value))


def names_in(tree: Any) -> set[str]:
    """Return the names of all classes and functions that a tree would look up."""
    return {_name(node) for node in nodes_in(tree) if _ALLOWED.get(node["__loader__"]) == ""}


def compact(tree: Node, rename: dict[str, str]) -> Node:
    """Shorten a tree of skops: shared nodes are written once, with numbers that start from 1.

    skops writes a shared object in full wherever it is met, and addresses in memory as numbers,
    so that two files of one model would differ.

    Parameters
    ----------
    tree : dict
        As skops wrote it.
    rename : dict of str to str
        New names of the array files.

    See Also
    --------
    expand : The way back.
    """
    return _Shortener(tree, rename).copy(tree)


class _Shortener:
    """Copies a tree part by part, and numbers the nodes that it will meet again."""

    def __init__(self, tree: Node, rename: dict[str, str]) -> None:
        self._rename = rename
        self._times = Counter(node["__id__"] for node in nodes_in(tree) if "__id__" in node)
        self._numbers: dict[int, int] = {}

    def copy(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.copy(part) for part in value]
        if not isinstance(value, dict):
            return value
        if isinstance(value.get("__loader__"), str):
            return self._node(value)
        return {key: self.copy(part) for key, part in value.items()}

    def _node(self, node: Node) -> Node:
        known = node.get("__id__", 0)
        if node["__loader__"] == "JsonNode":
            return {"json": node["content"]}
        if known in self._numbers:
            return {"same": self._numbers[known]}
        is_shared = self._times[known] > 1
        short = _SHORT.get(_name(node))
        if short == node["__loader__"] and not is_shared and _has_text_keys(node):
            content = self.copy(node["content"])
            pairs = [[*pair] for pair in content.items()] if isinstance(content, dict) else content
            return {node["__class__"]: pairs}
        keys = sorted(node.keys() - {"__id__"}, key=lambda key: (_READ_FIRST.get(key, 0), key))
        result = {key: self.copy(node[key]) for key in keys}
        if _name(node).startswith("pathlib."):  # PosixPath, WindowsPath; elsewhere in Python 3.13
            result |= {"__module__": "pathlib", "__class__": "Path"}
        if isinstance(node.get("file"), str):
            result["file"] = self._rename[node["file"]]
        if is_shared:
            result["__id__"] = self._numbers[known] = len(self._numbers) + 1
        return result


def expand(tree: Any) -> Any:
    """Return the tree as skops reads it.

    Parameters
    ----------
    tree : dict
        As :func:`compact` returned it, or as read from a file that anyone may have written.

    Returns
    -------
    dict
    """
    if isinstance(tree, list):
        return [expand(part) for part in tree]
    if not isinstance(tree, dict):
        return tree
    if isinstance(tree.get("json"), str):
        return _named("JsonNode", "builtins", "str") | {"content": tree["json"]}
    if isinstance(tree.get("same"), int):
        return {"__loader__": _REFERENCE, "__id__": tree["same"]}
    for kind in ("list", "tuple"):
        if isinstance(tree.get(kind), list):
            return _builtin(kind, [expand(part) for part in tree[kind]])
    if isinstance(tree.get("dict"), list):
        texts = [_named("TypeNode", "builtins", "str")] * len(tree["dict"])
        content = {key: expand(part) for key, part in tree["dict"]}
        return _builtin("dict", content) | {"key_types": _builtin("list", texts)}
    return {key: expand(part) for key, part in tree.items()}


def _builtin(kind: str, content: Any) -> Node:
    return _named(f"{kind.title()}Node", "builtins", kind) | {"content": content}


def _named(loader: str, module: str, kind: str) -> Node:
    return {"__loader__": loader, "__module__": module, "__class__": kind}


def _has_text_keys(node: Node) -> bool:
    """Tell whether all keys are text, which they are in what has no keys."""
    types = node.get("key_types", {"content": []})["content"]
    return all(_name(part) == "builtins.str" for part in types)


def check_tree(tree: Any) -> None:
    """Refuse a tree that skops could not rebuild safely, whatever names are trusted.

    Parameters
    ----------
    tree : dict
        As :func:`expand` returned it.

    Raises
    ------
    ValueError
        If a node is of another kind, or names something that its kind is not for.
    """
    if not isinstance(tree, dict) or not isinstance(tree.get("__loader__"), str):
        raise ValueError("the structure does not begin with a node")
    nodes = [node for node in nodes_in(tree) if node["__loader__"] != _REFERENCE]
    for node in nodes:
        _check_node(node)
    numbered = {node["__id__"]: node for node in nodes if "__id__" in node}
    for node in nodes:
        if node["__loader__"] == "DictNode":
            _check_keys(node, numbered)
    visits: dict[int, int] = {}
    _count_visits(tree, visits, 0)
    files = Counter(node["file"] for node in nodes if "file" in node)
    if files and max(files.values()) > 1:
        raise ValueError("an array belongs to two nodes")


def _check_node(node: Node) -> None:
    loader, name = node["__loader__"], _name(node)
    pattern = _ALLOWED.get(loader)
    if pattern is None:
        raise ValueError(f"{name} is of the kind {loader}, which is not supported")
    if pattern and not re.fullmatch(pattern, name):
        raise ValueError(f"a {loader} cannot be a {name}")
    if loader == "ConstructorFromReduceNode" and name not in _CONSTRUCTED and is_known(name):
        raise ValueError(f"{name} would be called with values from the file")
    if loader == "RandomStateNode":
        # numpy does not check it, and would read beyond its 624 numbers.
        state = node["content"]["content"]["state"]["content"]
        if not 0 <= int(json.loads(state["pos"]["content"])) <= 624:
            raise ValueError("the position of a random generator is out of range")


def _check_keys(node: Node, numbered: dict[int, Node]) -> None:
    """Check that keys are text and numbers, and as many as values.

    JSON has text keys only: skops keeps the types besides, and calls them with the text. That of
    True and False would so make True of both.
    """
    types = node["key_types"]["content"]
    for part in types:
        name = _name(numbered[part["__id__"]] if part["__loader__"] == _REFERENCE else part)
        if not _KEY_TYPES.fullmatch(name):
            raise ValueError(f"a dictionary has keys of type {name}, but expected text or numbers")
    if len(types) != len(node["content"]):
        raise ValueError("two keys of a dictionary are written alike")


def _count_visits(value: Any, visits: dict[int, int], level: int) -> int:
    """Count nodes, those shared as often as referred to; refuse references to what is not there.

    `visits` has the counts of the numbered nodes passed so far. A node is entered when it is
    complete, so that a reference cannot lead to a node around itself.
    """
    if level > 4 * _MOST_LEVELS:  # content and its list or dictionary lie between two nodes
        raise ValueError("the structure is too deep")
    if isinstance(value, list):
        return sum(_count_visits(part, visits, level + 1) for part in value)
    if not isinstance(value, dict):
        return 0
    number = value.get("__id__")
    is_node = isinstance(value.get("__loader__"), str)
    if is_node and value["__loader__"] == _REFERENCE:
        if number not in visits:
            raise ValueError(f"a node refers to number {number}, which does not precede it")
        return visits[number]
    count = 1 + sum(_count_visits(part, visits, level + 1) for part in value.values())
    if count > _MOST_VISITS:
        raise ValueError(f"the structure has more than {_MOST_VISITS} nodes")
    if number is not None and not isinstance(number, dict):
        if not is_node or not isinstance(number, int) or number in visits or number < 1:
            raise ValueError(f"{number!r} is not the number of a new node")
        visits[number] = count
    return count


def is_known(name: str) -> bool:
    """Tell whether a class or function of skaudio or scikit-learn may be named by any file.

    Parameters
    ----------
    name : str
        With its module, as in ``"skaudio.features.mfcc.MFCC"``.

    Returns
    -------
    bool
        For estimators of scikit-learn False as well: these are known to skops.
    """
    if _PLAIN_TYPES.fullmatch(name) or name in _sklearn_names():
        return True
    module, _, attribute = name.rpartition(".")
    if not re.fullmatch(r"skaudio(\.\w+)*", module) or "__" in name:
        return False
    found = getattr(importlib.import_module(module), attribute, None)
    if getattr(found, "__module__", None) != module:  # imported there from elsewhere
        return False
    return inspect.isclass(found) or (module in _SAFE_FUNCTIONS and inspect.isfunction(found))


@cache
def _sklearn_names() -> frozenset[str]:
    """Return the names of what skops does not know: splitters, metrics, scorers."""
    splitters, metrics = vars(sklearn.model_selection), vars(sklearn.metrics)
    known = [
        kind for kind in splitters.values() if inspect.isclass(kind) and hasattr(kind, "split")
    ]
    known += [
        metrics[name] for name in sklearn.metrics.__all__ if inspect.isfunction(metrics[name])
    ]
    return frozenset(f"{part.__module__}.{part.__name__}" for part in known) | _SKLEARN_INTERNALS


def _name(node: Node) -> str:
    return f"{node['__module__']}.{node['__class__']}"
