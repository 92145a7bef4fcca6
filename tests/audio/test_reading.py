from pathlib import Path

import numpy as np
import pytest
import soundfile

from skaudio.audio import SUFFIXES, AudioInfo, probe, read
from skaudio.exceptions import AudioFormatError, SampleRateError

RATE = 16000
# What each way of storing sound loses, at most.
FORMATS = {
    "pcm16.wav": ({"subtype": "PCM_16"}, 1 / 32768),
    "float.wav": ({"subtype": "FLOAT"}, 0.0),
    "mulaw.wav": ({"subtype": "ULAW"}, 0.02),
    "clip.flac": ({}, 1 / 32768),
    "clip.aiff": ({}, 1 / 32768),
    "clip.ogg": ({}, 0.1),
    "clip.opus": ({"format": "OGG", "subtype": "OPUS"}, 0.1),
    "clip.mp3": ({}, 0.1),
}


def melody(seconds=3.0, rate=RATE):
    t = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * (200 + 150 * t) * t)).astype(np.float32)


@pytest.fixture(params=FORMATS)
def stored(request, tmp_path):
    """A file of each format, what it was made from, and the error allowed."""
    options, tolerance = FORMATS[request.param]
    path, waveform = tmp_path / request.param, melody()
    soundfile.write(path, waveform, RATE, **options)
    return path, waveform, tolerance


@pytest.fixture
def wav(tmp_path):
    def write(waveform, rate=RATE, name="take_07.wav", **options):
        path = tmp_path / name
        soundfile.write(path, waveform, rate, **options)
        return path

    return write


def test_read_gives_what_was_written(stored):
    path, waveform, tolerance = stored
    result, rate = read(path)
    assert rate == RATE
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
    assert result.shape == waveform.shape
    last = len(waveform) - 100  # Opus has nothing to lean on at the very end
    np.testing.assert_allclose(result[:last], waveform[:last], atol=tolerance)


def test_probe_tells_what_read_finds(stored):
    path, _, _ = stored
    waveform, rate = read(path)
    assert probe(path) == AudioInfo(sample_rate=rate, n_samples=len(waveform), n_channels=1)
    assert probe(str(path)).duration == 3.0


@pytest.mark.parametrize(("offset", "duration"), [(0.0, 1.0), (1.25, 0.5), (2.9, 5.0), (0.3, None)])
def test_a_stretch_is_the_same_as_that_part_of_the_whole(stored, offset, duration):
    path, _, _ = stored
    whole, rate = read(path)
    stop = None if duration is None else round((offset + duration) * rate)
    part, _ = read(path, offset=offset, duration=duration)
    # Decoders of lossy formats carry state, which may differ in the last bit.
    np.testing.assert_allclose(part, whole[round(offset * rate) : stop], atol=1e-6)


