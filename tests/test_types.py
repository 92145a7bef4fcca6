"""Types of parameters, by which an editor or mypy finds a misspelt option before it runs."""

import inspect
import pkgutil
from typing import Literal, get_args, get_origin, get_type_hints

import pytest

import skaudio
from skaudio import AudioClassifier, AudioRegressor
from skaudio._validation import StrOptions


def public_classes():
    rooms = [name for _, name, _ in pkgutil.iter_modules(skaudio.__path__) if name[0] != "_"]
    modules = [pkgutil.resolve_name(f"skaudio.{name}") for name in rooms]
    found = [getattr(module, name) for module in modules for name in module.__all__]
    kinds = {kind for kind in found if hasattr(kind, "_parameter_constraints")}
    return sorted(kinds, key=lambda kind: kind.__name__)


def texts_in(hint):
    """Texts that a type lists, alone or in a union."""
    if get_origin(hint) is Literal:
        return {option for option in get_args(hint) if isinstance(option, str)}
    return set().union(*(texts_in(part) for part in get_args(hint)))


@pytest.mark.parametrize("kind", public_classes(), ids=lambda kind: kind.__name__)
def test_types_list_the_options_that_are_allowed(kind):
    hints = get_type_hints(kind.__init__)
    for name, constraints in kind._parameter_constraints.items():
        options = [set(c.options) for c in constraints if isinstance(c, StrOptions)]
        if options and name in inspect.signature(kind).parameters:
            assert texts_in(hints[name]) == set().union(*options), name


@pytest.mark.parametrize("kind", public_classes(), ids=lambda kind: kind.__name__)
def test_every_parameter_has_a_type(kind):
    parameters = inspect.signature(kind).parameters.values()
    assert all(
        parameter.annotation is not parameter.empty
        for parameter in parameters
        if parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
    )


def test_classes_are_found():
    names = {kind.__name__ for kind in public_classes()}
    assert {"AudioClassifier", "LogMelSpectrogram", "MTSNet", "AdditiveNoise"} <= names


@pytest.mark.parametrize("kind", [AudioClassifier, AudioRegressor])
def test_fit_returns_its_own_type(kind):
    for method in (kind.fit, kind.partial_fit):
        assert str(get_type_hints(method)["return"]) == "typing.Self"
