import librosa
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
         "correlation", "mean_abs_diff", "mean_rise", "p80-p20", "octave1", "octave4", "delta_mean",
         "delta_p50", "delta_std")  # fmt: skip


def is_level(name):
    return name in ("mean", "min", "max") or (name[0] == "p" and "-" not in name)


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
        ("mean_rise", lambda x: [d[d > 0].mean() if (d > 0).any() else 0 for d in np.diff(x)]),
        ("correlation", lambda x: [np.corrcoef(np.arange(len(row)), row)[0, 1] for row in x]),
        ("p80-p20", lambda x: np.subtract(*np.percentile(x, [80, 20], axis=1))),
    ],
)
def test_each_statistic_against_its_reference(ragged, name, reference):
    expected = [reference(clip.astype(np.float64)) for clip in ragged[1:]]
    assert_allclose(column(name, ragged[1:]), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_constant_and_single_frames_are_finite(name):
    for n_frames in (1, 2, 40):
        value = column(name, np.full((2, 3, n_frames), 0.1, dtype=np.float32))
        assert_allclose(value, 0.1 if is_level(name) else 0, atol=1e-7)


@pytest.mark.parametrize("name", EVERY)
def test_a_shift_in_level_moves_levels_only(ragged, name):
    change = column(name, [clip + 1 for clip in ragged]) - column(name, ragged)
    assert_allclose(change, 1 if is_level(name) else 0, atol=1e-3)


@pytest.mark.parametrize(("cycles", "octave"), [(1 / 3, 1), (1 / 4, 2), (3 / 16, 2), (1 / 96, 6)])
def test_a_wave_is_modulation_of_one_octave(cycles, octave):
    wave = 5 + 2 * np.sin(2 * np.pi * cycles * np.arange(480) + 1)
    names = [f"octave{k}" for k in range(1, 10)]
    found = TemporalStatistics(names).fit_transform(wave[np.newaxis])[0]
    assert_allclose(found, np.where(np.arange(1, 10) == octave, np.sqrt(2), 0), atol=1e-5)


def test_octaves_add_up_to_the_variance(ragged):
    names = ["std", *(f"octave{k}" for k in range(1, 10))]
    table = TemporalStatistics(names).fit_transform(ragged).reshape(4, 10, 3).astype(np.float64)
    assert_allclose(np.square(table[:, 1:]).sum(axis=1), np.square(table[:, 0]), rtol=1e-5)


@pytest.mark.parametrize("width", [3, 9])
def test_slopes_are_the_deltas_of_librosa(ragged, width):
    clip = ragged[-1]
    slopes = librosa.feature.delta(clip.astype(np.float64), width=width)
    for name in ("mean", "std", "p90", "octave2", "kurtosis"):
        found = TemporalStatistics((f"delta_{name}",), delta_width=width).fit_transform([clip])
        assert_allclose(found, column(name, [slopes]), rtol=1e-3, atol=1e-6)


class TestWhere:
    """Only the frames that a band says."""

    def test_statistics_are_those_of_the_chosen_frames(self, ragged):
        names = ("mean", "std", "p30", "skewness", "kurtosis")
        clips = ragged[2:]
        chosen = [clip[:2, clip[2] > 1] for clip in clips]
        signed = [np.stack([clip[0], clip[1], clip[2] - 1]) for clip in clips]
        found = TemporalStatistics(names, where=2).fit_transform(signed)
        assert_array_equal(found, TemporalStatistics(names).fit_transform(chosen))
        assert_array_equal(found, TemporalStatistics(names, where=-1).fit_transform(signed))

    def test_frames_apart_are_no_neighbours_and_keep_their_time(self):
        clip = np.array([[0.0, 1.0, 9.0, 5.0, 7.0], [1, 1, 0, 1, 1]])
        names = ("mean_abs_diff", "slope", "delta_max")
        found = TemporalStatistics(names, where=1, delta_width=3).fit_transform([clip])[0]
        slope = np.polyfit([0, 1, 3, 4], [0, 1, 5, 7], 1)[0]
        assert_allclose(found, [1.5, slope, 4.5], rtol=1e-6)

    @pytest.mark.parametrize("name", EVERY)
    def test_statistics_of_no_frame_are_0(self, name):
        clip = np.stack([np.full(9, 3.0), np.zeros(9)])
        assert_array_equal(TemporalStatistics((name,), where=1).fit_transform([clip]), 0)

    def test_names_leave_it_out(self, ragged):
        fitted = TemporalStatistics(("mean", "std"), where=1).fit(ragged)
        assert fitted.transform(ragged).shape == (4, 4)
        names = ["a_mean", "c_mean", "a_std", "c_std"]
        assert fitted.get_feature_names_out(["a", "b", "c"]).tolist() == names

    @pytest.mark.parametrize(
        ("where", "n_bands", "message"),
        [(3, 3, "where=3 is not the number of a band, of which the clips have 3"),
         (-4, 3, "where=-4 is not"),
         (0, 1, "where=0 leaves no band for statistics")],
    )  # fmt: skip
    def test_wrong_bands(self, where, n_bands, message):
        with pytest.raises(ValueError, match=message):
            TemporalStatistics(where=where).fit(np.ones((2, n_bands, 5)))


def test_even_delta_width():
    with pytest.raises(ValueError, match="delta_width=4 is even, but expected an odd number"):
        TemporalStatistics(delta_width=4).fit(np.ones((2, 2, 2)))


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


@pytest.mark.parametrize("name", ["median", "p101", "p", "p1.5", 3, "octave0", "delta_", "p9-mean"])
def test_unknown_statistics(name):
    with pytest.raises(ValueError, match=f"statistics holds {name!r}, but expected 'mean'"):
        TemporalStatistics(("mean", name)).fit(np.ones((2, 2, 2)))


def test_no_statistics():
    with pytest.raises(ValueError, match="statistics is empty"):
        TemporalStatistics(()).fit(np.ones((2, 2, 2)))


def test_paths_are_refused():
    with pytest.raises(AudioFormatError, match="got paths"):
        TemporalStatistics().fit(["a.wav"])
