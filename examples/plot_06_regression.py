"""
Estimate numbers from sound
===========================

AudioRegressor estimates numbers, here two at once: the frequency at which a synthetic sound starts,
and the one at which it ends. Takes less than a minute on two cores and needs no download.
"""

# %%
# The sounds
# ----------
# Each clip is a tone that glides from one frequency to another in 0.3 to 0.6 seconds, in noise.
# Both frequencies are drawn from the four octaves between 200 and 3200 Hz, every sweep is a class
# of its own to ``make_chirps``, and its label is parsed for the two numbers.

from pathlib import Path

import matplotlib as mpl
import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from skaudio import AudioRegressor, LogMelSpectrogram
from skaudio.datasets import make_chirps
from skaudio.metrics import concordance_correlation

SAMPLE_RATE = 8000
rng = np.random.default_rng(0)
sweeps = 200 * 2 ** rng.uniform(0, 4, size=(400, 2))
X, labels = make_chirps(
    400, sweeps=sweeps, sample_rate=SAMPLE_RATE, duration=(0.3, 0.6), noise=0.05, random_state=0
)
frequencies = np.array([label.removesuffix(" Hz").split("-") for label in labels], dtype=float)

# %%
# Pitch is heard in ratios of frequencies, so the targets are octaves above 200 Hz: an error of a
# semitone then counts the same everywhere.

octaves = np.log2(frequencies / 200)
X_train, X_test, y_train, y_test = train_test_split(X, octaves, test_size=0.3, random_state=0)

# %%
# The model
# ---------
# Targets are standardised for training, and predictions come back in octaves.

model = make_pipeline(
    LogMelSpectrogram(sample_rate=SAMPLE_RATE),
    AudioRegressor(max_epochs=12, lr=0.01, random_state=0),
)
predicted = model.fit(X_train, y_train).predict(X_test)

# %%
# Estimates against true values
# -----------------------------

ccc = concordance_correlation(y_test, predicted, multioutput="raw_values")
semitones = 12 * np.median(np.abs(predicted - y_test), axis=0)
names = ("start", "end")
print("| frequency at the | concordance correlation | median error (semitones) |")
print("|---|---|---|")
for name, correlation, error in zip(names, ccc, semitones, strict=True):
    print(f"| {name} | {correlation:.3f} | {error:.1f} |")

mpl.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

figure, axes = plt.subplots(1, 2, figsize=(8, 4.4), sharey=True, layout="constrained")
ticks = [200, 400, 800, 1600, 3200]
for column, (ax, name) in enumerate(zip(axes, names, strict=True)):
    truth, estimate = (200 * 2 ** y[:, column] for y in (y_test, predicted))
    ax.axline((200, 200), (3200, 3200), color="0.6", linewidth=1, zorder=0)
    ax.scatter(truth, estimate, s=14, alpha=0.6, linewidth=0)
    ax.set(
        xscale="log", yscale="log", box_aspect=1, xlim=(140, 4600), ylim=(140, 4600),
        xlabel="true frequency (Hz)", title=f"frequency at the {name}",
    )  # fmt: skip
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(ticks, labels=[str(tick) for tick in ticks])
        axis.set_ticks([], minor=True)
    ax.text(
        0.05, 0.95,
        f"concordance {ccc[column]:.3f}\nmedian error {semitones[column]:.1f} semitones",
        transform=ax.transAxes, va="top",
    )  # fmt: skip
axes[0].set_ylabel("estimated frequency (Hz)")

results = Path("results")
results.mkdir(exist_ok=True)
figure.savefig(results / "regression.png", dpi=150)
print(f"\nthe figure is in {results}/regression.png")
