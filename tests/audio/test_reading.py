import os
import socket
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from skaudio.audio import SUFFIXES, AudioInfo, Waveform, probe, read, resample, warn_of_upsampling
from skaudio.exceptions import AudioFormatError, SkaudioWarning

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
# The container that the end of a file's name stands for, by its name in soundfile.
CONTAINERS = {
    ".aif": "AIFF", ".aifc": "AIFF", ".aiff": "AIFF", ".au": "AU", ".caf": "CAF", ".flac": "FLAC",
    ".mp3": "MP3", ".oga": "OGG", ".ogg": "OGG", ".opus": "OGG", ".rf64": "RF64", ".snd": "AU",
    ".w64": "W64", ".wav": "WAV", ".wave": "WAV",
}  # fmt: skip


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
def test_a_part_is_that_part_of_the_whole(stored, offset, duration):
    path, _, _ = stored
    whole, rate = read(path)
    stop = None if duration is None else round((offset + duration) * rate)
    part, _ = read(path, offset=offset, duration=duration)
    # Decoders of lossy formats carry state, which may differ in the last bit.
    np.testing.assert_allclose(part, whole[round(offset * rate) : stop], atol=1e-6)


def test_a_part_decodes_no_more_than_itself(wav, monkeypatch):
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


def test_waveforms_remember_their_rate(wav):
    path = wav(melody())
    for sample_rate, expected in [(None, RATE), (8000, 8000)]:
        waveform, rate = read(path, sample_rate=sample_rate)
        assert isinstance(waveform, Waveform)
        assert waveform.sample_rate == rate == expected


@pytest.mark.parametrize("seconds", [1.0, 7.0])
@pytest.mark.parametrize("name", ["a.ogg", "a.opus", "a.mp3", "a.flac"])
def test_parts_begin_where_they_should_until_the_very_end(tmp_path, name, seconds):
    path = tmp_path / name
    options = {"format": "OGG", "subtype": "OPUS"} if name == "a.opus" else {}
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * RATE) + 77)
    soundfile.write(path, noise, RATE, **options)
    whole, _ = read(path)
    for start in (1, 500, *range(len(whole) - 9000, len(whole), 379), len(whole) - 1):
        part, _ = read(path, offset=start / RATE, duration=0.01)
        np.testing.assert_allclose(part, whole[start : start + 160], atol=1e-6)


# Conversion to another rate

RATES = (8000, 11025, 16000, 22050, 44100, 48000)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_a_converted_part_is_that_part_of_the_converted_whole(tmp_path, name, rate):
    rng = np.random.default_rng(rate)
    path = tmp_path / name
    soundfile.write(path, rng.uniform(-0.5, 0.5, round(2.5 * rate) + 7), rate)
    for to_rate in RATES:
        whole, _ = read(path, sample_rate=to_rate)
        np.testing.assert_array_equal(whole, resample(read(path)[0], rate, to_rate))
        assert len(whole) == probe(path).n_samples_at(to_rate)
        seconds = len(whole) / to_rate
        offsets = [0.0, 1 / to_rate, 0.001, 0.01, 1.0, *rng.uniform(0, seconds, 4), seconds - 0.01]
        for offset in offsets:
            for duration in (1 / to_rate, 0.001, 0.5, 1.3, 9.0, None):
                part, _ = read(path, offset=offset, duration=duration, sample_rate=to_rate)
                start = round(offset * to_rate)
                stop = None if duration is None else start + max(1, round(duration * to_rate))
                np.testing.assert_allclose(part, whole[start:stop], atol=3e-6)


@pytest.mark.parametrize(("rate", "to_rate"), [(44100, 44099), (47999, 16000)])
def test_rates_without_a_common_divisor(wav, rate, to_rate):
    path = wav(melody(rate=rate), rate=rate, subtype="FLOAT")
    whole, _ = read(path, sample_rate=to_rate)
    part, _ = read(path, offset=2.0, duration=0.5, sample_rate=to_rate)
    np.testing.assert_allclose(part, whole[2 * to_rate :][: len(part)], atol=1e-3)
    assert len(part) == round(0.5 * to_rate)


