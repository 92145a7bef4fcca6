"""A training step of one corpus among others, beside a step of a corpus alone; and the memory."""

from __future__ import annotations

import time

import numpy as np
import torch
from skorch.callbacks import Callback

from skaudio import AudioClassifier, MultiCorpusClassifier
from skaudio.networks import AdapterResNet

N_STEPS = 104
"""For each number of corpora; a multiple of 26."""

N_CLIPS, N_BANDS, N_FRAMES = 16, 64, 61
"""Of each corpus: features of two seconds."""


found = {}
"""What the stopwatch has seen last: estimators are cloned, and their callbacks with them."""


class Stopwatch(Callback):
    """Takes the seconds of the processor, and counts what the optimiser keeps."""

    def on_epoch_begin(self, net, **kwargs):
        self.start = time.process_time()

    def on_epoch_end(self, net, **kwargs):
        states = net.optimizer_.state.values()
        found["seconds"] = time.process_time() - self.start  # of the second epoch, in the end
        found["state"] = sum(part.numel() for state in states for part in state.values())


def train(n_corpora):
    """Return milliseconds of a step, parameters, and numbers that the optimiser keeps."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_CLIPS * n_corpora, N_BANDS, N_FRAMES)).astype(np.float32)
    corpus = np.repeat([f"corpus {i:02}" for i in range(n_corpora)], N_CLIPS)
    y = np.arange(len(X)) % 4
    single = AudioClassifier(
        AdapterResNet(n_filters=8), max_epochs=2, batch_size=8, callbacks=[Stopwatch()],
        n_threads=1, random_state=0,
    )  # fmt: skip
    model = MultiCorpusClassifier(single, steps_per_epoch=N_STEPS // n_corpora)
    model.fit(X, y, corpus=corpus)
    return 1000 * found["seconds"] / N_STEPS, model.n_parameters_, found["state"]


def main():
    """Print the table of docs/benchmarks.md."""
    torch.set_num_threads(1)
    numbers = (1, 2, 8, 26)
    rounds = [{n: train(n) for n in numbers} for _ in range(3)]
    print("| corpora | ms a step | over one corpus | parameters | state of the optimiser |")
    print("|---|---|---|---|---|")
    for n in numbers:
        step = np.median([part[n][0] for part in rounds])
        ratio = np.median([part[n][0] / part[1][0] for part in rounds])
        _, n_parameters, state = rounds[0][n]
        print(f"| {n} | {step:.1f} | {ratio:.2f} | {n_parameters} | {state} |")


if __name__ == "__main__":
    main()
