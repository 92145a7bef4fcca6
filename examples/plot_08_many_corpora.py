"""
One network for many corpora
============================

Four corpora that have nothing in common but that they are sound: emotions in German (EMO-DB) and
in Urdu, spoken digits (FSDD), and sounds such as rain and dogs (ESC-10). Either each trains a
network of its own; or all train one, which has adapters, norms, pooling and a head for each of
them beside the shared convolutions; or all train one that they share but for the last layers.
Nobody is trained and tested on at once: corpora are divided into five folds by speaker, ESC-10 as
its authors have divided it.

The recordings do not come with skaudio. Point ``--data`` (or the variable SKAUDIO_DATA) to a
folder with tables ``emodb.csv``, ``urdu.csv``, ``fsdd.csv`` and ``esc10.csv`` of the columns file
and label, and speaker or fold::

    python examples/plot_08_many_corpora.py --data DIR

Half an hour on two cores, with small networks and every sixth of FSDD's clips; ``--quick`` shows
how it goes in two minutes.
"""

import argparse
import os
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import GroupKFold, PredefinedSplit, cross_validate
from sklearn.pipeline import make_pipeline

from skaudio import AudioClassifier, AudioLoader, LogMelSpectrogram, MultiCorpusClassifier
from skaudio.datasets import load_manifest
from skaudio.exceptions import SkaudioWarning
from skaudio.metrics import uar_by_corpus
from skaudio.networks import AdapterResNet

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
parser.add_argument("--data", type=Path, default=os.environ.get("SKAUDIO_DATA"))
parser.add_argument("--jobs", type=int, default=2, help="networks to train at once")
parser.add_argument("--quick", action="store_true", help="a few epochs, two folds")
args = parser.parse_args()
if args.data is None:
    parser.error("pass --data DIR, or set SKAUDIO_DATA")

n_epochs, n_folds = (2, 2) if args.quick else (12, 5)
torch.set_num_threads(max(1, (os.cpu_count() or 1) // args.jobs))

# %%
# One table of all clips
# ----------------------
# The features of a clip's first two seconds stand in one cell, its corpus in another: so both pass
# through scikit-learn.

features = make_pipeline(
    AudioLoader(), LogMelSpectrogram(n_fft=1024, hop_length=512, n_mels=64, fmin=20, log="ln")
)
parts = []
for name, groups in [("emodb", "speaker"), ("urdu", "speaker"), ("fsdd", "speaker"),
                     ("esc10", "fold")]:  # fmt: skip
    clips = load_manifest(args.data / f"{name}.csv")
    labels = np.asarray(clips.target).astype(str)  # digits are numbers, emotions are words
    table = pd.DataFrame({"file": clips.data, "corpus": name, "label": labels})
    table["group"] = [f"{name} {group}" for group in clips[groups]]
    table = table.iloc[:: 6 if name == "fsdd" else 1].iloc[:: 10 if args.quick else 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkaudioWarning)  # FSDD has 8 kHz: its upper bands are empty
        table["clip"] = [c[:, :62] for c in features.fit_transform(table["file"].tolist())]
    table["part"] = -1
    splits = GroupKFold(n_folds).split(table, groups=table["group"])
    for i, (_, test) in enumerate(splits):
        table.iloc[test, table.columns.get_loc("part")] = i
    parts.append(table)
clips = pd.concat(parts, ignore_index=True)
names = clips["corpus"].unique()

# %%
# Three ways to train
# -------------------


def plain_resnet(n_bands, n_outputs, n_frames=None, n_channels=1):
    """Build the residual network without adapters; corpora then share all but the last layers."""
    return AdapterResNet(n_filters=8).build(n_bands, n_outputs, n_frames, n_channels)


def classifier(network):
    """Return a classifier of several corpora that trains a network."""
    return MultiCorpusClassifier(
        AudioClassifier(
            network, max_epochs=n_epochs, batch_size=16, class_weight="balanced", n_threads=1,
            random_state=0,
        )
    )  # fmt: skip


def evaluate(model, rows):
    """Predict each clip by a model that has not heard its speaker; return what that took."""
    X, y = rows[["clip", "corpus"]], rows["label"].to_numpy(str)
    folds = PredefinedSplit(rows["part"])
    found = cross_validate(model, X, y, cv=folds, return_estimator=True, n_jobs=args.jobs)
    predicted = np.empty_like(y)
    for (_, test), fitted in zip(folds.split(), found["estimator"], strict=True):
        predicted[test] = fitted.predict(X.iloc[test])
    n_parameters = found["estimator"][0].n_parameters_
    return uar_by_corpus(y, predicted, rows["corpus"]), n_parameters, found["fit_time"].mean()


alone = [evaluate(classifier(plain_resnet), clips[clips["corpus"] == name]) for name in names]
ways = {
    "each alone": (
        {name: recalls[name] for name, (recalls, _, _) in zip(names, alone, strict=True)},
        sum(n for _, n, _ in alone),
        sum(seconds for _, _, seconds in alone),
    ),
    "together, with adapters": evaluate(classifier(AdapterResNet(n_filters=8)), clips),
    "together, only the last layers apart": evaluate(classifier(plain_resnet), clips),
}

# %%
# Recall of each corpus, all parameters, and seconds of one fold
# --------------------------------------------------------------

print(f"| training | {' | '.join(names)} | mean | parameters | seconds |")
print("|---" * (len(names) + 4) + "|")
for way, (recalls, n_parameters, seconds) in ways.items():
    cells = [f"{recalls[name]:.3f}" for name in names]
    count = f"{n_parameters:,}".replace(",", " ")
    mean = np.mean(list(recalls.values()))
    print(f"| {way} | {' | '.join(cells)} | {mean:.3f} | {count} | {seconds:.0f} |")

fig, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
for i, (way, (recalls, _, _)) in enumerate(ways.items()):
    ax.bar(np.arange(len(names)) + 0.27 * (i - 1), [recalls[n] for n in names], 0.25, label=way)
ax.set_xticks(np.arange(len(names)), names)
ax.set_ylabel("unweighted average recall")
ax.set_ylim(0, 1)
ax.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
Path("results").mkdir(exist_ok=True)
fig.savefig("results/many_corpora.png", dpi=150)
