"""
Recognise emotions with multi-time-scale kernels
================================================

Does a network whose kernels respond at several tempi recognise emotions better than a plain
convolutional one? Both are cross-validated on the Berlin Database of Emotional Speech (EMO-DB),
leaving out one speaker at a time.

EMO-DB is free for research, but does not come with skaudio. Point ``--data`` (or the variable
SKAUDIO_DATA) to a folder with a table ``emodb.csv`` of the columns file, label and speaker::

    python examples/plot_02_emotion.py --data DIR

With all ten speakers each row takes some minutes on two cores; ``--speakers 2 --epochs 5`` gives
a first impression.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline

from skaudio import AudioClassifier, AudioLoader, LogMelSpectrogram
from skaudio.datasets import load_manifest
from skaudio.metrics import unweighted_average_recall
from skaudio.networks import MTSNet

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
parser.add_argument("--data", type=Path, default=os.environ.get("SKAUDIO_DATA"))
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--speakers", type=int, default=10, help="speakers to take, 10 at the most")
parser.add_argument("--jobs", type=int, default=2, help="folds to train at once")
args = parser.parse_args()
if args.data is None:
    parser.error("pass --data DIR, or set SKAUDIO_DATA")

# %%
# Features
# --------
# Loading and log-mel spectrograms learn nothing from the data, so that they can be computed once,
# before the cross-validation. The network is trained from scratch in each fold.

clips = load_manifest(args.data / "emodb.csv")
kept = np.isin(clips.speaker, np.unique(clips.speaker)[: args.speakers])
paths, emotion, speaker = (
    np.asarray(part)[kept] for part in (clips.data, clips.target, clips.speaker)
)
features = make_pipeline(AudioLoader(), LogMelSpectrogram(sample_rate=16000, hop_length=512))
X = features.fit_transform(paths)
print(f"{len(X)} clips, {len(set(emotion))} emotions, {len(set(speaker))} speakers")

# %%
# One row per network
# -------------------

torch.set_num_threads(max(1, (os.cpu_count() or 1) // args.jobs))
print("\n| network | unweighted average recall |\n|---|---|")
for name, tempo_factors in {
    "plain CNN": (),
    "MTS, factors 0.7 and 1.428": (0.7, 1.428),
}.items():
    model = AudioClassifier(
        MTSNet(tempo_factors=tempo_factors),
        max_epochs=args.epochs,
        class_weight="balanced",
        random_state=0,
    )
    predicted = cross_val_predict(
        model, X, emotion, groups=speaker, cv=LeaveOneGroupOut(), n_jobs=args.jobs
    )
    print(f"| {name} | {unweighted_average_recall(emotion, predicted):.3f} |", flush=True)
print("| openSMILE ComParE 2016 with a linear SVM, on all speakers, for comparison | 0.746 |")
