import numpy as np
import pytest

RATE = 16000


def make_vowel(f0, *, seconds=1.0, rate=RATE, jitter=0.0, snr=None, amplitudes=None, seed=0):
    """Sum the harmonics of a pitch, number or array of one value per sample, up to 7 kHz.

    `jitter` is the deviation of single periods, `snr` that of white noise in dB. By default the
    harmonics fall by 12 dB an octave, raised around 700 and 1200 Hz.
    """
    rng = np.random.default_rng(seed)
    f0 = np.broadcast_to(np.asarray(f0, dtype=float), round(seconds * rate))
    cycles = np.cumsum(f0) / rate
    if jitter:  # each whole cycle begins a little early or late
        starts = np.arange(np.ceil(cycles[-1]) + 1)
        cycles = np.interp(cycles, starts + jitter * rng.standard_normal(len(starts)), starts)
    clip = np.zeros_like(cycles)
    for k in range(1, int(7000 / f0.max()) + 1) if amplitudes is None else range(1, 4):
        level = _formants(k * f0.mean()) / k**2 if amplitudes is None else amplitudes[k - 1]
        clip += level * np.cos(2 * np.pi * k * cycles + k * k)
    clip *= 0.1 / np.sqrt(np.square(clip).mean())
    if snr is not None:
        clip += 0.1 * 10 ** (-snr / 20) * rng.standard_normal(len(clip))
    return clip.astype(np.float32)


def _formants(f):
    return sum(1 / (0.2 + ((f - centre) / 150) ** 2) for centre in (700, 1200)) + 0.3


@pytest.fixture(scope="session")
def vowel():
    return make_vowel
