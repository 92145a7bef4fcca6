"""
Networks, and networks together with another pipeline
=====================================================

How well a network recognises emotions, spoken digits and environmental sounds of speakers and
recordings that it has not heard: with ``AudioClassifier``'s defaults, a front end and a word for
the augmentation. Beside it ``audio_pipeline``, which knows sounds in another way, and the vote of
both by scikit-learn's ``VotingClassifier``.

The recordings do not come with skaudio. Point ``--data`` (or the variable SKAUDIO_DATA) to a
folder with tables ``emodb.csv``, ``fsdd.csv``, ``esc10.csv`` and ``urdu.csv`` of the columns file
and label, and speaker or fold::

    python examples/plot_02_networks.py --data DIR --corpora emodb

EMO-DB takes a quarter of an hour on two cores; without recordings, and without ``--data``, the
bundled digits take four minutes.
"""

import argparse
import os
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from joblib import Parallel, delayed
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.metrics import recall_score
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut

from skaudio import AudioClassifier, AudioLoader, LogMelSpectrogram, audio_pipeline
from skaudio.datasets import load_manifest, load_spoken_digits
from skaudio.features import PitchSalience, StackedFeatures

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
parser.add_argument("--data", type=Path, default=os.environ.get("SKAUDIO_DATA"))
parser.add_argument("--corpora", nargs="+", help="some of digits, emodb, fsdd, esc10, urdu")
parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="average over these")
parser.add_argument("--folds", type=int, help="test only on the first speakers or folds")
parser.add_argument("--network-only", action="store_true")
parser.add_argument("--jobs", type=int, default=2, help="folds at once")
args = parser.parse_args()

# %%
# Front ends
# ----------
# How something is said shows in the pitch, and slowly: frames of 20 ms will do, and level and
# colour may tell. What is said shows in frames of 10 ms, and better without the colour of a
# recording: without the mean of each band over the clip, and what lies far below its loudest.

FRAMES = {"hop_length": 160, "n_mels": 64}


def with_pitch(average, **options):
    return StackedFeatures(
        [
            ("log_mel", LogMelSpectrogram(16000, **FRAMES, **options)),
            ("pitch", PitchSalience(16000, hop_length=160)),
        ],
        average=average,
    )


EMOTIONS = with_pitch(average=2)
WORDS = with_pitch(average=1, top_db=45, subtract_clip_mean=True)
SOUNDS = StackedFeatures([("log_mel", LogMelSpectrogram(16000, **FRAMES))], average=2)
DIGITS = LogMelSpectrogram(sample_rate=8000)

# front end, augmentation, what a fold leaves out, and how
CORPORA = {
    "digits": (DIGITS, None, "speaker", GroupKFold(4)),
    "emodb": (EMOTIONS, "voice", "speaker", LeaveOneGroupOut()),
    "fsdd": (WORDS, "voice", "speaker", LeaveOneGroupOut()),
    "esc10": (SOUNDS, "sound", "fold", LeaveOneGroupOut()),
    "urdu": (EMOTIONS, "voice", "speaker", GroupKFold(5)),
}


def load(corpus):
    """Return waveforms, labels and groups."""
    frontend, _, group, _ = CORPORA[corpus]
    if corpus == "digits":
        clips = load_spoken_digits()
    elif args.data is None:
        parser.error("pass --data DIR, or set SKAUDIO_DATA")
    else:
        clips = load_manifest(args.data / f"{corpus}.csv")
    # Read once, rather than once in each epoch: these corpora fit into memory.
    waveforms = AudioLoader(sample_rate=frontend.sample_rate).fit_transform(clips.data)
    return waveforms, np.asarray(clips.target), np.asarray(clips[group])


# %%
# Network, pipeline and vote
# --------------------------
# Votes are probabilities, which the ridge classifier of the pipeline has none of. Calibration
# learns from predictions for training clips, left out in turn, how sure its scores are.


def systems(corpus, seed):
    frontend, augmentation, _, _ = CORPORA[corpus]
    network = AudioClassifier(
        frontend=frontend, augmentation=augmentation, random_state=seed, n_threads=1
    )
    if args.network_only:
        return VotingClassifier([("network", network)], voting="soft")
    kind = "sound" if augmentation == "sound" else "voice"
    pipeline = audio_pipeline(kind, sample_rate=frontend.sample_rate, random_state=seed)
    calibrated = CalibratedClassifierCV(pipeline, method="temperature", ensemble=False)
    return VotingClassifier([("network", network), ("pipeline", calibrated)], voting="soft")


def predict(vote, X, y, train, test):
    """Train on some clips, and name others: by each part of a vote, and by the vote of several."""
    X_train, X_test = ([X[i] for i in part] for part in (train, test))
    vote.fit(X_train, y[train])
    named = {
        name: vote.classes_[model.predict(X_test)]  # parts know the numbers of the labels
        for name, model in vote.named_estimators_.items()
    }
    return named if len(named) == 1 else named | {"vote": vote.predict(X_test)}


def standard_error(recalls, y):
    """Sampling error of the mean of recalls: each is a share of so many clips."""
    counts = np.unique(y, return_counts=True)[1]
    return np.sqrt(np.sum(recalls * (1 - recalls) / counts)) / len(recalls)


print("| corpus | system | unweighted average recall | seed by seed |\n|---|---|---|---|")
results: dict[str, dict[str, tuple[float, float]]] = {}
for corpus in args.corpora or ["digits"]:
    X, y, groups = load(corpus)
    folds = list(CORPORA[corpus][-1].split(y, y, groups))[: args.folds]
    truth = np.concatenate([y[test] for _, test in folds])
    found = Parallel(n_jobs=args.jobs)(
        delayed(predict)(systems(corpus, seed), X, y, *fold)
        for seed in args.seeds
        for fold in folds
    )
    for name in found[0]:
        predicted = np.concatenate([labels[name] for labels in found]).reshape(len(args.seeds), -1)
        recalls = [recall_score(truth, labels, average=None) for labels in predicted]
        by_seed = " ".join(f"{recall.mean():.3f}" for recall in recalls)
        mean = np.mean(recalls, axis=0)
        results.setdefault(corpus, {})[name] = mean.mean(), standard_error(mean, truth)
        recall, error = results[corpus][name]
        print(f"| {corpus} | {name} | {recall:.3f} ± {error:.3f} | {by_seed} |", flush=True)

# %%
# The whiskers are the sampling error of one recall.

mpl.use("Agg")
figure, axes = plt.subplots(
    1, len(results), figsize=(2.4 * len(results) + 1, 1.8), squeeze=False, layout="constrained"
)
for ax, (corpus, rows) in zip(axes[0], results.items(), strict=True):
    for name, (recall, error) in rows.items():
        ax.errorbar(recall, name, xerr=error, fmt="o", color="C0", capsize=3)
    ax.set(title=corpus, xlabel="unweighted average recall")
    ax.margins(y=0.3)
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)
Path("results").mkdir(exist_ok=True)
figure.savefig("results/networks.png", dpi=150)
