import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from skaudio.pipelines import BlockScaler


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    return rng.normal(rng.normal(size=700) * 100, rng.uniform(0.1, 10, 700), (50, 700))


def test_columns_are_standardised_and_weighed(table):
    scaled = BlockScaler().fit_transform(table)
    expected = StandardScaler().fit_transform(table) / np.sqrt(700)
    np.testing.assert_allclose(scaled, expected, atol=1e-5)
    assert scaled.dtype == np.float32


@pytest.mark.parametrize("n_columns", [1, 20, 700])
def test_training_rows_have_a_mean_squared_length_of_1(table, n_columns):
    scaled = BlockScaler().fit_transform(table[:, :n_columns])
    assert np.square(scaled).sum(axis=1).mean() == pytest.approx(1, rel=1e-5)


def test_outliers_are_moved_to_the_limit(table):
    model = BlockScaler(clip=3).fit(table)
    far = model.transform(np.stack([table[0] + 1e6, table[0] - 1e6]))
    np.testing.assert_allclose(far, np.array([[3], [-3]]) / np.sqrt(700) * np.ones(700), rtol=1e-6)


@pytest.mark.parametrize("level", [0.0, 0.1, 1e6, -1e-30])
def test_constant_columns_become_zero(level):
    table = np.full((49, 3), level)
    np.testing.assert_array_equal(BlockScaler().fit_transform(table), 0)


def test_the_limit_must_be_positive():
    with pytest.raises(ValueError, match="clip"):
        BlockScaler(clip=0).fit([[1.0], [2.0]])
