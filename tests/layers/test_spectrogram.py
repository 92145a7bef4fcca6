import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from numpy.testing import assert_allclose

from skaudio import features, layers

RATE = 16000
NAMES = ["LogMelSpectrogram", "MFCC", "PitchSalience", "Spectrogram", "StackedFeatures"]
LOG_MEL = features.LogMelSpectrogram(hop_length=160)
STACK = [("mel", LOG_MEL), ("pitch", features.PitchSalience())]
SETTINGS = [
    ("LogMelSpectrogram", {}),
    ("LogMelSpectrogram", {"n_fft": 1000, "hop_length": 300, "win_length": 700, "center": False}),
    ("LogMelSpectrogram", {"n_fft": 513, "htk": True, "norm": None, "ref": "max", "top_db": 60}),
    ("LogMelSpectrogram", {"log": "ln", "triangles": "mel", "power": 1.0}),
    ("LogMelSpectrogram", {"log": None}),
    ("LogMelSpectrogram", {"ref": 2.0, "top_db": None, "pad_mode": "reflect"}),
    ("LogMelSpectrogram", {"pad_mode": "symmetric"}),
    ("LogMelSpectrogram", {"top_db": 45, "subtract_clip_mean": True}),
    ("LogMelSpectrogram", {"pad_mode": "edge"}),
    ("MFCC", {"deltas": 2, "lifter": 22}),
    ("MFCC", {"dct_type": 3, "norm": None, "center": False, "deltas": 1, "delta_width": 5}),
    ("MFCC", {"log": "ln", "eps": 1e-4, "deltas": 1}),
    ("Spectrogram", {"power": 2 / 3, "n_fft": 1024, "hop_length": 512}),
    ("Spectrogram", {}),
    ("PitchSalience", {}),
    ("PitchSalience", {"hop_length": 101, "n_lags": 7, "fmin": 100.0, "win_length": 403}),
    ("StackedFeatures", {"transformers": STACK}),
    ("StackedFeatures", {"transformers": STACK, "average": 2}),
    (
        "StackedFeatures",
        {
            "transformers": [
                ("mfcc", features.MFCC(pad_mode="edge", log="ln")),
                ("mel", features.LogMelSpectrogram()),
            ],
            "average": 3,
        },
    ),
]


def pair(name, settings):
    settings = {"transformers": STACK} | settings if name == "StackedFeatures" else settings
    transformer = getattr(features, name)(**settings)
    layer = getattr(layers, transformer.layer_name)
    return transformer, layer(**transformer.layer_arguments())


def clips(n_samples=RATE):
    """Noise, a tone, a tone that fades, and silence."""
    rng, seconds = np.random.default_rng(0), np.arange(n_samples) / RATE
    tone = 0.5 * np.sin(2 * np.pi * 203.3 * seconds)
    noise = 0.1 * rng.standard_normal(n_samples)
    return np.stack([noise, tone, tone * np.exp(-5 * seconds), 0 * tone]).astype(np.float32)


def tolerance(name, reference):
    return 1e-3 if name != "Spectrogram" else 1e-5 * np.abs(reference).max()


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=str)
def test_numbers_are_those_of_the_transformer(name, settings):
    transformer, layer = pair(name, settings)
    expected = transformer.transform(clips())
    out = layer(torch.from_numpy(clips()))
    assert out.dtype == torch.float32
    assert_allclose(out, expected, atol=tolerance(name, expected))


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=str)
def test_frames_of_a_padded_clip_are_those_of_the_clip_alone(name, settings):
    transformer, layer = pair(name, settings)
    lengths = [RATE, 7000, 300, 1]
    batch = torch.from_numpy(clips())
    out = layer(batch, torch.tensor(lengths))
    for clip, n_samples, feature in zip(batch, lengths, out, strict=True):
        alone = transformer.transform([clip[:n_samples].numpy()])[0]
        assert alone.shape[1] == layer.n_frames(n_samples)
        assert_allclose(feature[:, : alone.shape[1]], alone, atol=tolerance(name, alone))


