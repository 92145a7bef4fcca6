import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

from skaudio.exceptions import AudioFormatError
from skaudio.features import BandScaler


@pytest.fixture
def ragged():
    rng = np.random.default_rng(0)
    centre, spread = np.array([[-60.0], [0.0], [1e4]]), np.array([[3.0], [1e-3], [1.0]])
    lengths = (1, 7, 300, 40)
    return [(centre + spread * rng.standard_normal((3, n))).astype(np.float32) for n in lengths]


def frames_of(clips):
    return np.concatenate(list(clips), axis=1).T.astype(np.float64)


def test_frames_have_mean_0_and_deviation_1(ragged):
    frames = frames_of(BandScaler().fit_transform(ragged))
    assert_allclose(frames.mean(axis=0), 0, atol=1e-3)
    assert_allclose(frames.std(axis=0), 1, atol=1e-3)


def test_statistics_are_those_of_the_standard_scaler_over_all_frames(ragged):
    expected = StandardScaler().fit(frames_of(ragged))
    scaler = BandScaler().fit(ragged)
    assert_allclose(scaler.mean_, expected.mean_, rtol=1e-12)
    assert_allclose(scaler.scale_, expected.scale_, rtol=1e-9)
    assert scaler.n_frames_seen_ == 348


def test_global_statistics_are_one_pair(ragged):
    everything = frames_of(ragged).ravel()
    scaler = BandScaler(scope="global").fit(ragged)
    assert_allclose(scaler.mean_, [everything.mean()], rtol=1e-12)
    assert_allclose(scaler.scale_, [everything.std()], rtol=1e-9)
    assert scaler.n_frames_seen_ == 348


def test_order_and_grouping_of_clips_do_not_matter(ragged):
    one, other = BandScaler().fit(ragged), BandScaler().fit(ragged[::-1])
    assert_allclose(one.mean_, other.mean_, rtol=1e-12)
    whole = BandScaler().fit([np.concatenate(ragged, axis=1)])
    assert_allclose(one.scale_, whole.scale_, rtol=1e-9)


def test_small_deviation_far_from_zero_survives_many_frames():
    clips = np.full((4, 1, 500_000), 1000.0, dtype=np.float32)
    clips[:, :, ::2] += 2**-13
    scaler = BandScaler().fit(clips)
    assert_allclose(scaler.scale_, 2**-14, rtol=1e-9)


def test_a_constant_band_is_only_centred():
    clips = np.full((2, 2, 5), 0.1, dtype=np.float32)
    clips[0, 1] = 5
    scaler = BandScaler().fit(clips)
    assert scaler.scale_[0] == 1
    assert_allclose(scaler.transform(clips)[:, 0], 0, atol=1e-7)


@pytest.mark.parametrize("with_mean", [True, False])
@pytest.mark.parametrize("with_std", [True, False])
def test_inverse_undoes(ragged, with_mean, with_std):
    scaler = BandScaler(with_mean=with_mean, with_std=with_std).fit(ragged)
    for clip, back in zip(ragged, scaler.inverse_transform(scaler.transform(ragged)), strict=True):
        assert_allclose(back, clip, rtol=1e-6, atol=1e-6)


def test_parts_can_be_left_out(ragged):
    mean, scale = (getattr(BandScaler().fit(ragged), name)[:, None] for name in ("mean_", "scale_"))
    scaled = BandScaler(with_mean=False).fit_transform(ragged)[2]
    assert_allclose(scaled, ragged[2] / scale, rtol=1e-6)
    centred = BandScaler(with_std=False).fit_transform(ragged)[2]
    assert_allclose(centred, ragged[2] - mean, atol=1e-3)


@pytest.mark.parametrize("form", ["3-D", "list of 2-D", "2-D", "list of 1-D"])
def test_form_is_kept_and_numbers_agree(form):
    cube = np.random.default_rng(1).standard_normal((3, 1, 8)).astype(np.float32)
    given = {
        "3-D": cube,
        "list of 2-D": list(cube),
        "2-D": cube[:, 0],
        "list of 1-D": [*cube[:, 0]],
    }
    scaled = BandScaler().fit_transform(given[form])
    assert type(scaled) is type(given[form])
    assert np.shape(scaled) == np.shape(given[form])
    assert_allclose(np.reshape(scaled, cube.shape), BandScaler().fit_transform(cube), rtol=1e-6)


def test_input_is_left_alone():
    cube = np.random.default_rng(1).standard_normal((3, 2, 8)).astype(np.float32)
    before = cube.copy()
    BandScaler().fit_transform(cube)
    assert_array_equal(cube, before)


def test_pandas_output_makes_tables_only_of_tables():
    scaler = BandScaler().set_output(transform="pandas")
    cube = np.random.default_rng(1).standard_normal((3, 2, 8))
    assert isinstance(scaler.fit_transform(cube), np.ndarray)
    assert scaler.get_feature_names_out().shape == (2,)
    table = scaler.fit_transform(pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}, index=[7, 9]))
    assert table.columns.tolist() == ["a", "b"]
    assert table.index.tolist() == [7, 9]


def test_other_bands_than_in_fit_are_refused(ragged):
    scaler = BandScaler().fit(ragged)
    with pytest.raises(ValueError, match="2 bands, but BandScaler is expecting 3 bands"):
        scaler.transform([clip[:2] for clip in ragged])


def test_paths_are_refused():
    with pytest.raises(AudioFormatError, match="got paths"):
        BandScaler().fit(["a.wav"])


def test_fit_comes_first(ragged):
    with pytest.raises(NotFittedError):
        BandScaler().transform(ragged)
    with pytest.raises(NotFittedError):
        BandScaler().inverse_transform(ragged)


def test_unknown_scope():
    with pytest.raises(ValueError, match="'scope' parameter"):
        BandScaler(scope="clip").fit(np.ones((2, 2, 2)))