def test_conversion_decodes_little_more_than_the_part(wav, monkeypatch):
    path = wav(melody(60.0, rate=44100), rate=44100)
    asked = []
    original = soundfile.SoundFile.read

    def spy(self, frames=-1, **options):
        asked.append(frames)
        return original(self, frames, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", spy)
    read(path, offset=30.0, duration=0.5, sample_rate=16000)
    assert sum(asked) < 0.55 * 44100


def test_conversion_is_that_of_librosa(wav):
    path = wav(melody(rate=44100), rate=44100)
    samples, _ = soundfile.read(path, dtype="float32")
    expected = librosa.resample(samples, orig_sr=44100, target_sr=16000)  # as librosa.load does
    np.testing.assert_allclose(read(path, sample_rate=16000)[0], expected, atol=1e-6)


@pytest.mark.parametrize("sample_rate", [0, 16000.5, 1e6, np.nan])
def test_rates_to_convert_to(wav, sample_rate):
    path = wav(melody())
    message = "sample_rate is .*, but expected a whole number of Hz from 1 to 768000"
    with pytest.raises(ValueError, match=message):
        read(path, sample_rate=sample_rate)
    with pytest.raises(ValueError, match=message):
        probe(path).n_samples_at(sample_rate)


def test_a_rate_may_be_a_whole_float(wav):
    waveform, rate = read(wav(melody()), sample_rate=8000.0)
    assert (len(waveform), rate, type(rate)) == (24000, 8000, int)


def test_upsampling_is_warned_of_once():
    paths = ["a.wav", "b.wav", "c.wav", "d.wav"]
    with pytest.warns(SkaudioWarning) as caught:
        warn_of_upsampling(paths, [48000, 11025, 44100, 8000], 48000)
    (warning,) = caught
    assert str(warning.message) == (
        "2 of 4 clips are converted to 48000 Hz from a lower rate, such as b.wav from 11025 Hz: "
        "their bands above 5512.5 Hz are empty. Set sample_rate to the lowest rate of the clips, "
        "here 8000, in all steps, or lower fmax."
    )


@pytest.mark.parametrize("sample_rate", [8000, 16000, 44100, 48000])
def test_harmless_conversions_draw_no_warning(sample_rate):
    warn_of_upsampling(["a.wav", "b.wav"], [44100, 48000], sample_rate)


# Bad files


def bad_files(folder):
    """Every kind of file that cannot be read, and what is said about it."""
    whole = folder / "whole.wav"
    soundfile.write(whole, melody(), RATE)
    content = whole.read_bytes()
    contents = {
        "empty.wav": (b"", r"is empty \(0 bytes\)"),
        "text.wav": (b"Dear diary, today I sang.\n" * 40, r"cannot be read \(.*\), expected WAV"),
        "no_header.raw": (content[44:], r"cannot be read \(.*\), expected WAV"),
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


def flac_with(content, n_samples=None, rate=None):
    """Change the fields of a FLAC header: 20 bits rate, 8 bits format, 36 bits samples."""
    fields = int.from_bytes(content[18:26], "big")
    if n_samples is not None:
        fields = fields >> 36 << 36 | n_samples
    if rate is not None:
        fields = rate << 44 | fields & (1 << 44) - 1
    return content[:18] + fields.to_bytes(8, "big") + content[26:]


def ogg_checksum(page):
    """CRC-32 as Ogg has it: polynomial 0x04C11DB7, not reflected, starting from 0."""
    total = 0
    for byte in page:
        total ^= byte << 24
        for _ in range(8):
            total = (total << 1 ^ 0x04C11DB7 * (total >> 31)) & 0xFFFFFFFF
    return total


def ogg_with(content, n_samples):
    """Change the position that the last page claims to end at."""
    last = content.rfind(b"OggS")
    page = content[last : last + 6] + n_samples.to_bytes(8, "little") + content[last + 14 :]
    page = page[:22] + bytes(4) + page[26:]
    return content[:last] + page[:22] + ogg_checksum(page).to_bytes(4, "little") + page[26:]


def mp3_with(content, n_frames):
    """Change the number of frames that the header of the first frame claims."""
    place = max(content.find(b"Xing"), content.find(b"Info")) + 8
    return content[:place] + n_frames.to_bytes(4, "big") + content[place + 4 :]


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("a.flac", lambda c: flac_with(c, 2**36 - 1), r"says 68719476735 samples, expected no"),
        ("a.flac", lambda c: flac_with(c, 10**8), "expected 100000000 samples as its header"),
        ("a.flac", lambda c: flac_with(c, 0), "does not say how many samples .*: convert"),
        ("a.flac", lambda c: flac_with(c, rate=1), "a sample rate of 1 Hz, expected 1000 to"),
        ("a.ogg", lambda c: ogg_with(c, 2**62), r"says 4611686018427387904 samples, expected"),
        ("a.ogg", lambda c: ogg_with(c, 10**7), r"ends after \d+ samples, expected 10000000"),
        ("a.opus", lambda c: ogg_with(c, 2**62), r"says \d+ samples, expected no more than"),
        ("a.opus", lambda c: ogg_with(c, 10**7), r"ends after \d+ samples, expected \d+ as"),
        ("a.mp3", lambda c: mp3_with(c, 2**32 - 1), r"says \d+ samples, expected no more than"),
        ("a.mp3", lambda c: mp3_with(c, 1000), r"ends after \d+ samples, expected \d+ as"),
        ("a.mp3", lambda c: mp3_with(c, 2), "does not say how many samples"),
    ],
)
def test_lengths_and_rates_of_a_header_are_not_believed(tmp_path, name, damage, message):
    path = tmp_path / name
    options = {"format": "OGG", "subtype": "OPUS"} if name == "a.opus" else {}
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 3 * RATE), RATE, **options)
    path.write_bytes(damage(path.read_bytes()))
    for sample_rate in (None, 8000):
        with pytest.raises(AudioFormatError, match=message) as caught:
            read(path, sample_rate=sample_rate)
        assert str(caught.value).startswith(f"{path}: ")