def test_a_stretch_decodes_no_more_than_itself(wav, monkeypatch):
    path = wav(melody(60.0))
    asked = []
    original = soundfile.SoundFile.read

    def spy(self, frames=-1, **options):
        asked.append(frames)
        return original(self, frames, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", spy)
    read(path, offset=30.0, duration=0.5)
    assert asked == [RATE // 2]


@pytest.mark.parametrize("n_channels", [2, 6])
def test_channels_are_averaged(wav, n_channels):
    channels = np.random.default_rng(0).uniform(-1, 1, (500, n_channels)).astype(np.float32)
    path = wav(channels, subtype="FLOAT")
    np.testing.assert_allclose(read(path)[0], channels.mean(axis=1), atol=1e-6)
    assert probe(path).n_channels == n_channels


def test_rate_is_converted_only_when_asked(wav):
    path = wav(melody())
    assert read(path)[1] == RATE
    waveform, rate = read(path, sample_rate=8000)
    assert (len(waveform), rate) == (24000, 8000)
    waveform, rate = read(path, sample_rate=RATE)
    np.testing.assert_array_equal(waveform, read(path)[0])


def test_wrong_rate(wav):
    path = wav(melody(rate=44100), rate=44100)
    with pytest.raises(SampleRateError) as caught:
        read(path, expect_rate=16000)
    assert str(caught.value) == (
        f"{path}: recorded at 44100 Hz, expected 16000 Hz. "
        "Pass sample_rate=16000 to AudioLoader to convert while loading."
    )


def bad_files(folder):
    """Every kind of file that cannot be read, and what is said about it."""
    whole = folder / "whole.wav"
    soundfile.write(whole, melody(), RATE)
    content = whole.read_bytes()
    contents = {
        "empty.wav": (b"", r"is empty \(0 bytes\)"),
        "text.wav": (b"Dear diary, today I sang.\n" * 40, r"cannot be read \(.*\), expected WAV"),
        "no_header.raw": (content, r"cannot be read \(.*\), expected WAV"),
        "header_cut.wav": (content[:30], r"cannot be read \(.*\), expected WAV"),
        "truncated.wav": (
            content[: len(content) // 2],
            "truncated, holds 47978 bytes of samples, expected 96000 as its header says",
        ),
    }
    for name, (data, message) in contents.items():
        (folder / name).write_bytes(data)
        yield folder / name, message
    soundfile.write(folder / "silent.wav", np.zeros(0, np.float32), RATE)
    yield folder / "silent.wav", "holds no samples, expected at least one"
    (folder / "folder.wav").mkdir()
    yield folder / "folder.wav", "is a folder, expected a sound file"
    yield folder / "missing.wav", "no such file, expected a sound file. Check the spelling"


@pytest.mark.parametrize("function", [probe, read])
@pytest.mark.parametrize("kind", range(8))
def test_bad_files_are_named_with_the_reason(tmp_path, kind, function):
    path, message = list(bad_files(tmp_path))[kind]
    with pytest.raises(AudioFormatError, match=message) as caught:
        function(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("suffix", ["aiff", "au"])
def test_truncated_formats_that_promise_a_length(tmp_path, suffix):
    path = tmp_path / f"clip.{suffix}"
    soundfile.write(path, melody(), RATE)
    path.write_bytes(path.read_bytes()[:50000])
    with pytest.raises(AudioFormatError, match=r"truncated, holds .* bytes of samples, expected"):
        probe(path)


@pytest.mark.parametrize(
    ("suffix", "message"), [("flac", "damaged or truncated"), ("mp3", "truncated, ends after")]
)
def test_truncated_formats_that_show_when_decoded(tmp_path, suffix, message):
    path = tmp_path / f"clip.{suffix}"
    soundfile.write(path, melody(), RATE)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    with pytest.raises(AudioFormatError, match=message):
        read(path)


@pytest.mark.parametrize("promise", [0x7FFFF000, 0xFFFFFFFF])
def test_a_wav_written_into_a_pipe_does_not_know_its_length(wav, promise):
    path = wav(melody())
    content = bytearray(path.read_bytes())
    content[40:44] = promise.to_bytes(4, "little")
    path.write_bytes(content)
    assert len(read(path)[0]) == 3 * RATE


@pytest.mark.parametrize(("value", "name"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_samples_that_are_not_finite(wav, value, name):
    waveform = melody()
    waveform[RATE] = value
    path = wav(waveform, subtype="FLOAT")
    with pytest.raises(AudioFormatError, match=rf"take_07.wav: holds {name} at 1.000 s"):
        read(path)
    assert len(read(path, duration=1.0)[0]) == RATE


def test_infinities_that_cancel_are_found(wav):
    path = wav(np.array([0.0, np.inf, -np.inf], dtype=np.float32), subtype="FLOAT")
    with pytest.raises(AudioFormatError, match="holds inf at 0.000 s"):
        read(path)


def test_offset_past_the_end(wav):
    with pytest.raises(AudioFormatError, match=r"lasts 3\.000 s, expected more than the offset"):
        read(wav(melody()), offset=3.0)


@pytest.mark.parametrize("kwargs", [{"offset": -1.0}, {"duration": 0.0}])
def test_stretch_out_of_range(wav, kwargs):
    with pytest.raises(ValueError, match="expected seconds"):
        read(wav(melody()), **kwargs)


def test_a_relative_path_says_where_it_starts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AudioFormatError, match=f"^a.wav: no such file.* starts from {tmp_path}"):
        read("a.wav")


def test_errors_leave_no_file_open(tmp_path):
    fds = Path("/proc/self/fd")
    if not fds.exists():
        pytest.skip("counts open files in /proc")
    before = len(list(fds.iterdir()))
    for path, message in bad_files(tmp_path):
        with pytest.raises(AudioFormatError, match=message):
            read(path)
    assert len(list(fds.iterdir())) == before


def test_suffixes_cover_the_formats_that_people_have():
    assert {".wav", ".flac", ".ogg", ".mp3", ".aiff", ".opus"} <= SUFFIXES
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in SUFFIXES)


def test_real_recordings_are_read(recordings):
    waveform, rate = read(recordings / "esc10/audio/1-100032-A.ogg")
    assert rate == 44100
    assert len(waveform) / rate == pytest.approx(5.0, abs=0.01)
