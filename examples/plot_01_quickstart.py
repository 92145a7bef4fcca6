"""
Recognise spoken digits
=======================

From recordings to a confusion matrix: features and a network in one scikit-learn pipeline,
trained on some voices and tested on others. Takes less than a minute on two cores and needs no
download.
"""

# %%
# The recordings
# --------------
# The bundled corpus holds the digits "zero" to "nine", spoken by synthetic voices at three
# speaking rates. A fair test leaves whole voices out.

from pathlib import Path

import matplotlib as mpl
import numpy as np
from sklearn.metrics import ConfusionMatrixDisplay, classification_report
from sklearn.model_selection import GroupShuffleSplit
from sklearn.pipeline import make_pipeline

import skaudio
from skaudio import AudioClassifier, LogMelSpectrogram
from skaudio.datasets import load_spoken_digits
from skaudio.metrics import unweighted_average_recall

clips = load_spoken_digits()
splitter = GroupShuffleSplit(n_splits=1, test_size=0.25, random_state=0)
train, test = next(splitter.split(clips.data, clips.target, groups=clips.speaker))
X_train, X_test = ([clips.data[i] for i in part] for part in (train, test))
y_train, y_test = clips.target[train], clips.target[test]

print(f"{len(train)} clips by {len(set(clips.speaker[train]))} voices to learn from,")
print(f"{len(test)} clips by {len(set(clips.speaker[test]))} other voices to recognise")

# %%
# The model
# ---------
# Clips of any length go in; log-mel spectrograms are computed; a small network with
# multi-time-scale convolutions learns from them, in 2000 steps.

model = make_pipeline(
    LogMelSpectrogram(sample_rate=clips.sample_rate),
    AudioClassifier(random_state=0, verbose=1),
)
model.fit(X_train, y_train)

# %%
# How well does it do?
# --------------------

predicted = model.predict(X_test)
print(classification_report(y_test, predicted, labels=clips.target_names))
print(f"unweighted average recall: {unweighted_average_recall(y_test, predicted):.3f}")

results = Path("results")
results.mkdir(exist_ok=True)
mpl.use("Agg")
display = ConfusionMatrixDisplay.from_predictions(
    y_test, predicted, labels=clips.target_names, cmap="Blues", colorbar=False, xticks_rotation=45
)
display.ax_.set_title("Digits spoken by voices not in the training set")
display.figure_.tight_layout()
display.figure_.savefig(results / "quickstart_confusion.png", dpi=150)

# %%
# Save and load
# -------------
# The whole pipeline goes into one file, which holds data and no code: loading it is safe, whoever
# made it. A card in the file says what the model is, without loading it.

skaudio.save(model, results / "digits.skaudio")
card = skaudio.describe(results / "digits.skaudio")
print(
    f"{len(card['labels'])} labels, trained on {card['n_clips']} clips at {card['sample_rate']} Hz"
)

loaded = skaudio.load(results / "digits.skaudio")
assert np.array_equal(loaded.predict(X_test), predicted)
print(f"saved, loaded and predicted the same; model and picture are in {results}/")
