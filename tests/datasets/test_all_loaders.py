"""What every ``load_*`` keeps to, so that all can be used alike."""

import inspect

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import Bunch

from skaudio import datasets

LOADERS = [name for name in datasets.__all__ if name.startswith("load_")]


@pytest.fixture
def load(request, tmp_path):
    """The loader of a name, ready to be called without its first argument."""
    for label in ("cat", "dog"):
        (tmp_path / "sounds" / label).mkdir(parents=True)
        (tmp_path / "sounds" / label / "a.wav").touch()
    table = pd.DataFrame(
        {"file": ["cat/a.wav", "dog/a.wav"], "label": ["cat", "dog"], "room": [1, 2]}
    )
    sources = {
        "load_folder": {"folder": tmp_path / "sounds"},
        "load_manifest": {"manifest": table, "base_dir": tmp_path / "sounds"},
    }
    function = getattr(datasets, request.param)
    return lambda **options: function(**sources.get(request.param, {}), **options)


@pytest.mark.parametrize("load", LOADERS, indirect=True)
def test_bunch_has_one_entry_per_clip(load):
    clips = load()
    assert isinstance(clips, Bunch)
    assert {"data", "target", "frame"} <= set(clips)
    for name in set(clips) - {"target_names"}:
        if isinstance(clips[name], (list, np.ndarray, pd.DataFrame)):
            assert len(clips[name]) == len(clips.target), name


@pytest.mark.parametrize("load", LOADERS, indirect=True)
def test_return_X_y_gives_data_and_target(load):
    clips = load()
    data, target = load(return_X_y=True)
    assert len(data) == len(clips.data)
    np.testing.assert_array_equal(data[0], clips.data[0])
    np.testing.assert_array_equal(target, clips.target)


@pytest.mark.parametrize("load", LOADERS, indirect=True)
def test_two_calls_give_the_same_and_share_nothing(load):
    one, two = load(), load()
    np.testing.assert_array_equal(one.data[0], two.data[0])
    one.target[0] = "changed"
    assert two.target[0] != "changed"


@pytest.mark.parametrize("name", LOADERS)
def test_options_are_keywords(name):
    parameters = list(inspect.signature(getattr(datasets, name)).parameters.values())
    assert parameters[-1].kind is inspect.Parameter.KEYWORD_ONLY
    assert "return_X_y" in [parameter.name for parameter in parameters]
