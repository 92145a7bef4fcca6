"""Measure whether the ideas behind the networks help to recognise.

``python docs/measure_what_helps.py --data DIR`` prints a row for each network and corpus: the
defaults of AudioClassifier, features of whole clips that are ready, no augmentation, so that
networks alone differ. DIR holds the tables emodb.csv, fsdd.csv and esc10.csv.
"""

import argparse
import os
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from sklearn.metrics import recall_score
from sklearn.model_selection import LeaveOneGroupOut

from skaudio import AudioClassifier, AudioLoader, LogMelSpectrogram
from skaudio.datasets import load_manifest
from skaudio.features import PitchSalience, StackedFeatures
from skaudio.networks import DiffResNet, MTSNet, SeparableNet

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
parser.add_argument("--data", type=Path, default=os.environ.get("SKAUDIO_DATA"))
parser.add_argument("--seeds", nargs="+", type=int, default=[0])
parser.add_argument("--questions", nargs="+", help="words that the names of questions hold")
parser.add_argument("--folds", type=int, help="test only on the first speakers or folds")
parser.add_argument("--jobs", type=int, default=2)
args = parser.parse_args()
if args.data is None:
    parser.error("pass --data DIR, or set SKAUDIO_DATA")

FRAMES = {"hop_length": 160, "n_mels": 64}
PLAIN = MTSNet(tempo_factors=())

# For each question two corpora, and networks of which the first is the plain twin; beside each
# the number of frames that are averaged into one before it.
QUESTIONS = {
    "tempi": (
        ("emodb", "fsdd"),
        {
            "one tempo": (PLAIN, 1),
            "three tempi in the first block": (MTSNet(), 1),
            "the same, kernels averaged": (MTSNet(kernel_update="averaged"), 1),
            "three tempi in all blocks": (MTSNet(multiscale_blocks=None), 1),
        },
    ),
    "half of the frames": (
        ("fsdd", "esc10"),
        {
            "two frames averaged": (PLAIN, 2),
            "DiffRes": (DiffResNet(0.5, PLAIN), 1),
            "all frames": (PLAIN, 1),
        },
    ),
    "bounds of norms": (
        ("emodb", "esc10"),
        {
            "no bounds": (SeparableNet(depth_max_norm=None, dense_max_norm=None), 1),
            "bounds": (SeparableNet(), 1),
        },
    ),
}


def load(corpus):
    """Return waveforms, labels and groups; of FSDD every other clip."""
    clips = load_manifest(args.data / f"{corpus}.csv")
    kept = np.arange(0, len(clips.target), 2 if corpus == "fsdd" else 1)
    waveforms = AudioLoader().fit_transform(np.asarray(clips.data)[kept])
    group = clips["fold" if corpus == "esc10" else "speaker"]
    return waveforms, np.asarray(clips.target)[kept], np.asarray(group)[kept]


def features(corpus, n_averaged):
    """Return what computes features, every 10 ms of words, every 20 ms of other sounds."""
    log_mel = LogMelSpectrogram(**FRAMES)
    if corpus == "fsdd":
        log_mel.set_params(top_db=45, subtract_clip_mean=True)
    parts = [("log_mel", log_mel)]
    if corpus != "esc10":
        parts.append(("pitch", PitchSalience(hop_length=160)))
    return StackedFeatures(parts, average=n_averaged * (1 if corpus == "fsdd" else 2))


def predict(network, seed, X, y, train, test):
    """Train on some clips; return labels for others, seconds of a fit, and parameters."""
    model = AudioClassifier(network, random_state=seed, n_threads=1)
    model.fit([X[i] for i in train], y[train])
    seconds = model.history_["dur"].sum()
    return model.predict([X[i] for i in test]), seconds, model.n_parameters_


print("| question | corpus | network | recall, seed by seed | seconds | parameters |")
print("|---|---|---|---|---|---|")
for question, (corpora, networks) in QUESTIONS.items():
    if args.questions and not any(word in question for word in args.questions):
        continue
    for corpus in corpora:
        waveforms, y, groups = load(corpus)
        folds = list(LeaveOneGroupOut().split(y, y, groups))[: args.folds]
        truth = np.concatenate([y[test] for _, test in folds])
        for name, (network, n_averaged) in networks.items():
            X = features(corpus, n_averaged).fit_transform(waveforms)
            found = Parallel(n_jobs=args.jobs)(
                delayed(predict)(network, seed, X, y, *fold)
                for seed in args.seeds
                for fold in folds
            )
            parts, seconds, n_parameters = zip(*found, strict=True)
            predicted = np.concatenate(parts).reshape(len(args.seeds), -1)
            recalls = [recall_score(truth, labels, average="macro") for labels in predicted]
            cells = " ".join(f"{recall:.3f}" for recall in recalls)
            print(
                f"| {question} | {corpus} | {name} | {cells} | {np.median(seconds):.0f} "
                f"| {n_parameters[0]} |",
                flush=True,
            )
