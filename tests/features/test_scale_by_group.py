import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.preprocessing import StandardScaler

from skaudio.features import scale_by_group


@pytest.fixture
def table():
    return np.random.default_rng(0).gamma(2.0, size=(30, 4))


def test_each_group_is_scaled_as_by_a_scaler_of_its_own(table):
    groups = np.array(["anna", "ben", "cem"])[np.arange(30) % 3]
    scaled = scale_by_group(table, groups)
    for group in np.unique(groups):
        expected = StandardScaler().fit_transform(table[groups == group])
        assert_allclose(scaled[groups == group], expected, atol=1e-12)


def test_what_a_group_adds_or_multiplies_drops_out(table):
    groups = np.arange(30) % 3
    changed = table * (1 + groups[:, np.newaxis]) + 100 * groups[:, np.newaxis]
    assert_allclose(scale_by_group(changed, groups), scale_by_group(table, groups), atol=1e-9)


def test_a_group_does_not_depend_on_others(table):
    groups = np.arange(30) % 3
    alone = scale_by_group(table[groups == 1], groups[groups == 1])
    assert_array_equal(scale_by_group(table, groups)[groups == 1], alone)


def test_constant_columns_and_single_clips_are_0(table):
    table[:, 2] = 0.1
    groups = np.r_[0, np.ones(29)]
    scaled = scale_by_group(table, groups)
    assert_array_equal(scaled[0], 0)
    assert_array_equal(scaled[:, 2], 0)


def test_constant_columns_of_large_groups_are_0():
    groups = np.repeat([0, 1], [2000, 200])
    assert_array_equal(scale_by_group(np.full((2200, 2), 0.1), groups), 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept_and_the_table_too(table, dtype):
    table = table.astype(dtype)
    before = table.copy()
    assert scale_by_group(table, np.arange(30) % 2).dtype == dtype
    assert_array_equal(table, before)


def test_groups_may_be_a_table_of_one_column(table):
    groups = pd.DataFrame({"speaker": np.arange(30) % 3})
    assert_array_equal(scale_by_group(table, groups), scale_by_group(table, groups["speaker"]))


def test_large_numbers_of_groups_stay_apart(table):
    numbers = 2**53 + np.arange(30) % 3
    expected = scale_by_group(table, np.arange(30) % 3)
    assert_array_equal(scale_by_group(table, pd.Series(numbers, dtype="Int64")), expected)
    with pytest.raises(ValueError, match=r"groups has the shape \(30, 2\), but expected one"):
        scale_by_group(table, np.ones((30, 2)))


def test_groups_of_another_length(table):
    with pytest.raises(ValueError, match="inconsistent numbers of samples: .30, 29."):
        scale_by_group(table, np.arange(29))


def test_no_table():
    with pytest.raises(ValueError, match="Expected 2D array"):
        scale_by_group([1.0, 2.0], [0, 1])


@pytest.mark.parametrize(
    "groups", [[1, np.nan, 2], ["anna", None, "otto"], ["anna", np.nan, "otto"]]
)
def test_missing_groups(groups):
    with pytest.raises(ValueError, match="groups has no value at 1, and at 0 more .* Fill them in"):
        scale_by_group(np.arange(6.0).reshape(3, 2), groups)
