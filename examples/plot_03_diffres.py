"""
Fewer frames, chosen by what helps
==================================

A shorter hop resolves more and costs more. DiffRes scores the frames of a spectrogram, merges
the unimportant ones and keeps the important ones, so that the network after it has fewer frames
to process. How does that compare with a longer hop, or with plain pooling?

By default the bundled spoken digits are used, with a quarter of the voices held out for testing.
That takes some minutes on two cores, and less than one with ``--quick``, which trains too briefly
for its accuracies to mean anything. For the environmental sounds of ESC-10, point ``--data`` (or
the variable SKAUDIO_DATA) to a folder with a table ``esc10.csv`` of the columns file, label and
fold::

    python examples/plot_03_diffres.py --data DIR --folds 5
"""

import argparse
import os
import time
from functools import cache, partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold
from torch import nn

from skaudio import AudioClassifier, AudioLoader, LogMelSpectrogram
from skaudio.datasets import load_manifest, load_spoken_digits
from skaudio.layers import AvgPool, MaxPool
from skaudio.networks import DiffResNet, MTSNet
from skaudio.plots import ResolutionDisplay

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
parser.add_argument("--data", type=Path, default=os.environ.get("SKAUDIO_DATA"))
parser.add_argument("--folds", type=int, default=1, help="folds to test on, of 4 (ESC-10: 5)")
parser.add_argument("--epochs", type=int, default=None, help="30 for ESC-10, 6 for the digits")
parser.add_argument("--quick", action="store_true", help="2 epochs, every other digit")
args = parser.parse_args()

# %%
# The recordings
# --------------
# Digits are tested on voices, and ESC-10 on a fold, that the network was not trained on.

on_esc10 = args.data is not None and (Path(args.data) / "esc10.csv").exists()
if on_esc10:
    clips = load_manifest(Path(args.data) / "esc10.csv")
    sample_rate, group, n_folds = 16000, clips.fold, 5
    waveforms = AudioLoader(sample_rate=sample_rate).fit_transform(clips.data)
else:
    clips = load_spoken_digits()
    sample_rate, group, n_folds = clips.sample_rate, clips.speaker, 4
    waveforms = clips.data
label = np.asarray(clips.target)
epochs = args.epochs or (2 if args.quick else 30 if on_esc10 else 6)
splits = list(GroupKFold(n_folds).split(label, label, group))[: args.folds]
if args.quick:
    splits = [(train[::2], test) for train, test in splits]
print(f"{'ESC-10' if on_esc10 else 'Spoken digits'}: {len(label)} clips, {epochs} epochs")

# %%
# The methods
# -----------
# All of them are followed by the same network. The pooling layers take the mean or the maximum
# of a fixed number of frames. Any callable that builds a torch module is accepted as a network, so
# that a few lines put a pooling layer in front of another network.


class Pooled(nn.Module):
    """A network on pooled frames."""

    def __init__(self, pool, network):
        super().__init__()
        self.pool, self.network = pool, network

    def forward(self, x, lengths=None):
        pooled = self.pool(x.squeeze(1).transpose(1, 2), lengths)
        left = None if lengths is None else pooled["lengths"]
        return self.network(pooled["feature"].transpose(2, 3), left)


def pool_first(layer, rate, n_bands, n_outputs, n_frames=None, n_channels=1):
    pool = layer(n_frames or 1000, n_bands, rate)
    return Pooled(pool, MTSNet().build(n_bands, n_outputs))


methods = [("fixed hop", 10, 0, MTSNet())]
for rate in (0.25, 0.5, 0.75):
    methods += [
        ("fixed hop", 10 / (1 - rate), 0, MTSNet()),
        ("average pooling", 10, rate, partial(pool_first, AvgPool, rate)),
        ("maximum pooling", 10, rate, partial(pool_first, MaxPool, rate)),
        ("DiffRes", 10, rate, DiffResNet(rate)),
    ]

