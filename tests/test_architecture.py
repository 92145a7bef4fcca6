"""The package's structure: who may import whom, where libraries are used, what docstrings hold.

A room is a direct child of ``skaudio/``, a folder or a file.
"""

import ast
import inspect
import pkgutil
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import skaudio

ROOT = Path(skaudio.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

RUNG = {
    "exceptions": 0, "_artifacts": 1, "_validation": 2,
    "metrics": 3, "audio": 3, "layers": 3, "losses": 3, "persistence": 3,
    "datasets": 4, "features": 4, "augmentation": 4, "networks": 4, "callbacks": 4,
    "estimators": 5,
    "pipelines": 6, "plots": 6,
    "cli": 7,
}  # fmt: skip

PUBLIC = [name for name in RUNG if name != "exceptions" and not name.startswith("_")]

# Private to the package, not to one room.
OPEN_TO_ALL = {"_artifacts", "_validation"}

# Which rooms a library may be used in.
HOMES = {
    "click": {"cli"},
    "soundfile": {"audio"},
    "soxr": {"audio"},
    "librosa": {"audio", "features"},
    "skorch": {"callbacks", "estimators"},
    "skops": {"persistence"},
    "safetensors": {"persistence"},
    "torch": {
        "layers", "losses", "networks", "callbacks", "augmentation", "estimators", "pipelines",
        "plots",
    },
}  # fmt: skip


def room(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0]


def module_name(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree):
    """Names of imported modules, with the names taken from them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ()
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module, tuple(alias.name for alias in node.names)


def top_level_imports(tree):
    return imports(ast.Module([n for n in tree.body if not _guarded(n)], []))


def _guarded(node):
    return isinstance(node, (ast.If, ast.FunctionDef, ast.ClassDef))


INSIDE = [path for path in FILES if path not in {ROOT / "__init__.py", ROOT / "__main__.py"}]


@pytest.mark.parametrize("path", INSIDE, ids=module_name)
def test_imports_go_down_the_rungs(path):
    own = room(path)
    for name, taken in imports(ast.parse(path.read_text())):
        if name.split(".")[0] != "skaudio":
            continue
        assert name != "skaudio" or not taken, "nobody imports the root package"
        other = name.split(".")[1]
        assert other == own or RUNG[other] < RUNG[own], f"{module_name(path)} imports {name}"


@pytest.mark.parametrize("path", INSIDE, ids=module_name)
def test_libraries_stay_in_their_rooms(path):
    tree = ast.parse(path.read_text())
    for name, _ in imports(tree):
        library = name.split(".")[0]
        assert room(path) in HOMES.get(library, {room(path)}), f"{name} in {module_name(path)}"
        if "._" in name:
            assert name.startswith("skaudio.") or room(path) == "_validation", f"private {name}"
    for name, _ in top_level_imports(tree):
        assert name.split(".")[0] not in {"matplotlib", "librosa"}, f"{name} is imported lazily"


def test_the_readme_draws_every_room_below_those_it_imports():
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    picture = readme.split("## How the package is built\n")[1].split("```")[1]
    drawn = re.findall(r"^\w+", picture, re.MULTILINE)
    assert sorted(drawn) == sorted(PUBLIC)
    for path in INSIDE:
        for name, _ in imports(ast.parse(path.read_text())):
            package, *parts = name.split(".")
            if package == "skaudio" and parts[0] in drawn:
                above = drawn[: drawn.index(room(path)) + 1]
                assert parts[0] in above, f"{module_name(path)} imports {name}"


def test_what_has_an_underscore_stays_in_its_room():
    taken_elsewhere = []
    for path in INSIDE:
        for name, taken in imports(ast.parse(path.read_text())):
            package, *parts = name.split(".")
            if package != "skaudio" or not parts or parts[0] == room(path):
                continue
            if parts[0] in OPEN_TO_ALL:
                parts = parts[1:]
            if any(part.startswith("_") for part in (*parts, *taken)):
                taken_elsewhere.append(f"{module_name(path)} imports from {name}: {taken}")
    assert taken_elsewhere == []


def test_no_cycles_between_modules():
    graph = {}
    names = {module_name(path) for path in FILES}
    for path in FILES:
        needed = graph.setdefault(module_name(path), set())
        for name, taken in top_level_imports(ast.parse(path.read_text())):
            full = {f"{name}.{part}" for part in taken} & names
            needed |= full or ({name} & names)
    list(TopologicalSorter(graph).static_order())


def test_no_drawer_for_leftovers():
    assert not [path for path in FILES if path.stem in {"utils", "util", "helpers", "common"}]


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import skaudio", {"torch", "librosa", "sklearn", "numpy"}),
        ("import skaudio.features", {"torch", "librosa", "skorch"}),
        ("import skaudio.audio", {"torch", "librosa", "skorch"}),
        ("import skaudio.datasets", {"torch", "librosa", "skorch"}),
        ("import skaudio.metrics", {"torch", "librosa", "skorch"}),
        ("import skaudio.persistence", {"torch", "librosa", "skorch", "skops", "safetensors"}),
        ("import skaudio.cli", {"torch", "librosa", "sklearn", "numpy"}),
        ("import skaudio.networks", {"librosa", "soundfile", "skorch"}),
    ],
)
def test_imports_stay_light(statement, absent):
    code = f"{statement}; import sys; print(*({absent!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", skaudio.__all__)
def test_every_public_name_resolves(name):
    assert getattr(skaudio, name) is not None


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'AudioClasifier'"):
        skaudio.AudioClasifier  # noqa: B018


# numpydoc's order, with a class's attributes next to its parameters as in scikit-learn.
SECTIONS = [
    "Parameters", "Attributes", "Returns", "Yields", "Raises", "Warns",
    "See Also", "Notes", "References", "Examples",
]  # fmt: skip


def sections(docstring):
    """Split a docstring at its underlined headings; return {heading: text}."""
    _, *parts = re.split(r"^(\w[\w ]*)\n-{3,}$", inspect.cleandoc(docstring), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def public_objects():
    """Find the classes and functions that users import; constants have no docstring."""
    for name in (*PUBLIC, "exceptions"):
        module = pkgutil.resolve_name(f"skaudio.{name}")
        for public in module.__all__:
            thing = getattr(module, public)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield pytest.param(module, thing, id=f"{name}.{public}")


every_public_object = pytest.mark.parametrize(("module", "thing"), list(public_objects()))


@every_public_object
def test_docstrings_have_their_sections_in_order(module, thing):
    headings = list(sections(thing.__doc__))
    assert headings == [name for name in SECTIONS if name in headings]


@every_public_object
def test_see_also_names_what_exists(module, thing):
    entries = re.findall(r"^\S.*", sections(thing.__doc__)["See Also"], re.MULTILINE)
    assert entries
    for entry in entries:
        names, purpose = entry.split(" : ")
        assert purpose
        for name in names.split(", "):
            if "." in name:
                pkgutil.resolve_name(name)  # raises if there is no such module or attribute
            else:
                assert name in module.__all__, f"{name} is not in {module.__name__}"
