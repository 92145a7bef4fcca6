"""Damaged sound files, checkpoints and cache entries: good results or a proper error."""

import json
import shutil
import struct
import warnings

import numpy as np
import pytest
import soundfile
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback

from skaudio import AudioClassifier, AudioLoader, FeatureCache, LogMelSpectrogram
from skaudio.datasets import make_chirps
from skaudio.exceptions import SkaudioWarning
from skaudio.networks import MTSNet

pytestmark = pytest.mark.slow

N_FILES = 1000
N_CHECKPOINTS = 100
N_ENTRIES = 100

EXTREMES = (0, 1, 0x7FFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


def flip_bits(data, rng):
    """Invert 1 to 20 bits, in half of the cases within the first 64 bytes."""
    changed = bytearray(data)
    end = min(64, len(data)) if rng.random() < 0.5 else len(data)
    for position in rng.integers(end, size=rng.integers(1, 21)):
        changed[position] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def truncate(data, rng):
    """Cut the end off, down to nothing."""
    return data[: int(rng.integers(len(data)))]


def insert(data, rng):
    """Insert 1 to 64 random bytes anywhere."""
    position = int(rng.integers(len(data) + 1))
    return data[:position] + rng.bytes(int(rng.integers(1, 65))) + data[position:]


def empty(data, rng):
    """Remove all."""
    return b""


ANY_FILE = (flip_bits, truncate, insert, empty)


def lie_about_length(data, rng):
    """Write an extreme number into a field that says how much there is, or at which rate."""
    value = int(rng.choice(EXTREMES)) if rng.random() < 0.7 else int(rng.integers(2**32))
    if data.startswith(b"OggS"):
        return _lie_in_ogg(data, value, rng)
    position, layout = _field(data, rng)
    size = struct.calcsize(layout)
    return data[:position] + struct.pack(layout, value) + data[position + size :]


SOUND_FILE = (flip_bits, truncate, insert, lie_about_length)


def _field(data, rng):
    if data.startswith(b"RIFF"):  # size of the file, rate, bytes a second, samples
        fields = [4, 24, 28, data.index(b"data") + 4]
        return int(rng.choice(fields)), "<I"
    if data.startswith(b"fLaC"):  # STREAMINFO: rate (20 bits) and so on; low 32 bits of samples
        return int(rng.choice([18, 22])), ">I"
    for mark in (b"Xing", b"Info", b"LAME"):  # MP3: frames, bytes
        if mark in data:
            return data.index(mark) + int(rng.choice([8, 12])), ">I"
    return int(rng.integers(len(data) - 4)), ">I"


def _lie_in_ogg(data, value, rng):
    """Change the position that a page claims, which is the length where the page is the last.

    The page's checksum is corrected: with a wrong one the page would be skipped.
    """
    pages = [i for i in range(len(data) - 27) if data[i : i + 4] == b"OggS"]
    start = pages[-1] if rng.random() < 0.7 else int(rng.choice(pages))
    later = [page for page in pages if page > start]
    end = later[0] if later else len(data)
    page = bytearray(data[start:end])
    shift = int(rng.choice([0, 20, 31]))
    page[6:14] = struct.pack("<Q", (value << shift) & (2**64 - 1))
    page[22:26] = bytes(4)
    page[22:26] = struct.pack("<I", _ogg_checksum(page))
    return data[:start] + bytes(page) + data[end:]


def _ogg_checksum(page):
    # CRC-32 with the polynomial 0x04c11db7, without reflection, starting from 0 (RFC 3533).
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (0x04C11DB7 if crc & 0x80000000 else 0)
        crc &= 0xFFFFFFFF
    return crc


FORMATS = [
    ("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "FLOAT"), ("flac", "PCM_16"),
    ("mp3", "MPEG_LAYER_III"), ("ogg", "VORBIS"), ("opus", "OPUS"),
]  # fmt: skip


def sound(n_channels, sample_rate, rng):
    """A third of a second of tones in noise, which no codec makes very small."""
    seconds = np.arange(sample_rate // 3) / sample_rate
    tones = 0.3 * np.sin(2 * np.pi * np.array([[440.0], [880.0]])[:n_channels] * seconds)
    return (tones + 0.05 * rng.standard_normal(tones.shape)).T


def whole_files(folder, rng):
    """Sound files of every format, by suffix and bytes."""
    files = []
    for suffix, subtype in FORMATS:
        for n_channels in (1, 2):
            path = folder / f"whole.{suffix}"
            rate = int(rng.choice([8000, 16000, 48000]))
            container = "OGG" if suffix == "opus" else suffix.upper()
            samples = sound(n_channels, rate, rng)
            soundfile.write(path, samples, rate, format=container, subtype=subtype)
            files.append((suffix, path.read_bytes()))
    return files


def test_sound_files(tmp_path, rng, run):
    files = whole_files(tmp_path, rng)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for i in range(N_FILES):
        suffix, data = files[i % len(files)]
        damage = SOUND_FILE[int(rng.integers(len(SOUND_FILE)))]
        name = f"{i:04d}_{damage.__name__}.{suffix}"
        (damaged / name).write_bytes(damage(data, rng))
    run("read", damaged, tmp_path / "result.json")
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["good"] + result["bad"] == N_FILES
    assert min(result["good"], result["bad"]) > N_FILES // 10  # both were put to the test
    assert not result["wrong"], "\n".join(result["wrong"])


class PowerCut(Exception):
    """What ends a training in the middle."""


class CutAfter(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise PowerCut


def train(folder, callbacks=None):
    X, y = make_chirps(24, duration=0.1, random_state=0)
    X = LogMelSpectrogram(sample_rate=8000, n_mels=16).fit_transform(X)
    model = AudioClassifier(
        MTSNet(n_filters=(4,)), max_epochs=6, batch_size=8, random_state=0,
        checkpoint_dir=folder, callbacks=callbacks,
    )  # fmt: skip
    model.fit(X, y)
    weights = model.net_.module_.state_dict()
    return {
        "proba": model.predict_proba(X),
        "loss": model.history_["train_loss"].to_numpy(),
        **{name: value.numpy() for name, value in weights.items()},
    }


def damage_some(folder, rng):
    """Damage one file of a folder or several; say how."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    chosen = rng.permutation(len(files))[: rng.integers(1, len(files) + 1)]
    done = []
    for i in chosen:
        damage = ANY_FILE[int(rng.integers(len(ANY_FILE)))]
        files[i].write_bytes(damage(files[i].read_bytes(), rng))
        done.append(f"{damage.__name__} on {files[i].name}")
    return ", ".join(done)


def trials(n, folder, original, rng):
    """Copies of a folder, each damaged in another way."""
    for i in range(n):
        copy = folder / f"copy_{i:03d}"
        shutil.copytree(original, copy)
        yield copy, damage_some(copy, rng)
        shutil.rmtree(copy)


def problems_of(attempts, assert_same_bits, expected):
    """Compare what each attempt computes with what was expected; list what is wrong."""
    problems = []
    for compute, how in attempts:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SkaudioWarning)  # of the damage
                assert_same_bits(compute(), expected)
        except Exception as error:
            problems.append(f"{how}: {type(error).__name__}: {str(error)[:200]}")
    return problems


def test_checkpoints(tmp_path, rng, assert_same_bits):
    expected = train(tmp_path / "undisturbed")
    with pytest.raises(PowerCut):
        train(tmp_path / "cut", callbacks=[CutAfter(4)])
    attempts = (
        (lambda copy=copy: train(copy), how)
        for copy, how in trials(N_CHECKPOINTS, tmp_path, tmp_path / "cut", rng)
    )
    problems = problems_of(attempts, assert_same_bits, expected)
    assert not problems, "\n".join(problems)


def test_cache_entries(tmp_path, rng, assert_same_bits):
    paths = [str(tmp_path / f"{i}.wav") for i in range(6)]
    for path in paths:
        soundfile.write(path, sound(1, 8000, rng), 8000)
    steps = make_pipeline(AudioLoader(sample_rate=8000), LogMelSpectrogram(sample_rate=8000))

    def features(location):
        clips = FeatureCache(steps, location).fit_transform(paths)
        return {f"clip_{i}": clip for i, clip in enumerate(clips)}

    expected = features(tmp_path / "cache")
    attempts = (
        (lambda copy=copy: features(copy), how)
        for copy, how in trials(N_ENTRIES, tmp_path, tmp_path / "cache", rng)
    )
    problems = problems_of(attempts, assert_same_bits, expected)
    assert not problems, "\n".join(problems)
