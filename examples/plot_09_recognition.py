"""
Recognise without a network
===========================

How well `audio_pipeline` recognises emotions, spoken digits and environmental sounds of speakers
and recordings it has not heard, and what each of its parts contributes.

Needs real recordings, in a folder with the tables ``emodb.csv``, ``urdu.csv``, ``fsdd.csv`` and
``esc10.csv`` (columns file, label, and speaker or fold), as far as they are asked for::

    python examples/plot_09_recognition.py --data DIR --corpora emodb urdu

A row takes one to two minutes on one core, on FSDD five; features are kept in a folder, so that
the first row takes longer.
"""

import argparse
import os
import time
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import recall_score
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut

from skaudio import audio_pipeline
from skaudio.datasets import load_manifest

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
parser.add_argument("--data", type=Path, default=os.environ.get("SKAUDIO_DATA"))
parser.add_argument("--corpora", nargs="+", default=["emodb", "urdu", "esc10", "fsdd"])
parser.add_argument("--seeds", type=int, default=1, help="average over so many seeds")
parser.add_argument("--speakers", type=int, help="take only the first speakers or folds")
parser.add_argument("--whole", action="store_true", help="leave no part out")
parser.add_argument("--cache", default="results/features", help="folder for features")
args = parser.parse_args()
if args.data is None:
    parser.error("pass --data DIR, or set SKAUDIO_DATA")

# %%
# Corpora
# -------
# Whoever speaks in a test clip is not heard in training: with ``LeaveOneGroupOut`` each speaker
# (or fold, of ESC-10) is the test once; the Urdu recordings have 29 very unequal speakers, in five
# groups. The last two columns are openSMILE's 6373 functionals (ComParE 2016) with a linear SVM on
# the same clips and folds, as ``docs/measure_opensmile.py`` measures them, with their error.

CORPORA = {
    "emodb": ("voice", "speaker", LeaveOneGroupOut(), 0.752, 0.018),
    "urdu": ("voice", "speaker", GroupKFold(5), 0.575, 0.024),
    "fsdd": ("voice", "speaker", LeaveOneGroupOut(), 0.837, 0.007),
    "esc10": ("sound", "fold", LeaveOneGroupOut(), 0.870, 0.016),
}

# %%
# The pipeline and its parts
# --------------------------
# The blocks of features that remain share the weight of the one that is left out.

FEATURES = "copies__estimator__features"
BLOCKS = {
    "voice": ("patterns", "statistics", "voice", "pitch"),
    "sound": ("patterns", "statistics"),
}


def variants(kind):
    """Parameters of the whole pipeline, and of pipelines without one part."""
    yield "the whole pipeline", {}
    if args.whole:
        return
    for left_out in BLOCKS[kind]:
        rest = [name for name in BLOCKS[kind] if name != left_out]
        weights = dict.fromkeys(rest, len(rest) ** -0.5)
        parameters = {
            f"{FEATURES}__{left_out}": "drop",
            f"{FEATURES}__transformer_weights": weights,
        }
        yield f"without {left_out}", parameters
    yield "without copies", {"copies__speeds": ()}


# %%
# Measure
# -------
# All that is learned, the scales of features and the thresholds of random convolutions too, is
# learned in ``fit``, from the training clips of a fold.


def measure(model, X, y, groups, splitter):
    """Predict every clip by the fold that it is not trained on; also seconds of CPU per fold."""
    predicted, seconds = np.empty_like(y), []
    for train, test in splitter.split(X, y, groups):
        start = time.process_time()
        predicted[test] = model.fit(X[train], y[train]).predict(X[test])
        seconds.append(time.process_time() - start)
    return predicted, np.median(seconds)


def standard_error(recalls, y):
    """Sampling error of the mean of recalls: each is a share of so many clips."""
    counts = np.unique(y, return_counts=True)[1]
    return np.sqrt(np.sum(recalls * (1 - recalls) / counts)) / len(recalls)


print("| corpus | system | unweighted average recall | seconds of CPU per fold | columns |")
print("|---|---|---|---|---|")
results: dict[str, dict[str, tuple[float, float]]] = {}
for corpus in args.corpora:
    kind, group, splitter, *opensmile = CORPORA[corpus]
    clips = load_manifest(args.data / f"{corpus}.csv")
    kept = np.isin(clips[group], np.unique(clips[group])[: args.speakers])
    X, y, groups = (np.asarray(clips[name])[kept] for name in ("data", "target", group))
    for name, parameters in variants(kind):
        recalls, seconds = [], []
        for seed in range(args.seeds):
            model = audio_pipeline(kind, cache=args.cache, random_state=seed)
            model.set_params(**parameters)
            predicted, duration = measure(model, X, y, groups, splitter)
            recalls.append(recall_score(y, predicted, average=None))
            seconds.append(duration)
        recalls = np.mean(recalls, axis=0)
        recall, error = recalls.mean(), standard_error(recalls, y)
        results.setdefault(corpus, {})[name] = recall, error
        n_columns = model[-1].estimator_[-1].n_features_in_
        print(
            f"| {corpus} | {name} | {recall:.3f} ± {error:.3f} "
            f"| {np.mean(seconds):.1f} | {n_columns} |",
            flush=True,
        )
    if args.speakers is None:
        recall, error = opensmile
        results[corpus]["openSMILE and SVM"] = recall, error
        print(f"| {corpus} | openSMILE and SVM | {recall:.3f} ± {error:.3f} | | 6373 |")

# %%
# What each part contributes
# --------------------------
# The whiskers are the sampling error of one recall. All systems are tested on the same clips, so
# that two of them may differ by less and yet not by chance.

COLOURS = {"the whole pipeline": "C0", "openSMILE and SVM": "C1"}

mpl.use("Agg")
figure, axes = plt.subplots(
    1, len(results), figsize=(3.2 * len(results) + 1.2, 3), squeeze=False, layout="constrained"
)
for ax, (corpus, rows) in zip(axes[0], results.items(), strict=True):
    for name, (recall, error) in rows.items():
        ax.errorbar(recall, name, xerr=error, fmt="o", color=COLOURS.get(name, "0.5"), capsize=3)
    ax.axvline(rows["the whole pipeline"][0], color="C0", linewidth=0.8, alpha=0.5)
    ax.set(title=corpus, xlabel="unweighted average recall")
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)
Path("results").mkdir(exist_ok=True)
figure.savefig("results/recognition.png", dpi=150)
