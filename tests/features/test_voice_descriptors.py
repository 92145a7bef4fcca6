"""Physics first: voices whose pitch, noise and spectrum are known because they were made so."""

import itertools
import time

import librosa
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skaudio.audio import AudioLoader, resample
from skaudio.datasets import load_spoken_digits
from skaudio.features import LogMelSpectrogram, VoiceDescriptors
from skaudio.features._pitch import best_paths

RATE = 16000
NAMES = list(VoiceDescriptors().fit([[0.0]]).get_feature_names_out())
A0 = 27.5


def describe(clip, rate=RATE):
    """Return the sequences by name, of frames that lie within the clip as a whole."""
    sequences = VoiceDescriptors(rate).fit_transform([clip])[0]
    return {name: row[2:-2] for name, row in zip(NAMES, sequences, strict=True)}


def noise(n_samples=RATE, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(n_samples)


def tone(frequency, n_samples=RATE, rate=RATE):
    return 0.3 * np.sin(2 * np.pi * frequency / rate * np.arange(n_samples))


def semitones(frequency):
    return 12 * np.log2(frequency / A0)


# ------------------------------------------------------------------------------------ pitch


@pytest.mark.parametrize("f0", [62, 70, 95, 120, 177, 240, 310, 420, 590])
def test_pitch_of_a_vowel(vowel, f0):
    found = describe(vowel(f0, snr=30))
    assert_allclose(found["f0"], semitones(f0), atol=0.1)
    assert found["voiced"].all()
    assert found["speech"].all()


@pytest.mark.parametrize("f0", [100, 200])
def test_pitch_of_a_clipped_vowel(vowel, f0):
    found = describe(np.clip(30 * vowel(f0), -1, 1))
    assert_allclose(found["f0"], semitones(f0), atol=0.1)


@pytest.mark.parametrize("rate", [16000, 48000])
def test_pitches_up_to_2_khz(rate):
    for fmin, fmax, f0 in ((500, 2000, 1990), (30, 200, 35)):
        voice = VoiceDescriptors(rate, fmin=fmin, fmax=fmax, win_length=rate // 12)
        clip = sum(tone(k * f0, rate, rate) for k in (1, 2, 3))
        assert_allclose(voice.fit_transform([clip])[0][0, 8:-8], semitones(f0), atol=0.2)


@pytest.mark.parametrize(("start", "stop"), [(90, 180), (400, 150)])
def test_pitch_of_a_glide(vowel, start, stop):
    f0 = np.geomspace(start, stop, RATE)
    found = describe(vowel(f0))
    assert_allclose(found["f0"], semitones(f0[320:-160:160]), atol=0.3)
    assert found["voiced"].mean() > 0.95


def test_octave_errors_of_clean_tones():
    frequencies = np.geomspace(70, 500, 100)
    tones = np.stack([tone(f, 8000) for f in frequencies])
    sequences = VoiceDescriptors().fit_transform(tones)
    errors = np.abs(sequences[:, 0] - semitones(frequencies)[:, np.newaxis])
    assert (errors > 6).mean() < 0.01
    assert errors[:, 3:-3].max() < 0.15


@pytest.mark.parametrize("sample_rate", [16000, 22050, 44100])
@pytest.mark.parametrize("decay", [0, 0.25, 0.5, 1])
def test_octave_errors_of_tones_with_harmonics_up_to_8_khz(sample_rate, decay):
    times = np.arange(sample_rate // 5) / sample_rate
    frequencies = np.arange(80, 590, 7.3)
    tones = []
    for f0 in frequencies:
        k = np.arange(1, int(0.98 * 8000 / f0) + 1)[:, np.newaxis]
        tones.append((np.cos(2 * np.pi * k * f0 * times + 1.3 * k**2) / k**decay).sum(axis=0))
    sequences = VoiceDescriptors(sample_rate).fit_transform([t / np.abs(t).max() for t in tones])
    found = [np.median(sequence[0, 4:-4]) for sequence in sequences]
    assert_allclose(found, semitones(frequencies), atol=0.2)


def test_noise_has_no_voice():
    found = describe(noise(5 * RATE))
    assert found["voiced"].mean() < 0.01
    assert found["speech"].all()


def test_voiced_frames_are_those_of_the_vowel(vowel):
    clip = np.concatenate([noise(RATE // 2), vowel(150, seconds=0.5, snr=25), np.zeros(RATE // 2)])
    found = describe(clip)
    expected = np.zeros(len(found["voiced"]))
    expected[50 - 2 : 100 - 2] = 1
    assert np.abs(found["voiced"] - expected).sum() <= 4
    assert found["speech"][:95].all()
    assert not found["speech"][105:].any()


def test_best_paths_are_those_of_all_paths():
    rng = np.random.default_rng(0)
    scores = [rng.random((n, 4)) for n in (5, 1, 4, 5)]
    for cost in (0.0, 0.1, 1.0):
        for score, path in zip(scores, best_paths(scores, cost), strict=True):
            every = list(itertools.product(range(4), repeat=len(score)))
            sums = [
                sum(score[t, s] for t, s in enumerate(p)) - cost * np.abs(np.diff(p)).sum()
                for p in every
            ]
            assert tuple(path) == every[int(np.argmax(sums))]


# ------------------------------------------------------------------------------ harmonicity


@pytest.mark.parametrize("f0", [80, 140, 250, 400])
@pytest.mark.parametrize("snr", [0, 5, 10, 15, 20])
def test_harmonics_to_noise_ratio(vowel, f0, snr):
    assert np.median(describe(vowel(f0, snr=snr))["hnr"]) == pytest.approx(snr, abs=1)


def test_harmonicity_falls_as_jitter_grows(vowel):
    ratios = [describe(vowel(130, seconds=2, jitter=j))["hnr"].mean() for j in (0, 0.01, 0.03, 0.1)]
    assert (np.diff(ratios) < -1).all()


# ----------------------------------------------------------------------- level and spectrum


def test_loudness_moves_nothing_but_the_energy(vowel):
    clip = vowel(150, snr=0)  # noise far above the floor in every bin
    loud, quiet = describe(clip), describe(clip / 10)
    for name in NAMES:
        change = -20 if name == "energy" else 0
        scale = 1e-2 * np.abs(loud[name]).max()
        assert_allclose(quiet[name] - loud[name], change, atol=scale, err_msg=name)


def test_energy_is_the_mean_square_in_decibels():
    assert_allclose(describe(noise())["energy"].mean(), -20, atol=0.5)
    assert_allclose(describe(tone(400))["energy"], 10 * np.log10(0.3**2 / 2), atol=0.05)


@pytest.mark.parametrize("frequency", [250.0, 1000.0, 5000.0])
def test_a_tone_has_its_frequency_as_centre_and_everywhere(frequency):
    found = describe(tone(frequency))
    assert_allclose(found["centroid"], frequency, rtol=0.01)
    for name in ("rolloff_25", "rolloff_50", "rolloff_75", "rolloff_90"):
        assert_allclose(found[name], frequency, atol=32)
    assert found["spread"].max() < 40
    assert_allclose(found["zero_crossings"], 2 * frequency, rtol=0.05)


def test_white_noise_is_flat():
    found = {name: row.mean() for name, row in describe(noise(10 * RATE)).items()}
    assert found["centroid"] == pytest.approx(4000, rel=0.02)
    assert found["spread"] == pytest.approx(8000 / np.sqrt(12), rel=0.02)
    for share in (25, 50, 75, 90):
        assert found[f"rolloff_{share}"] == pytest.approx(50 + 79.5 * share, rel=0.02)
    # The logarithm of an exponential distribution of mean 1 has the mean -0.5772 (Euler's number).
    assert found["flatness"] == pytest.approx(-0.5772 * 10 / np.log(10), abs=0.05)
    assert found["alpha_ratio"] == pytest.approx(10 * np.log10(950 / 4000), abs=0.2)
    assert found["zero_crossings"] == pytest.approx(8000, rel=0.02)
    assert abs(found["slope_500_1500"]) < 1


def test_ratios_of_two_tones():
    found = describe(tone(500) + 0.1 * tone(3000))
    assert_allclose(found["alpha_ratio"], 20, atol=0.1)
    assert_allclose(found["hammarberg"], 20, atol=0.3)


def test_slopes_of_a_pulse_with_a_straight_spectrum():
    level = -20 * np.fft.rfftfreq(16000, 1 / RATE) / 1000  # dB: -20 per kHz
    clip = np.roll(np.fft.irfft(10 ** (level / 20)), 8000)  # in the middle of frame 50
    found = {name: row[48] for name, row in describe(clip).items()}
    assert found["slope_50_500"] == pytest.approx(-20, rel=0.1)
    assert found["slope_500_1500"] == pytest.approx(-20, rel=0.05)


@pytest.mark.parametrize("f0", [110, 200, 330])
def test_levels_of_the_harmonics(vowel, f0):
    found = describe(vowel(f0, amplitudes=(1, 0.5, 0.1)))
    assert_allclose(found["h1_h2"], 6.02, atol=0.5)
    assert_allclose(found["h1_h3"], 20, atol=1)


def test_flux_is_that_of_the_shape():
    rising = np.linspace(0.1, 1, RATE) * tone(1000)
    assert describe(rising + 1e-3 * tone(100))["flux"][1:].max() < 0.5
    changing = np.concatenate([tone(1000), tone(3000)])
    flux = describe(changing)["flux"]
    assert flux[94:104].max() > 20 * np.median(flux)


# ------------------------------------------------------------------------------- references


def pyin_share(clips):
    """Share of frames voiced by both whose pitch is within half a semitone, and both's seconds."""
    start = time.process_time()
    ours = VoiceDescriptors().fit_transform(clips)
    middle = time.process_time()
    # Frames as long as ours: longer ones average the pitch over its movement.
    settings = {"fmin": 60, "fmax": 600, "sr": RATE, "hop_length": 160, "frame_length": 640}
    theirs = [librosa.pyin(np.asarray(clip), **settings) for clip in clips]
    stop = time.process_time()
    errors = [
        (sequences[0] - semitones(f0))[is_voiced & (sequences[NAMES.index("voiced")] > 0)]
        for sequences, (f0, is_voiced, _) in zip(ours, theirs, strict=True)
    ]
    errors = np.abs(np.concatenate(errors))
    return (errors < 0.5).mean(), (errors > 6).mean(), middle - start, stop - middle


def test_pitch_of_spoken_digits_is_that_of_pyin():
    digits = load_spoken_digits()
    clips = [resample(np.asarray(x), digits.sample_rate, RATE) for x in digits.data[::40]]
    share, octaves, _, _ = pyin_share(clips)
    assert share > 0.9
    assert octaves < 0.02


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*converted:UserWarning")
def test_pitch_of_recorded_digits_is_that_of_pyin_at_ten_times_its_speed(recordings):
    files = pd.read_csv(recordings / "fsdd.csv")["file"][::60]
    clips = AudioLoader(sample_rate=RATE).fit_transform([recordings / file for file in files])
    pyin_share(clips[:2])  # what is compiled at the first call
    share, octaves, seconds, seconds_of_pyin = pyin_share(clips)
    assert share > 0.9
    assert octaves < 0.01
    assert seconds_of_pyin > 10 * seconds


# -------------------------------------------------------------------------------- bad input

SILENCE = {
    "f0": semitones(600), "hnr": 10 * np.log10(0.01 / 0.99), "energy": -100, "centroid": 4000,
    "spread": 7950 / np.sqrt(12), "rolloff_25": 2037, "rolloff_50": 4025, "rolloff_75": 6012,
    "rolloff_90": 7205, "alpha_ratio": 10 * np.log10(950 / 4000), "hammarberg": 0, "flux": 0,
    "slope_50_500": 0, "slope_500_1500": 0, "flatness": 0, "zero_crossings": 0, "h1_h2": 0,
    "h1_h3": 0, "voiced": 0, "speech": 0,
}  # fmt: skip


@pytest.mark.parametrize("n_samples", [1, 300, 8000])
def test_silence_is_faint_white_noise(n_samples):
    sequences = VoiceDescriptors().fit_transform(np.zeros((1, n_samples)))[0]
    for name, row in zip(NAMES, sequences, strict=True):
        assert_allclose(row, SILENCE[name], rtol=0.02, atol=0.01, err_msg=name)


@pytest.mark.parametrize("n_samples", [1, 2, 159, 160, 639, 640, 5000])
def test_every_clip_is_finite(vowel, n_samples):
    clips = [noise(n_samples), np.eye(1, n_samples, n_samples // 2)[0], np.ones(n_samples),
             np.clip(50 * vowel(120)[:n_samples], -1, 1), 1e-9 * noise(n_samples),
             1e9 * noise(n_samples)]  # fmt: skip
    for sequences in VoiceDescriptors().fit_transform(clips):
        assert sequences.shape == (20, 1 + n_samples // 160)
        assert np.isfinite(sequences).all()


def test_a_click_is_no_voice():
    found = describe(np.eye(1, 8000, 4000)[0])
    assert not found["voiced"].any()
    assert found["speech"].sum() <= 4


# ----------------------------------------------------------------------------------- forms


def test_alone_in_company_and_in_threads_the_same_bits(vowel):
    clips = [vowel(f0, seconds=s, snr=10) for f0, s in ((90, 0.05), (200, 3), (300, 25), (150, 1))]
    together = VoiceDescriptors(n_jobs=2).fit_transform(clips)
    for clip, sequences in zip(clips, together, strict=True):
        assert_array_equal(VoiceDescriptors().fit_transform([clip])[0], sequences)


def test_a_higher_rate_describes_the_same_voice(vowel):
    clip = vowel(140, snr=40)
    found, higher = describe(clip), describe(resample(clip, RATE, 48000), 48000)
    for name in set(NAMES) - {"zero_crossings", "flux", "flatness"}:
        scale = max(np.abs(found[name]).max(), 300 if "rolloff" in name else 10)  # bins of 16 Hz
        assert_allclose(higher[name].mean(), found[name].mean(), atol=0.05 * scale, err_msg=name)


def test_frames_are_those_of_the_log_mel_spectrogram():
    for n_samples in (1, 1000, 1600, 16001):
        clip = np.zeros((1, n_samples))
        log_mel = LogMelSpectrogram(hop_length=160).fit_transform(clip)
        assert VoiceDescriptors().fit_transform(clip).shape[2] == log_mel.shape[2]


def test_names():
    assert len(NAMES) == len(set(NAMES)) == 20
    assert NAMES[:3] == ["f0", "hnr", "energy"]
    assert NAMES[-2:] == ["voiced", "speech"]


def test_low_sample_rates_are_refused():
    message = r"VoiceDescriptors expected at least 16000 Hz.*AudioLoader\(sample_rate=16000\)"
    with pytest.raises(ValueError, match=message):
        VoiceDescriptors(8000).fit(np.zeros((1, 9)))
