"""Measure openSMILE's functionals with a linear SVM, to compare with ``audio_pipeline``.

The package ``opensmile`` (which skaudio does not need) has to be installed::

    python docs/measure_opensmile.py --data DIR

prints a row for each corpus: the unweighted average recall of all folds pooled, with its standard
error, the number of columns, and milliseconds of CPU per second of
sound. ComParE 2016 has 6373 functionals; the SVM is trained on standardised columns. Its cost C is
chosen in favour of openSMILE: the table shows the best of all that are tried.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import opensmile
from sklearn.metrics import recall_score
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skaudio import AudioLoader
from skaudio.datasets import load_manifest

# Table, column of the groups, and splitter.
CORPORA = {
    "emodb": ("speaker", LeaveOneGroupOut()),
    "urdu": ("speaker", GroupKFold(5)),
    "fsdd": ("speaker", LeaveOneGroupOut()),
    "esc10": ("fold", LeaveOneGroupOut()),
}
COSTS = (1e-4, 1e-3, 1e-2, 1e-1)

parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
parser.add_argument("--data", type=Path, default=os.environ.get("SKAUDIO_DATA"))
parser.add_argument("--corpora", nargs="+", default=list(CORPORA), choices=list(CORPORA))
args = parser.parse_args()
if args.data is None:
    parser.error("pass --data DIR, or set SKAUDIO_DATA")

smile = opensmile.Smile(
    feature_set=opensmile.FeatureSet.ComParE_2016,
    feature_level=opensmile.FeatureLevel.Functionals,
)
print(
    "| corpus | UAR | standard error | C | columns | ms of CPU per second |\n"
    "|---|---|---|---|---|---|"
)
for name in args.corpora:
    group, splitter = CORPORA[name]
    clips = load_manifest(args.data / f"{name}.csv")
    y, groups = np.asarray(clips.target), np.asarray(clips[group])
    waveforms = AudioLoader(sample_rate=16000).fit_transform(clips.data)
    start = time.process_time()
    rows = [smile.process_signal(np.asarray(clip), 16000).to_numpy()[0] for clip in waveforms]
    seconds = sum(map(len, waveforms)) / 16000
    cost_per_second = 1000 * (time.process_time() - start) / seconds
    X = np.nan_to_num(np.stack(rows)).astype(np.float32)
    best = None
    for C in COSTS:
        model = make_pipeline(StandardScaler(), SVC(kernel="linear", C=C, class_weight="balanced"))
        predicted = cross_val_predict(model, X, y, groups=groups, cv=splitter)
        recalls = recall_score(y, predicted, average=None)
        if best is None or recalls.mean() > best[0]:
            # Each recall is a share of so many clips, the mean that of so many classes.
            counts = np.unique(y, return_counts=True)[1]
            error = np.sqrt(np.sum(recalls * (1 - recalls) / counts)) / len(counts)
            best = recalls.mean(), error, C
    print(
        f"| {name} | {best[0]:.3f} | {best[1]:.3f} | {best[2]:g} | {X.shape[1]} "
        f"| {cost_per_second:.1f} |",
        flush=True,
    )
