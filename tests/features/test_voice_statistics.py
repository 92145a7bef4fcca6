import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skaudio.features import TemporalStatistics, VoiceDescriptors, VoiceStatistics

RATE = 16000


def rows(clips, **settings):
    """Return one dictionary, from names to values, for each clip."""
    voice = VoiceStatistics(**settings)
    table = voice.fit_transform(clips)
    assert table.dtype == np.float32
    return [dict(zip(voice.get_feature_names_out(), row, strict=True)) for row in table]


def noise(n_samples):
    return 0.1 * np.random.default_rng(0).standard_normal(n_samples)


def test_there_are_791_columns_with_names_of_their_own():
    names = VoiceStatistics().fit([[0.0]]).get_feature_names_out()
    assert len(names) == len(set(names)) == 791


@pytest.mark.parametrize("frames", ["voiced", "speech"])
def test_columns_are_statistics_of_the_descriptors_over_these_frames(vowel, frames):
    clips = [np.concatenate([noise(3000), vowel(f0, snr=15), noise(3000)]) for f0 in (100, 250)]
    settings = {"statistics": ("mean", "p80-p20", "mean_rise"), "delta_width": 3}
    found = rows(clips, smoothing=1, **settings)
    voice = VoiceDescriptors()
    sequences = voice.fit_transform(clips)
    names = voice.get_feature_names_out().tolist()
    statistics = TemporalStatistics(
        ("mean", "p80-p20", "mean_rise", "delta_mean", "delta_p80-p20", "delta_mean_rise"),
        where=names.index(frames),
        delta_width=3,
    )
    expected = statistics.fit_transform(sequences)
    columns = statistics.get_feature_names_out(names)
    n_compared = 0
    for row, clip in zip(expected, found, strict=True):
        for column, value in zip(columns, row, strict=True):
            name = next(name for name in names if column.startswith(f"{name}_"))
            column = f"{name}_{frames}_{column.removeprefix(f'{name}_')}"
            if column in clip:
                assert clip[column] == pytest.approx(value, rel=1e-5, abs=1e-6), column
                n_compared += 1
    assert n_compared == 2 * 3 * (36 if frames == "voiced" else 20)


def test_smoothing_averages_before_statistics_are_taken(vowel):
    clip = vowel(200, jitter=0.05, snr=10)
    plain, smooth = rows([clip], smoothing=1)[0], rows([clip], smoothing=5)[0]
    assert smooth["hnr_voiced_mean"] == pytest.approx(plain["hnr_voiced_mean"], abs=0.2)
    assert smooth["hnr_voiced_mean_abs_diff"] < plain["hnr_voiced_mean_abs_diff"] / 2
    assert smooth["voiced_share"] == plain["voiced_share"]


def test_rhythm_of_two_vowels(vowel):
    pause, part = np.zeros(RATE // 2), vowel(150, seconds=0.4)
    found = rows([np.concatenate([pause, part, pause, part, pause])])[0]
    n_frames = 231
    assert found["voiced_share"] == pytest.approx(80 / n_frames, abs=0.03)
    assert found["speech_share"] == pytest.approx(80 / n_frames, abs=0.03)
    assert found["voiced_runs_per_frame"] == pytest.approx(2 / n_frames)
    assert found["voiced_run_mean"] == pytest.approx(40, abs=4)
    assert found["voiced_run_std"] < 1
    assert found["unvoiced_run_mean"] == pytest.approx(50, abs=4)


def test_a_glide_rises_with_time(vowel):
    up, down = rows([vowel(np.geomspace(*ends, RATE)) for ends in ((90, 180), (180, 90))])
    assert up["f0_voiced_correlation"] > 0.99
    assert down["f0_voiced_correlation"] < -0.99
    # An octave a second are 12 / 100 semitones a frame.
    assert up["f0_voiced_delta_p50"] == pytest.approx(0.12, abs=0.01)
    assert up["f0_voiced_mean_rise"] == pytest.approx(0.12, abs=0.02)


def test_columns_of_silence():
    found = rows([np.zeros(8000)])[0]
    assert found.pop("unvoiced_run_mean") == 51
    assert set(found.values()) == {0}


@pytest.mark.parametrize("n_samples", [1, 2, 300, 640, 5000])
def test_every_clip_has_finite_columns(vowel, n_samples):
    clips = [np.zeros(n_samples), np.eye(1, n_samples, n_samples // 2)[0], noise(n_samples),
             np.ones(n_samples), np.clip(50 * vowel(120)[:n_samples], -1, 1)]  # fmt: skip
    table = VoiceStatistics().fit_transform(clips)
    assert table.shape == (5, 791)
    assert np.isfinite(table).all()


def test_clips_of_any_form_and_company(vowel):
    clips = np.stack([vowel(f0, snr=20) for f0 in (100, 170, 300)])
    table = VoiceStatistics().fit_transform(clips)
    assert_array_equal(VoiceStatistics(n_jobs=2).fit_transform([*clips]), table)
    assert_array_equal(VoiceStatistics().fit_transform([clips[1]])[0], table[1])


def test_pandas_output(vowel):
    table = VoiceStatistics().set_output(transform="pandas").fit_transform([vowel(220)])
    assert_allclose(table["f0_voiced_p50"], 36, atol=0.1)


def test_a_ridge_classifier_can_follow(vowel):
    rng = np.random.default_rng(0)
    clips = [vowel(rng.uniform(100, 250), seconds=0.4, jitter=0.03 * (i % 2), snr=30, seed=i)
             for i in range(40)]  # fmt: skip
    labels = np.arange(40) % 2
    model = make_pipeline(VoiceStatistics(), StandardScaler(), RidgeClassifier(alpha=100))
    assert model.fit(clips[:20], labels[:20]).score(clips[20:], labels[20:]) > 0.9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sample_rate": 8000}, "VoiceStatistics expected at least 16000 Hz"),
        ({"statistics": ("median",)}, "statistics holds 'median', but expected 'mean'"),
        ({"statistics": ()}, "statistics is empty"),
        ({"statistics": ["mean", "delta_std"]}, "holds 'delta_std', .* without .* Pass 'std'"),
        ({"delta_width": 4}, "delta_width=4 is even"),
        ({"smoothing": 2}, "smoothing=2 is even"),
    ],
)
def test_wrong_parameters(settings, message):
    with pytest.raises(ValueError, match=message):
        VoiceStatistics(**settings).fit(np.zeros((1, 9)))
