"""
Start from what another corpus has taught
=========================================

Most corpora of emotional speech are small. A network can be trained on one and adapted to another
in three ways: by training everything further (finetune), by training the last layer alone, or by
leaving the shared convolutions as they are and training adapters beside them (after EmoNet). Here
each way is compared with training from scratch, with all clips of the training speakers and with
a quarter of them, for emotions in another language (EMO-DB to Urdu) and for emotions after spoken
digits (FSDD to EMO-DB). No speaker is trained and tested on at once.

The recordings do not come with skaudio. Point ``--data`` (or the variable SKAUDIO_DATA) to a
folder with tables ``emodb.csv``, ``urdu.csv`` and ``fsdd.csv`` of the columns file, label and
speaker::

    python examples/plot_07_transfer.py --data DIR

An hour on two cores; ``--quick`` shows how it goes in two minutes, ``--full`` trains larger
networks with three seeds, for many hours.
"""

import argparse
import os
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline

from skaudio import AudioClassifier, AudioLoader, LogMelSpectrogram
from skaudio.datasets import load_manifest
from skaudio.exceptions import SkaudioWarning
from skaudio.metrics import unweighted_average_recall
from skaudio.networks import AdapterResNet

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
parser.add_argument("--data", type=Path, default=os.environ.get("SKAUDIO_DATA"))
parser.add_argument("--jobs", type=int, default=2, help="networks to train at once")
size = parser.add_mutually_exclusive_group()
size.add_argument("--quick", action="store_true", help="a few epochs, two folds")
size.add_argument("--full", action="store_true", help="32 filters, 128 bands, three seeds")
args = parser.parse_args()
if args.data is None:
    parser.error("pass --data DIR, or set SKAUDIO_DATA")

n_filters, n_mels, seeds = (32, 128, (0, 1, 2)) if args.full else (8, 64, (0,))
n_epochs, n_folds = (2, 2) if args.quick else (None, 5)  # None: as many as 2000 steps take
modes = ["scratch", "finetune", "last-layer", "adapters"]

# %%
# Features
# --------
# EmoNet's: natural logarithms of mel bands, 64 ms long, every 32 ms. They are computed once, of the
# first two seconds of each clip.

features = make_pipeline(
    AudioLoader(),
    LogMelSpectrogram(
        sample_rate=16000, n_fft=1024, hop_length=512, center=False, n_mels=n_mels, fmin=20,
        fmax=8000, htk=True, norm=None, triangles="mel", log="ln", eps=1e-6,
    ),
)  # fmt: skip


def load(name):
    """Return features, labels and speakers of a corpus."""
    clips = load_manifest(args.data / f"{name}.csv")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkaudioWarning)  # FSDD has 8 kHz: its upper bands are empty
        X = [clip[:, :62] for clip in features.fit_transform(clips.data)]
    kept = slice(None, None, 10 if args.quick else 1)
    return X[kept], np.asarray(clips.target)[kept], np.asarray(clips.speaker)[kept]


corpora = {name: load(name) for name in ("emodb", "urdu", "fsdd")}

# %%
# Pretrain, adapt, test
# ---------------------

torch.set_num_threads(max(1, (os.cpu_count() or 1) // args.jobs))


def make_folds(y, speaker, share, seed):
    """Split by speakers; keep a share of each training speaker's clips."""
    rng = np.random.default_rng(seed)
    for train, test in GroupKFold(n_folds, shuffle=True, random_state=seed).split(y, y, speaker):
        if share < 1:
            own = [np.flatnonzero(speaker[train] == name) for name in np.unique(speaker[train])]
            kept = [rng.permutation(rows)[: max(1, round(share * len(rows)))] for rows in own]
            train = train[np.sort(np.concatenate(kept))]
        yield train, test


rows = []
for before, after in [("emodb", "urdu"), ("fsdd", "emodb")]:
    for seed in seeds:
        base = AudioClassifier(
            AdapterResNet(n_filters=n_filters), max_epochs=n_epochs, class_weight="balanced",
            n_threads=1, random_state=seed,
        )  # fmt: skip
        big = clone(base).fit(*corpora[before][:2])
        X, y, speaker = corpora[after]
        for share in (1.0, 0.25):
            folds = list(make_folds(y, speaker, share, seed))
            for mode in modes:
                model = clone(base).set_params(mode=mode, pretrained=FrozenEstimator(big))
                found = cross_validate(
                    model, X, y, cv=folds, return_estimator=True, n_jobs=args.jobs
                )
                predicted = np.empty_like(y)
                for (_, test), fitted in zip(folds, found["estimator"], strict=True):
                    predicted[test] = fitted.predict([X[i] for i in test])
                rows.append(
                    {
                        "corpora": f"{before} to {after}",
                        "clips": "all" if share == 1 else "a quarter",
                        "mode": mode,
                        "recall": unweighted_average_recall(y, predicted),
                        "trained parameters": found["estimator"][0].n_trained_parameters_,
                        "seconds": found["fit_time"].mean(),
                    }
                )
                print(rows[-1], flush=True)

# %%
# Recall, what was trained, and how long it took
# ----------------------------------------------
# Recall over all test clips together; seconds of one fold, on one thread. A difference of 0.03 is
# within what another draw of clips would give.

table = pd.DataFrame(rows)
mean = table.groupby(["corpora", "clips", "mode"], sort=False).mean().reset_index()
spread = table.groupby(["corpora", "clips", "mode"], sort=False)["recall"].std().to_numpy()
print("\n| corpora | clips | mode | recall | trained parameters | seconds |")
print("|---|---|---|---|---|---|")
for row, deviation in zip(mean.itertuples(index=False), spread, strict=True):
    recall = f"{row.recall:.3f}" + (f" ± {deviation:.3f}" if len(seeds) > 1 else "")
    trained = f"{row[4]:,.0f}".replace(",", " ")
    print(
        f"| {row.corpora} | {row.clips} | {row.mode} | {recall} | {trained} | {row.seconds:.0f} |"
    )

fig, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
for ax, (pair, part) in zip(axes, mean.groupby("corpora", sort=False), strict=True):
    for i, (clips, group) in enumerate(part.groupby("clips", sort=False)):
        ax.bar(np.arange(4) + 0.4 * i - 0.2, group["recall"], 0.36, label=f"{clips} of the clips")
    ax.axhline(1 / len(np.unique(corpora[pair.split()[-1]][1])), color="gray", ls=":", lw=1)
    ax.set_xticks(np.arange(4), modes)
    ax.set_title(pair)
axes[0].set_ylabel("unweighted average recall")
axes[1].legend(frameon=False)
Path("results").mkdir(exist_ok=True)
fig.savefig("results/transfer.png", dpi=150)