def test_memory_of_a_damaged_file_is_that_of_its_samples(tmp_path, monkeypatch):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 3 * RATE), RATE)
    path.write_bytes(flac_with(path.read_bytes(), 5 * 10**8))
    asked = []
    original = soundfile.SoundFile.read

    def spy(self, frames=-1, **options):
        asked.append(frames)
        return original(self, frames, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", spy)
    with pytest.raises(AudioFormatError, match="expected 500000000 samples"):
        read(path)
    assert sum(asked) <= 2**21


def test_a_long_file_is_decoded_in_blocks(wav):
    waveform = np.random.default_rng(0).uniform(-1, 1, (2**20 + 5, 2)).astype(np.float32)
    path = wav(waveform, rate=48000, subtype="FLOAT")
    np.testing.assert_allclose(read(path)[0], waveform.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("rate", [999, 768001])
def test_rates_that_no_recording_has(wav, rate):
    path = wav(melody(), rate=rate)
    for function in (probe, read):
        with pytest.raises(AudioFormatError, match=f"rate of {rate} Hz, expected 1000 to 768000"):
            function(path)


def test_a_clip_too_short_for_one_sample_at_the_new_rate(wav):
    path = wav(np.ones(1), rate=48000)
    assert len(read(path)[0]) == 1
    with pytest.raises(
        AudioFormatError, match=r"take_07.wav: too short, 1 samples at 48000 Hz are less than one"
    ):
        read(path, sample_rate=8000)


def test_samples_too_large_to_be_resampled():
    samples = np.full(1000, 3.3e38, dtype=np.float32)
    samples[::2] *= -1
    with pytest.raises(AudioFormatError, match=r"holds samples of up to 3e\+38, too large to be r"):
        resample(samples, 44100, 48000)


# File names and what is no file


def test_names_that_are_not_utf_8(tmp_path):
    name = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    soundfile.write(name, melody(), RATE)
    path = os.fsdecode(name)
    assert len(read(path)[0]) == len(read(Path(path))[0]) == 3 * RATE
    Path(path).write_bytes(b"")
    with pytest.raises(AudioFormatError, match=r"caf\\xe9\.wav: is empty") as caught:
        read(path)
    str(caught.value).encode()


def test_long_names(tmp_path):
    folder = tmp_path
    for _ in range(6):  # longer than the names that libsndfile takes
        folder /= "d" * 200
    folder.mkdir(parents=True)
    with (folder / "a.wav").open("wb") as file:
        soundfile.write(file, melody(), RATE, format="WAV")
    assert len(read(folder / "a.wav")[0]) == 3 * RATE
    with pytest.raises(AudioFormatError, match=r"n\.wav: cannot be opened \(File name too long\)"):
        read(tmp_path / ("n" * 300 + ".wav"))
    with pytest.raises(AudioFormatError, match=r"cannot be opened \(.*null"):
        read(tmp_path / "a\0.wav")


def test_a_file_without_permission(wav):
    path = wav(melody())
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("needs a user who is not root")
    with pytest.raises(AudioFormatError, match=r"cannot be opened \(Permission denied\)"):
        read(path)


def test_what_would_be_waited_for_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.wav")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.wav")
        for path in ("pipe.wav", "socket.wav", "/dev/zero", "/dev/null"):
            for function in (probe, read):
                with pytest.raises(AudioFormatError, match=f"^{path}: is a pipe, socket or device"):
                    function(path)


def test_a_dash_is_a_file_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AudioFormatError, match="^-: no such file"):
        read("-")
    soundfile.write("dash.wav", melody(), RATE)
    Path("dash.wav").rename("-")
    assert len(read("-")[0]) == 3 * RATE


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
def test_part_out_of_range(wav, kwargs):
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


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_a_file_of_each_suffix_is_read(tmp_path, suffix):
    path, waveform = tmp_path / f"clip{suffix}", melody(1.0)
    subtype = "OPUS" if suffix == ".opus" else None
    soundfile.write(path, waveform, RATE, format=CONTAINERS[suffix], subtype=subtype)
    result, rate = read(path)
    assert rate == RATE
    assert result.shape == waveform.shape
    np.testing.assert_allclose(result[:-100], waveform[:-100], atol=0.1)  # as in FORMATS


def test_each_suffix_has_a_file_that_is_read():
    assert set(CONTAINERS) == SUFFIXES


def test_real_recordings_are_read(recordings):
    waveform, rate = read(recordings / "esc10/audio/1-100032-A.ogg")
    assert rate == 44100
    assert len(waveform) / rate == pytest.approx(5.0, abs=0.01)


@pytest.mark.parametrize("peak", [2e10, 3e38])
def test_samples_whose_power_would_overflow(tmp_path, peak):
    path = tmp_path / "loud.wav"
    soundfile.write(path, np.array([0.0, 0.5, -peak, 0.0]), 8000, subtype="FLOAT")
    with pytest.raises(
        AudioFormatError, match=r"loud.wav: holds -.*e\+.* finite samples, in \[-1, 1"
    ):
        read(path)
