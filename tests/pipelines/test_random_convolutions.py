import numpy as np
import pytest
from scipy.signal import correlate2d

from skaudio.exceptions import AudioFormatError
from skaudio.pipelines import RandomConvolutions


def pictures(n_clips=12, n_bands=20, lengths=(30, 7, 30, 1), seed=0):
    rng = np.random.default_rng(seed)
    levels = np.linspace(-5, 5, n_bands)[:, np.newaxis]
    return [
        (levels + rng.normal(size=(n_bands, lengths[i % len(lengths)]))).astype(np.float32)
        for i in range(n_clips)
    ]


def small(**parameters):
    return RandomConvolutions(
        **{"n_kernels": 24, "heights": (4, 8), "dilations": (1, 3), "random_state": 0, **parameters}
    )


def test_columns_are_what_the_definition_says():
    X = pictures()
    model = small().fit(X)
    columns = dict(zip(model.get_feature_names_out(), model.transform(X[:1])[0], strict=True))
    standardised = (X[0] - model.mean_[:, np.newaxis]) / model.scale_[:, np.newaxis]
    checked = 0
    for kernels, dilation, thresholds in zip(
        model.kernels_, model.dilations_, model.thresholds_, strict=True
    ):
        _, height, length = kernels.shape
        for (k, p), threshold in np.ndenumerate(thresholds):
            sparse = np.zeros((height, (length - 1) * dilation + 1))
            sparse[:, ::dilation] = kernels[k]
            reach = sparse.shape[1] // 2
            rows = standardised[p * height // 2 : p * height // 2 + height]
            padded = np.pad(rows, ((0, 0), (reach, reach)))
            response = correlate2d(padded, sparse, mode="valid")[0]
            excess = np.maximum(response - threshold, 0)
            expected = {
                "share": (excess > 0).mean(), "max": response.max(), "std": response.std(),
                "excess": excess.mean(),
            }  # fmt: skip
            for statistic, value in expected.items():
                name = f"h{height}_l{length}_d{dilation}_k{k}_p{p}_{statistic}"
                assert columns[name] == pytest.approx(value, abs=2e-5)
                checked += 1
    assert checked == len(columns)


def test_a_clip_has_the_same_bits_alone_and_among_others():
    X = pictures(n_clips=60, lengths=(1, 2, 3, 50, 90, 700))
    model = small().fit(X)
    together = model.transform(X)
    order = np.random.default_rng(1).permutation(len(X))
    np.testing.assert_array_equal(model.transform([X[i] for i in order]), together[order])
    for clip, row in zip(X[:6], together, strict=False):
        np.testing.assert_array_equal(model.transform([clip])[0], row)


def test_an_array_gives_what_its_list_gives():
    X = np.stack(pictures(lengths=(25,)))
    np.testing.assert_array_equal(small().fit_transform(X), small().fit_transform(list(X)))


def test_level_and_scale_of_a_band_do_not_matter():
    X = pictures()
    rng = np.random.default_rng(2)
    factor, offset = rng.uniform(0.5, 2, (2, len(X[0]), 1)).astype(np.float32)
    changed = [clip * factor + offset for clip in X]
    np.testing.assert_allclose(
        small().fit_transform(changed), small().fit_transform(X), atol=1e-4
    )  # a share could differ by a frame, but no response lies that close to its threshold


def test_thresholds_are_just_above_quantiles_of_training_responses():
    X = pictures(n_clips=40, lengths=(20, 35))
    model = small(n_kernels=80).fit(X)
    model.thresholds_ = [thresholds - np.float32(1e-3) for thresholds in model.thresholds_]
    names = model.get_feature_names_out()
    is_share = np.char.endswith(names.astype(str), "share")
    lengths = [clip.shape[1] for clip in X]
    shares = np.average(model.transform(X)[:, is_share], axis=0, weights=lengths)
    nearest = np.abs(shares[:, np.newaxis] - [0.75, 0.5, 0.25, 0.1])
    assert nearest.min(axis=1).max() < 1e-3
    assert set(nearest.argmin(axis=1)) == {0, 1, 2, 3}


def test_rounding_does_not_decide_on_which_side_of_a_threshold_silence_falls():
    X = pictures(n_clips=20, lengths=(60,))
    for clip in X:
        clip[:, 20:] = -20  # in two of three frames all bands have the floor
    model = small(n_kernels=80).fit(X)
    rng = np.random.default_rng(1)
    otherwise = [(clip * (1 + 1e-6 * rng.normal(size=clip.shape))).astype(np.float32) for clip in X]
    is_share = np.char.endswith(model.get_feature_names_out().astype(str), "share")
    shares, rounded = (model.transform(clips)[:, is_share] for clips in (X, otherwise))
    assert np.abs(shares - rounded).max() < 0.05


def test_kernels_are_smooth_along_bands_with_mean_0_and_norm_1():
    model = RandomConvolutions(64, heights=(32,), random_state=0).fit(pictures(n_bands=40))
    for kernels in model.kernels_:
        np.testing.assert_allclose(kernels.mean(axis=(1, 2)), 0, atol=1e-7)
        np.testing.assert_allclose(np.square(kernels).sum(axis=(1, 2)), 1, rtol=1e-5)
        step = np.square(np.diff(kernels, axis=1)).mean()
        assert step < 0.2 * np.square(kernels).mean()  # 2 for independent values


def test_a_size_given_twice_counts_once():
    X = pictures()
    twice = small(lengths=(5, 9, 5), dilations=[3, 1, 3]).fit(X)
    assert len(set(twice.get_feature_names_out())) == len(twice.get_feature_names_out())
    assert len(twice.kernels_) == 8


def test_the_seed_decides_all():
    X = pictures()
    first = small().fit_transform(X)
    np.testing.assert_array_equal(small().fit_transform(X), first)
    assert not np.array_equal(small(random_state=1).fit_transform(X), first)


@pytest.mark.parametrize("n_kernels", [1, 3, 7, 64])
def test_kernels_are_spread_over_all_banks(n_kernels):
    model = small(n_kernels=n_kernels).fit(pictures())
    counts = [len(kernels) for kernels in model.kernels_]
    assert sum(counts) == n_kernels
    assert max(counts) - min(counts) <= 1
    assert len(counts) == min(n_kernels, 8)


@pytest.mark.parametrize("n_bands", [1, 2, 5])
def test_few_bands_and_frames(n_bands):
    X = pictures(n_bands=n_bands, lengths=(1,))
    table = RandomConvolutions(random_state=0).fit_transform(X)
    assert np.isfinite(table).all()
    assert table.dtype == np.float32
    assert table.std(axis=0).max() > 0


def test_clips_that_never_vary_give_finite_columns():
    table = small().fit_transform([np.full((20, 9), -7.1), np.full((20, 4), -7.1)])
    np.testing.assert_array_equal(table, 0)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"lengths": (4,)}, r"lengths is \(4,\), but expected odd numbers from 1 on"),
        ({"heights": ()}, r"heights is \(\), but expected integers from 1 on"),
        ({"dilations": (0, 1)}, r"dilations is \(0, 1\), but expected integers from 1 on"),
        ({"n_kernels": 0}, "n_kernels"),
        ({"lengths": (1,), "heights": (7,)}, "a kernel of one frame and 7 bands has no shape"),
    ],
)
def test_impossible_sizes(parameters, message):
    with pytest.raises(ValueError, match=message):
        small(**parameters).fit(pictures())


def test_other_bands_than_in_fit():
    with pytest.raises(ValueError, match="19 bands"):
        small().fit(pictures()).transform(pictures(n_bands=19))
    with pytest.raises(AudioFormatError, match="got paths"):
        small().fit(["a.wav"])


def test_kernels_of_one_frame():
    model = RandomConvolutions(16, heights=(8,), lengths=(1,), random_state=0)
    assert np.isfinite(model.fit_transform(pictures())).all()
