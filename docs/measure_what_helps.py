"""Measure whether the ideas behind the networks help to recognise.

``python docs/measure_what_helps.py --data DIR`` prints a row for each network and corpus: the
defaults of AudioClassifier, features of whole clips that are ready, no augmentation, so that
networks alone differ. DIR holds the tables emodb.csv, urdu.csv, fsdd.csv and esc10.csv. With
one seed all questions take nearly three hours on one core.
"""

import argparse
import os
from functools import cache
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from sklearn.model_selection import GroupKFold

from skaudio import AudioClassifier, AudioLoader, LogMelSpectrogram, MultiCorpusClassifier
from skaudio.datasets import load_manifest
from skaudio.features import PitchSalience, StackedFeatures
from skaudio.metrics import uar_by_corpus
from skaudio.networks import AdapterResNet, DiffResNet, MTSNet, SeparableNet

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
parser.add_argument("--data", type=Path, default=os.environ.get("SKAUDIO_DATA"))
parser.add_argument("--seeds", nargs="+", type=int, default=[0])
parser.add_argument("--questions", nargs="+", help="words that the names of questions hold")
parser.add_argument("--corpora", nargs="+", help="only on some of emodb, urdu, fsdd, esc10")
parser.add_argument("--folds", type=int, help="test only on the first groups of speakers")
parser.add_argument("--jobs", type=int, default=2, help="folds at once")
args = parser.parse_args()
if args.data is None:
    parser.error("pass --data DIR, or set SKAUDIO_DATA")

FRAMES = {"hop_length": 160, "n_mels": 64}
PLAIN = MTSNet(tempo_factors=())  # as many parameters as with tempi, which share the kernels


def without_adapters(n_bands, n_outputs, n_frames=None, n_channels=1):
    """Build a residual network as large as one of 8 filters with two sets of adapters."""
    resnet = AdapterResNet(n_filters=9, input_norm=True)
    return resnet.build(n_bands, n_outputs, n_frames, n_channels)


# For each question the corpora, of which those in one pair of brackets train one network together;
# and networks, the first of them the plain twin, beside each the number of frames that are averaged
# into one before it.
QUESTIONS = {
    "tempi": (
        (("emodb",), ("fsdd",)),
        {
            "one tempo": (PLAIN, 1),
            "three tempi in the first block": (MTSNet(), 1),
            "the same, kernels averaged": (MTSNet(kernel_update="averaged"), 1),
            "three tempi in all blocks": (MTSNet(multiscale_blocks=None), 1),
        },
    ),
    "half of the frames": (
        (("fsdd",), ("esc10",)),
        {
            "two frames averaged": (MTSNet((18, 18, 36, 72), tempo_factors=()), 2),
            "DiffRes": (DiffResNet(0.5, PLAIN), 1),
            "all frames": (PLAIN, 1),
        },
    ),
    "bounds of norms": (
        (("emodb",), ("esc10",)),
        {
            "no bounds": (SeparableNet(depth_max_norm=None, dense_max_norm=None), 1),
            "bounds": (SeparableNet(), 1),
            "bounds, dropout in the blocks": (SeparableNet(dropout=0.2, head_dropout=0.2), 1),
        },
    ),
    "adapters": (
        (("emodb", "urdu"),),
        {
            "only the last layers apart": (without_adapters, 2),
            "adapters": (AdapterResNet(n_filters=8, input_norm=True), 2),
        },
    ),
}


@cache
def load(corpus):
    """Return waveforms, labels and groups; of FSDD every other clip."""
    clips = load_manifest(args.data / f"{corpus}.csv")
    kept = slice(None, None, 2 if corpus == "fsdd" else 1)
    group = clips["fold" if corpus == "esc10" else "speaker"]
    waveforms = AudioLoader().fit_transform(clips.data[kept])
    return waveforms, np.asarray(clips.target)[kept], np.asarray(group)[kept].astype(str)


@cache
def features(corpus, n_averaged, pitch):
    """Compute features: every 10 ms of words, 20 ms of emotions, 40 ms of other sounds."""
    log_mel = LogMelSpectrogram(**FRAMES)
    if corpus == "fsdd":
        log_mel.set_params(top_db=45, subtract_clip_mean=True)
    parts = [("log_mel", log_mel)]
    if pitch and corpus != "esc10":
        parts.append(("pitch", PitchSalience(hop_length=160)))
    average = n_averaged * {"fsdd": 1, "esc10": 4}.get(corpus, 2)
    return list(StackedFeatures(parts, average=average).fit_transform(load(corpus)[0]))


def predict(model, X, y, corpus, train, test):
    """Train on some clips; return labels for others, seconds of a fit, and parameters."""
    known, asked = {}, {}
    if len(np.unique(corpus)) > 1:
        model = MultiCorpusClassifier(model)
        known, asked = {"corpus": corpus[train]}, {"corpus": corpus[test]}
    model.fit([X[i] for i in train], y[train], **known)
    seconds = model.history_["dur"].sum()
    return model.predict([X[i] for i in test], **asked), seconds, model.n_parameters_


def measure(corpora, network, n_averaged, pitch):
    """Return the recall of each corpus, seed by seed, seconds of a fit, and parameters."""
    _, labels, groups = zip(*map(load, corpora), strict=True)
    y, groups = np.concatenate(labels), np.concatenate(groups)
    corpus = np.repeat(corpora, [len(part) for part in labels])
    X = [clip for name in corpora for clip in features(name, n_averaged, pitch)]
    splitter = GroupKFold(3 if corpora == ("fsdd",) else 5)
    folds = list(splitter.split(y, groups=np.char.add(corpus, groups)))[: args.folds]
    found = Parallel(n_jobs=args.jobs)(
        delayed(predict)(
            AudioClassifier(network, random_state=seed, n_threads=1), X, y, corpus, *fold
        )
        for seed in args.seeds
        for fold in folds
    )
    predicted, seconds, n_parameters = zip(*found, strict=True)
    predicted = np.concatenate(predicted).reshape(len(args.seeds), -1)
    tested = np.concatenate([test for _, test in folds])
    by_seed = [uar_by_corpus(y[tested], labels, corpus[tested]) for labels in predicted]
    return by_seed, np.median(seconds), n_parameters[0]


print("| question | corpus | network | recall, seed by seed | seconds | parameters |")
print("|---|---|---|---|---|---|")
for question, (choices, networks) in QUESTIONS.items():
    if args.questions and not any(word in question for word in args.questions):
        continue
    for corpora in choices:
        if args.corpora and not set(args.corpora) & set(corpora):
            continue
        for name, (network, n_averaged) in networks.items():
            # DiffRes merges power: all bands have to be decibels.
            pitch = "DiffRes" not in networks
            by_seed, seconds, n_parameters = measure(corpora, network, n_averaged, pitch)
            for corpus in corpora:
                cells = " ".join(f"{recalls[corpus]:.3f}" for recalls in by_seed)
                row = (question, corpus, name, cells, f"{seconds:.0f}", str(n_parameters))
                print(f"| {' | '.join(row)} |", flush=True)
