"""
Hear and see augmentations
==========================

What training clips are changed into, written to WAV files and drawn. Takes a few seconds and
needs no download.
"""

# %%
# A recording
# -----------
# One word of the bundled corpus, as a batch of one clip.

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import soundfile
import torch

from skaudio import LogMelSpectrogram
from skaudio.augmentation import (
    AdditiveNoise,
    PitchShift,
    RandomFilter,
    Reverberation,
    SpeedChange,
    make_one_of,
    preset,
)
from skaudio.datasets import load_spoken_digits

clips = load_spoken_digits()
rate = clips.sample_rate
word = np.flatnonzero(clips.target == "seven")[0]
clip = torch.from_numpy(np.asarray(clips.data[word], np.float32))[None]

# %%
# Augmentations
# -------------
# Each is an object that draws its random numbers from a generator. Rooms and background noise
# may be your own recordings; here a room is noise that dies away in a quarter of a second.

time = np.arange(rate // 2) / rate
room = np.random.default_rng(0).normal(size=len(time)) * np.exp(-time / 0.06)
room[0] = 10  # the direct sound

augmentations = {
    "as it was": None,
    "played faster": SpeedChange((1.25, 1.25)),
    "played slower": SpeedChange((0.8, 0.8)),
    "four semitones higher": PitchShift((4, 4)),
    "filtered": RandomFilter(max_gain_db=18),
    "in a room": Reverberation([room]),
    "noise or another pitch": make_one_of(AdditiveNoise((10, 10)), PitchShift((-4, -4))),
    "augmentation='voice'": preset("voice"),
}

# %%
# Write and draw
# --------------
# An augmentation that changes the length of clips returns the new lengths, too. In an estimator,
# the last of these is ``AudioClassifier(augmentation="voice", frontend=LogMelSpectrogram(...))``.

results = Path("results") / "augmentation"
results.mkdir(parents=True, exist_ok=True)
mpl.use("Agg")
figure, axes = plt.subplots(2, 4, figsize=(14, 6), sharex=True, sharey=True)
log_mel = LogMelSpectrogram(sample_rate=rate)

for axis, (name, augmentation) in zip(axes.flat, augmentations.items(), strict=True):
    changed = clip
    if augmentation is not None:
        generator = torch.Generator().manual_seed(0)
        changed = augmentation.apply(clip, generator, domain="waveform", sample_rate=rate)
        if isinstance(changed, tuple):
            changed, lengths = changed
    waveform = changed[0].numpy()
    soundfile.write(results / f"{name.replace(' ', '_').replace(chr(39), '')}.wav", waveform, rate)
    picture = log_mel.fit_transform([waveform])[0]
    seconds = len(waveform) / rate
    axis.imshow(picture, origin="lower", aspect="auto", extent=(0, seconds, 0, len(picture)))
    axis.set_title(name)
    print(f"{name}: {seconds:.2f} s")

for axis in axes[-1]:
    axis.set_xlabel("time (s)")
axes[0, 0].set_ylabel("mel band")
axes[0, 0].set_xlim(0, 1.25 * clip.shape[1] / rate)
figure.tight_layout()
figure.savefig(results / "augmentations.png", dpi=150)
