"""
How small can a network be?
===========================

A model for a watch or a door bell has to be small and fast. Four networks are trained on the
bundled spoken digits, and tested on voices that they were not trained on: a plain convolutional
one, one with multi-time-scale kernels, a depthwise-separable one, and the latter after DiffRes,
which halves the number of frames first.

Takes about ten minutes on two cores; ``--quick`` takes less than one, and trains too briefly for
its recall to mean anything.
For the Free Spoken Digit Dataset, leaving out one speaker at a time, point ``--data`` to a folder
with a table ``fsdd.csv`` of the columns file, label and speaker (an hour)::

    python examples/plot_04_small_models.py --data DIR
"""

import argparse
import time
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from sklearn.model_selection import GroupKFold, cross_val_predict
from torch.utils.flop_counter import FlopCounterMode

from skaudio import AudioClassifier, AudioLoader, LogMelSpectrogram
from skaudio.datasets import load_manifest, load_spoken_digits
from skaudio.metrics import unweighted_average_recall
from skaudio.networks import DiffResNet, MTSNet, SeparableNet

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
parser.add_argument("--data", type=Path, help="folder of FSDD, instead of the bundled digits")
parser.add_argument("--epochs", type=int, help="by default as many as 2000 steps take")
parser.add_argument("--jobs", type=int, default=2, help="folds to train at once")
parser.add_argument("--quick", action="store_true", help="1 epoch, every third digit")
args = parser.parse_args()

clips = load_manifest(args.data / "fsdd.csv") if args.data else load_spoken_digits()
waveforms = AudioLoader(sample_rate=8000).fit_transform(clips.data) if args.data else clips.data
kept = slice(None, None, 3 if args.quick else 1)
digit, speaker = np.asarray(clips.target)[kept], np.asarray(clips.speaker)[kept]
X = LogMelSpectrogram(sample_rate=8000).fit_transform(waveforms[kept])
folds = GroupKFold(min(6, len(set(speaker))) if args.data else 4)
print(f"{len(X)} clips, {len(set(speaker))} speakers")

# %%
# The models
# ----------
# All are residual networks. The first and the third have the same number of channels: a plain
# kernel of 3 x 3 combines all of them; a separable one of 5 x 5 filters each channel on its own,
# before they are mixed. The second is skaudio's default network.

small = SeparableNet()
networks = {
    "CNN": MTSNet(small.n_filters, kernel_size=(3, 3), tempo_factors=(), n_frame_features=None),
    "MTS": MTSNet(),
    "separable": small,
    "DiffRes and separable": DiffResNet(0.5, small),
}

# %%
# Size and speed
# --------------
# Multiply-adds and latency are those of a clip of one second, on a single thread and without
# the computation of features, which is the same for all.

one_second = torch.randn(1, 1, X[0].shape[0], 63) * 10 - 40


def count_products(module):
    """Multiply-adds of one forward pass."""
    with FlopCounterMode(display=False) as counter:
        module(one_second)
    return counter.get_total_flops() // 2


def measure_latencies(modules, rounds=200):
    """Median milliseconds of one forward pass.

    The networks take turns, so that a busy moment of the machine slows all of them.
    """
    seconds = {name: [] for name in modules}
    for _ in range(rounds):
        for name, module in modules.items():
            start = time.perf_counter()
            module(one_second)
            seconds[name].append(time.perf_counter() - start)
    return {name: 1000 * float(np.median(times)) for name, times in seconds.items()}


torch.set_num_threads(1)
modules = {
    name: network.build(X[0].shape[0], len(set(digit))).eval() for name, network in networks.items()
}
with torch.inference_mode():
    latencies = measure_latencies(modules)
    costs = {
        name: (sum(p.numel() for p in module.parameters()), count_products(module), latencies[name])
        for name, module in modules.items()
    }

# %%
# Recall
# ------

print("\n| network | parameters | multiply-adds | latency (ms) | unweighted average recall |")
print("|---|---|---|---|---|")
recall = {}
for name, network in networks.items():
    model = AudioClassifier(network, max_epochs=1 if args.quick else args.epochs, random_state=0)
    predicted = cross_val_predict(model, X, digit, groups=speaker, cv=folds, n_jobs=args.jobs)
    recall[name] = unweighted_average_recall(digit, predicted)
    n_parameters, n_products, latency = costs[name]
    print(
        f"| {name} | {n_parameters} | {n_products / 1e6:.1f} million | {latency:.1f} "
        f"| {recall[name]:.3f} |",
        flush=True,
    )

# %%
# Recall against cost
# -------------------
# The area of a disc is the number of parameters.

mpl.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
for colour, (name, (n_parameters, n_products, latency)) in enumerate(costs.items()):
    for ax, value in zip(axes, (n_products / 1e6, latency), strict=True):
        ax.scatter(value, recall[name], s=n_parameters / 100, color=f"C{colour}", alpha=0.4)
        ax.plot(value, recall[name], ".", color=f"C{colour}", label=name)
axes[0].set(xlabel="million multiply-adds", ylabel="unweighted average recall")
axes[1].set(xlabel="latency of one clip (ms)")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(costs))
for ax in axes:
    ax.margins(0.2)
    ax.set_xlim(0)
results = Path("results")
results.mkdir(exist_ok=True)
figure.savefig(results / "small_models.png", dpi=120)
print(f"\nthe figure is in {results}/small_models.png")
