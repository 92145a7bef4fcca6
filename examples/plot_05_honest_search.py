"""
Search settings without using the test speakers
===============================================

If twenty settings are tried and the score of the best one on the test set is reported, that score
is too high: the test set has chosen the setting. Here the speakers of the Berlin Database of
Emotional Speech (EMO-DB) are held out two by two. Settings are searched on the others alone, and
validated on speakers among these that are not in the training part. The settings that the search
finds are then trained on all speakers but one, and tested on that one: no speaker is tested with
settings that were chosen on that speaker's recordings.

EMO-DB is free for research, but does not come with skaudio. Point ``--data`` (or the variable
SKAUDIO_DATA) to a folder with a table ``emodb.csv`` of the columns file, label and speaker::

    python examples/plot_05_honest_search.py --data DIR

Half an hour on two cores; ``--pairs 1 --epochs 9`` shows how it goes in two minutes.
"""

import argparse
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GroupKFold, HalvingRandomSearchCV, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline

from skaudio import AudioClassifier, AudioLoader, FeatureCache, LogMelSpectrogram
from skaudio.augmentation import FrequencyMask, TimeMask, make_chain
from skaudio.datasets import load_manifest
from skaudio.metrics import uar_scorer, unweighted_average_recall
from skaudio.networks import MTSNet, SeparableNet

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
parser.add_argument("--data", type=Path, default=os.environ.get("SKAUDIO_DATA"))
parser.add_argument("--pairs", type=int, default=5, help="pairs of speakers to test, 5 at most")
parser.add_argument("--epochs", type=int, default=36, help="of the training that counts")
parser.add_argument("--jobs", type=int, default=2, help="networks to train at once")
args = parser.parse_args()
if args.data is None:
    parser.error("pass --data DIR, or set SKAUDIO_DATA")

clips = load_manifest(args.data / "emodb.csv")
paths, emotion, speaker = map(np.asarray, (clips.data, clips.target, clips.speaker))

# %%
# What is searched
# ----------------
# The network, and how it is trained. Features are computed once per file: the cache keeps them
# for all folds, candidates and processes.

cache = TemporaryDirectory()
features = make_pipeline(AudioLoader(), LogMelSpectrogram(sample_rate=16000, hop_length=512))
classifier = AudioClassifier(max_epochs=args.epochs, class_weight="balanced", random_state=0)
model = Pipeline([("features", FeatureCache(features, cache.name)), ("classifier", classifier)])
settings = {
    "classifier__network": [
        MTSNet(tempo_factors=()),
        MTSNet(),
        SeparableNet(),
    ],
    "classifier__lr": [1e-3, 2e-3],
    "classifier__label_smoothing": [0.0, 0.1],
    "classifier__mixup": [0.0, 0.3],
    "classifier__augmentation": [None, make_chain(TimeMask(), FrequencyMask())],
}

# %%
# One search per pair
# -------------------
# Nine settings are trained for a ninth of the epochs, the best three for a third, and the winner
# for all of them.

torch.set_num_threads(max(1, (os.cpu_count() or 1) // args.jobs))
names = np.unique(speaker)
rows, predicted = [], np.empty_like(emotion)
for pair in np.split(names, len(names) // 2)[: args.pairs]:
    others = ~np.isin(speaker, pair)
    search = HalvingRandomSearchCV(
        model, settings, n_candidates=9, factor=3, resource="classifier__max_epochs",
        min_resources=args.epochs // 9, max_resources=args.epochs, cv=GroupKFold(3),
        scoring=uar_scorer, refit=False, random_state=0, n_jobs=args.jobs,
    )  # fmt: skip
    search.fit(paths[others], emotion[others], groups=speaker[others])
    chosen = clone(model).set_params(**search.best_params_)
    print(f"\nchosen without speakers {' and '.join(map(str, pair))}: {chosen[-1]}", flush=True)
    folds = [(np.flatnonzero(speaker != name), np.flatnonzero(speaker == name)) for name in pair]
    tested = cross_validate(
        chosen, paths, emotion, cv=folds, scoring=uar_scorer, return_estimator=True,
        n_jobs=args.jobs,
    )  # fmt: skip
    for (_, test), trained in zip(folds, tested["estimator"], strict=True):
        predicted[test] = trained.predict(paths[test])
    rows += zip(pair, [search.best_score_] * len(pair), tested["test_score"], strict=True)

# %%
# Validation and test scores
# --------------------------
# The validation score of the winner is the largest of several, and therefore too high on average;
# the test score is not.

cache.cleanup()
table = pd.DataFrame(rows, columns=["speaker", "validation", "test"])
print("\n" + table.to_string(index=False, float_format="%.3f"))
tested_clips = np.isin(speaker, table["speaker"])
recall = unweighted_average_recall(emotion[tested_clips], predicted[tested_clips])
print("\n| EMO-DB, each speaker left out | unweighted average recall |\n|---|---|")
print(f"| network and training found by the search | {recall:.3f} |")
print("| openSMILE ComParE 2016 with a linear SVM, on all speakers, for comparison | 0.752 |")