# %%
# A hop of one millisecond is too expensive for most networks: ten times the frames, ten times the
# time. DiffRes scores all of them, but passes on a tenth. (ESC-10's clips are ten times as long,
# so its fine hop is 4 ms.)

fine, rate = (4, 0.6) if on_esc10 else (1, 0.9)
methods += [
    ("fixed hop", fine, 0, MTSNet()),
    ("average pooling", fine, rate, partial(pool_first, AvgPool, rate)),
    ("DiffRes", fine, rate, DiffResNet(rate)),
]

# %%
# One row each
# ------------
# The time is that of training, without computing features; the accuracy is over all clips of the
# folds. With one fold and one seed, a difference of a few hundredths is not significant.


@cache
def log_mels(hop_ms):
    hop_length = round(hop_ms / 1000 * sample_rate)
    return LogMelSpectrogram(sample_rate=sample_rate, hop_length=hop_length).fit_transform(
        waveforms
    )


def evaluate(network, X):
    """Accuracy, and seconds of training per fold."""
    right, seconds = [], 0.0
    for train, test in splits:
        model = AudioClassifier(network, max_epochs=epochs, random_state=0)
        start = time.perf_counter()
        model.fit([X[i] for i in train], label[train])
        seconds += time.perf_counter() - start
        right += list(model.predict([X[i] for i in test]) == label[test])
    return float(np.mean(right)), seconds / len(splits), model


# The first fit of a process takes longer, as torch initialises itself: do not measure it.
AudioClassifier(max_epochs=1).fit(log_mels(10)[::10], label[::10])

print("\n| method | hop (ms) | frames kept (%) | frames a second | accuracy | training (s) |")
print("|---|---|---|---|---|---|")
rows, models = [], {}
for method, hop, rate, network in methods:
    X = log_mels(hop)
    accuracy, seconds, models[method, hop, rate] = evaluate(network, X)
    per_second = (1 - rate) * 1000 / hop
    rows.append((method, hop, rate, per_second, accuracy, seconds))
    print(
        f"| {method} | {hop:.3g} | {100 * (1 - rate):.0f} | {per_second:.0f} | {accuracy:.3f} "
        f"| {seconds:.1f} |",
        flush=True,
    )
table = pd.DataFrame(
    rows, columns=["method", "hop", "rate", "frames a second", "accuracy", "training (s)"]
)

# %%
# Accuracy and time against the number of frames
# ----------------------------------------------
# On the left, each method at a hop of 10 ms, with fewer and fewer frames that reach the network;
# crosses are the results with the fine hop. On the right, the frames of one clip that DiffRes kept.

mpl.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

figure = plt.figure(figsize=(14, 9))
left, right = figure.subfigures(1, 2)
axes = left.subplots(2, 1, sharex=True)
for colour, (method, part) in zip(
    ("C7", "C0", "C1", "C3"), table.groupby("method", sort=False), strict=True
):
    coarse, finer = part[part["hop"] >= 10].sort_values("frames a second"), part[part["hop"] < 10]
    for ax, column in zip(axes, ("accuracy", "training (s)"), strict=True):
        ax.plot(coarse["frames a second"], coarse[column], "o-", color=colour, label=method)
        ax.plot(finer["frames a second"], finer[column], "x", color=colour, ms=9, mew=2)
        ax.set(ylabel=column, xscale="log")
axes[0].plot([], [], "kx", label=f"hop of {fine} ms")
axes[0].legend()
axes[1].set(xlabel="frames a second that reach the network", ylim=(0, None))
axes[1].set_xticks(marks := [25, 50, 100, 1000 // fine], [str(mark) for mark in marks], minor=False)
axes[1].xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
left.subplots_adjust(top=0.97, bottom=0.06, hspace=0.1)
test_clip = splits[-1][1][0]
ResolutionDisplay.from_estimator(models["DiffRes", 10, 0.75], log_mels(10)[test_clip], figure=right)

results = Path("results")
results.mkdir(exist_ok=True)
figure.savefig(results / "diffres.png", dpi=120)
print(f"\nthe figure is in {results}/diffres.png")