@pytest.mark.parametrize("average", [1, 2, 3])
def test_stacked_padding_is_silence(average):
    _, layer = pair("StackedFeatures", {"average": average})
    batch = torch.zeros(2, RATE)
    batch[:, :5000] = torch.from_numpy(clips(5000)[1])
    padded, end = layer(batch, torch.tensor([RATE, 5000])), layer.n_frames(5000)
    assert_allclose(padded[1, :, end:], padded[0, :, end:], atol=1e-4)


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=str)
@pytest.mark.parametrize("n_samples", [1, 2, 300, 511, 512, 513, 3000])
def test_a_clip_may_be_padded_to_its_padded_length(name, settings, n_samples):
    transformer, layer = pair(name, settings)
    padded_length = layer.padded_length(n_samples)
    assert padded_length >= n_samples
    assert layer.padded_length(padded_length) == padded_length
    clip = clips(n_samples)[1]
    padded = np.pad(clip, (0, padded_length - n_samples))
    expected, out = transformer.transform([clip])[0], layer(torch.from_numpy(padded)[None])[0]
    assert out.shape == expected.shape
    assert_allclose(out, expected, atol=tolerance(name, expected))


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=str)
def test_a_batch_equals_its_clips_one_by_one(name, settings):
    _, layer = pair(name, settings)
    batch = torch.from_numpy(clips(4000))
    assert_allclose(layer(batch), torch.cat([layer(clip[None]) for clip in batch]), atol=1e-5)


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=str)
def test_gradients_are_finite_on_silence_and_right_elsewhere(name, settings):
    _, layer = pair(name, settings)
    waveform = torch.from_numpy(clips(2000)).requires_grad_()
    layer(waveform).square().sum().backward()
    assert torch.isfinite(waveform.grad).all()
    assert waveform.grad[0].abs().max() > 0


def test_gradient_against_finite_differences():
    settings = {"n_fft": 16, "n_mels": 3, "fmin": 1000.0, "norm": None, "top_db": None}
    _, layer = pair("LogMelSpectrogram", settings)
    waveform = torch.from_numpy(clips(20)[:2]).double().requires_grad_()
    assert layer(waveform).dtype == torch.float64
    assert torch.autograd.gradcheck(layer, waveform)


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=str)
@pytest.mark.parametrize("n_samples", [1, 511, 512, 513, 4000])
def test_frames_are_counted(name, settings, n_samples):
    _, layer = pair(name, settings)
    n_frames = layer(torch.zeros(1, n_samples)).shape[2]
    assert layer.n_frames(n_samples) == n_frames
    assert layer.n_frames(np.array([n_samples, 1])).tolist() == [n_frames, layer.n_frames(1)]
    assert layer.n_frames(torch.tensor([n_samples])).tolist() == [n_frames]


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=str)
def test_bands_are_counted(name, settings):
    _, layer = pair(name, settings)
    assert type(layer.n_bands) is int
    assert layer.n_bands == layer(torch.zeros(1, 600)).shape[1]


def test_autocast_changes_nothing():
    for name in NAMES:
        _, layer = pair(name, {})
        waveform = torch.from_numpy(clips(3000))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = layer(waveform)
        assert out.dtype == torch.float32
        assert torch.equal(out, layer(waveform))


def test_half_precision_waveforms_give_single_precision_features():
    _, layer = pair("LogMelSpectrogram", {})
    assert layer(torch.from_numpy(clips(3000)).half()).dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
def test_constants_stay_out_of_the_state(name):
    _, layer = pair(name, {})
    assert not layer.state_dict()
    assert not list(layer.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_recordings(recordings, name):
    transformer, layer = pair(name, {})
    for file in pd.read_csv(recordings / "emodb.csv")["file"][::60]:
        clip = soundfile.read(recordings / file, dtype="float32")[0]
        expected = transformer.transform([clip])[0]
        out = layer(torch.from_numpy(clip)[None])[0]
        assert_allclose(out, expected, atol=tolerance(name, expected))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=str)
def test_gpu(name, settings):
    transformer, layer = pair(name, settings)
    expected = transformer.transform(clips())
    layer = layer.to("cuda")
    lengths = torch.full((4,), RATE, device="cuda")
    with torch.autocast("cuda", dtype=torch.float16):
        for arguments in ((), (lengths,)):
            out = layer(torch.from_numpy(clips()).to("cuda"), *arguments)
            assert_allclose(out.cpu(), expected, atol=tolerance(name, expected))
