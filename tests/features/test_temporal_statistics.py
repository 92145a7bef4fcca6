import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skaudio.exceptions import AudioFormatError
from skaudio.features import TemporalStatistics

EVERY = ("mean", "std", "min", "max", "p0", "p5", "p50", "p100", "skewness", "kurtosis", "slope",
         "mean_abs_diff")  # fmt: skip


@pytest.fixture
def ragged():
    rng = np.random.default_rng(0)
    return [rng.gamma(2.0, size=(3, n)).astype(np.float32) for n in (1, 2, 50, 333)]


def column(name, clips):
    return TemporalStatistics((name,)).fit_transform(clips)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("mean", lambda x: x.mean(axis=1)),
        ("std", lambda x: x.std(axis=1)),
        ("min", lambda x: x.min(axis=1)),
        ("max", lambda x: x.max(axis=1)),
        ("p0", lambda x: x.min(axis=1)),
        ("p7", lambda x: np.percentile(x, 7, axis=1)),
        ("p50", lambda x: np.median(x, axis=1)),
        ("p100", lambda x: x.max(axis=1)),
        ("skewness", lambda x: scipy.stats.skew(x, axis=1)),
        ("kurtosis", lambda x: scipy.stats.kurtosis(x, axis=1, fisher=False)),
        ("slope", lambda x: np.polyfit(np.arange(x.shape[1]), x.T, 1)[0]),
        ("mean_abs_diff", lambda x: np.abs(np.diff(x, axis=1)).mean(axis=1)),
    ],
)
def test_each_statistic_against_its_reference(ragged, name, reference):
    expected = [reference(clip.astype(np.float64)) for clip in ragged[1:]]
    assert_allclose(column(name, ragged[1:]), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_constant_and_single_frames_are_finite(name):
    for n_frames in (1, 2, 40):
        value = column(name, np.full((2, 3, n_frames), 0.1, dtype=np.float32))
        is_level = name in ("mean", "min", "max") or name.startswith("p")
        assert_allclose(value, 0.1 if is_level else 0, atol=1e-7)


@pytest.mark.parametrize("name", EVERY)
def test_a_shift_in_level_moves_levels_only(ragged, name):
    change = column(name, [clip + 1 for clip in ragged]) - column(name, ragged)
    is_level = name in ("mean", "min", "max") or name.startswith("p")
    assert_allclose(change, 1 if is_level else 0, atol=1e-3)


def test_columns_go_statistic_by_statistic(ragged):
    table = TemporalStatistics(("max", "p50", "mean")).fit_transform(ragged)
    parts = [column(name, ragged) for name in ("max", "p50", "mean")]
    assert_array_equal(table, np.concatenate(parts, axis=1))
    assert table.shape == (4, 9)
    assert table.dtype == np.float32


def test_permuting_clips_permutes_rows(ragged):
    assert_array_equal(
        TemporalStatistics().fit_transform(ragged[::-1]),
        TemporalStatistics().fit_transform(ragged)[::-1],
    )


@pytest.mark.parametrize("form", ["list of 2-D", "2-D", "list of 1-D"])
def test_one_band_in_any_form(form):
    cube = np.random.default_rng(1).standard_normal((3, 1, 8)).astype(np.float32)
    given = {"list of 2-D": list(cube), "2-D": cube[:, 0], "list of 1-D": [*cube[:, 0]]}[form]
    expected = TemporalStatistics().fit_transform(cube)
    assert_array_equal(TemporalStatistics().fit_transform(given), expected)


def test_names(ragged):
    fitted = TemporalStatistics(("mean", "p50")).fit([clip[:2] for clip in ragged])
    names = ["band_0_mean", "band_1_mean", "band_0_p50", "band_1_p50"]
    assert fitted.get_feature_names_out().tolist() == names
    assert fitted.get_feature_names_out(["low", "high"]).tolist()[1:3] == ["high_mean", "low_p50"]
    with pytest.raises(ValueError, match="input_features should have length equal"):
        fitted.get_feature_names_out(["low"])
    fitted.fit(np.ones((2, 5)))
    assert fitted.get_feature_names_out().tolist() == ["mean", "p50"]


def test_pandas_output(ragged):
    table = TemporalStatistics(("mean",)).set_output(transform="pandas").fit_transform(ragged)
    assert table.columns.tolist() == ["band_0_mean", "band_1_mean", "band_2_mean"]


def test_a_support_vector_machine_can_follow():
    rng = np.random.default_rng(0)
    clips = [rng.normal(size=(4, rng.integers(5, 30))) + i % 2 for i in range(40)]
    labels = np.arange(40) % 2
    model = make_pipeline(TemporalStatistics(), StandardScaler(), SVC())
    assert model.fit(clips[:20], labels[:20]).score(clips[20:], labels[20:]) > 0.9


@pytest.mark.parametrize("name", ["median", "p101", "p", "p1.5", 3])
def test_unknown_statistics(name):
    with pytest.raises(ValueError, match=f"statistics holds {name!r}, but expected 'mean'"):
        TemporalStatistics(("mean", name)).fit(np.ones((2, 2, 2)))


def test_no_statistics():
    with pytest.raises(ValueError, match="statistics is empty"):
        TemporalStatistics(()).fit(np.ones((2, 2, 2)))


def test_paths_are_refused():
    with pytest.raises(AudioFormatError, match="got paths"):
        TemporalStatistics().fit(["a.wav"])
