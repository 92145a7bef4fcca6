"""How training time depends on torch's threads: small and large networks, idle and busy machine."""

import multiprocessing
import time

import numpy as np
from _timing import compare

from skaudio import AudioClassifier
from skaudio.networks import MTSNet

NETWORKS = {
    "small (default), 16 to 64 channels": MTSNet(),
    "large, 64 to 256 channels": MTSNet(n_filters=(64, 128, 256)),
}
CLIPS = {"small (default), 16 to 64 channels": 256, "large, 64 to 256 channels": 32}


def features(n_clips):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_clips, 40, 200)).astype(np.float32)  # two seconds each
    return X, np.arange(n_clips) % 4


def spin(until):
    while time.time() < until:
        sum(range(10_000))


def time_epochs(name, network):
    X, y = features(CLIPS[name])
    fits = {n: AudioClassifier(network, max_epochs=1, n_threads=n, random_state=0) for n in (1, 2)}
    return compare({n: lambda fit=fit: fit.fit(X, y) for n, fit in fits.items()}, repeats=5)


if __name__ == "__main__":
    print("| network | other work | 1 thread | 2 threads |")
    print("|---|---|---|---|")
    for busy in (False, True):
        for name, network in NETWORKS.items():
            others = []
            if busy:  # as many other processes as there are cores
                others = [
                    multiprocessing.Process(target=spin, args=(time.time() + 120,))
                    for _ in range(multiprocessing.cpu_count())
                ]
            for other in others:
                other.start()
            try:
                times = time_epochs(name, network)
            finally:
                for other in others:
                    other.terminate()
            work = "one process per core" if busy else "none"
            print(f"| {name} | {work} | {times[1]:.2f} s | {times[2]:.2f} s |")
