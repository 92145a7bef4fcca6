"""What the tests beside this file start in other processes, to kill, interrupt or run twice.

``python runs.py train NAME CHECKPOINT_DIR RESULT`` trains one configuration,
``python runs.py search`` runs a grid search that takes minutes,
``python runs.py features FOLDER CACHE RESULT`` computes features through a cache,
``python runs.py read FOLDER RESULT`` reads and classifies damaged sound files with little memory.
Each prints "started" once all is imported and prepared.
"""

import json
import resource
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np

# Memory that reading a second of sound may take beyond what Python and its modules take.
READING_BYTES = 512 * 2**20


def configurations():
    """Arguments of AudioClassifier, clips and labels, by name; each trains for a few seconds."""
    from skaudio import LogMelSpectrogram
    from skaudio.augmentation import AdditiveNoise, TimeMask, make_chain
    from skaudio.datasets import make_chirps
    from skaudio.networks import MTSNet

    frontend = LogMelSpectrogram(sample_rate=8000, n_mels=24)
    clips, labels = make_chirps(60, duration=0.3, random_state=0)
    ragged, ragged_labels = make_chirps(60, duration=(0.2, 0.4), random_state=0)
    common = {"network": MTSNet(n_filters=(8, 16)), "batch_size": 8, "random_state": 0}
    features = frontend.fit_transform(clips)
    stopping = {"early_stopping": True, "validation_fraction": 0.3}
    return {
        "plain": ({**common, "max_epochs": 15}, features, labels),
        "early_stopping": (
            {**common, **stopping, "max_epochs": 40, "patience": 8, "lr": 0.02}, features, labels,
        ),
        "staged": (
            {**common, **stopping, "lr_schedule": "staged", "max_epochs": 25, "patience": 4},
            features, labels,
        ),
        "ragged": (
            {**common, "frontend": frontend, "max_epochs": 10, "mixup": 0.3,
             "augmentation": make_chain(AdditiveNoise(), TimeMask())},
            ragged, ragged_labels,
        ),
    }  # fmt: skip


def started():
    print("started", flush=True)


def train(name, checkpoint_dir, result):
    """Train one configuration, and save all that its training computed."""
    from skaudio import AudioClassifier

    parameters, X, y = configurations()[name]
    started()
    begin = time.perf_counter()
    model = AudioClassifier(**parameters, checkpoint_dir=checkpoint_dir).fit(X, y)
    seconds = time.perf_counter() - begin
    np.savez(result, seconds=seconds, **outcome(model, X))


def outcome(model, X):
    """Predictions, weights and history of a trained model, as arrays."""
    weights = model.net_.module_.state_dict()
    history = model.history_.drop(columns="dur")
    return {
        "proba": model.predict_proba(X),
        **{f"weight_{name}": value.numpy() for name, value in weights.items()},
        **{f"history_{name}": history[name].to_numpy() for name in history},
    }


def search():
    """Search over a grid that takes minutes; say how it ended."""
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV

    from skaudio import AudioClassifier

    # A shell that starts a process in the background lets it ignore interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parameters, X, y = configurations()["plain"]
    model = AudioClassifier(**{**parameters, "max_epochs": 300})
    # What is imported late is imported now: an interrupt in an import can leave Python with the
    # exit status of one that nobody caught.
    clone(model).set_params(max_epochs=1).fit(X, y)
    started()
    try:
        GridSearchCV(model, {"lr": [1e-3, 3e-3]}, cv=2).fit(X, y)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    else:
        print("went on to the end", flush=True)


def features(folder, cache, result):
    """Compute the features of the files in a folder through a cache."""
    from sklearn.pipeline import make_pipeline

    from skaudio import AudioLoader, FeatureCache, LogMelSpectrogram

    paths = sorted(map(str, Path(folder).iterdir()))
    steps = make_pipeline(AudioLoader(sample_rate=8000), LogMelSpectrogram(sample_rate=8000))
    started()
    clips = FeatureCache(steps, cache).fit_transform(paths)
    np.savez(result, **{f"clip_{i:04d}": clip for i, clip in enumerate(clips)})


def read(folder, result):
    """Read every file in every way; write what is neither finite numbers nor a proper error."""
    from skaudio import AudioLoader, LogMelSpectrogram
    from skaudio.audio import probe, read

    warnings.simplefilter("ignore")  # of rates that are converted upwards
    paths = sorted(map(str, Path(folder).iterdir()))
    loader = AudioLoader(sample_rate=16000, on_error="report")
    ways = {
        "probe": probe,
        "read": lambda path: read(path)[0],
        "convert": lambda path: read(path, sample_rate=16000)[0],
        "report": lambda path: loader.fit_transform([path])[0],
    }
    frontend = LogMelSpectrogram(sample_rate=16000, n_mels=8)
    model = _train_on_noise(frontend)

    def compute_features(path):
        return frontend.fit_transform(loader.fit_transform([path]))[0].ravel()

    ways |= {"features": compute_features, "predict": lambda path: model.predict_proba([path])[0]}
    _limit_memory()
    started()
    wrong, good, bad = [], [], []
    for path in paths:
        print(path, flush=True)  # so that a crash can be traced to its file
        faults = {name: _fault_of(way, path) for name, way in ways.items()}
        wrong += [f"{path}: {name}: {fault}" for name, fault in faults.items() if fault]
        try:
            ways["convert"](path)
            good.append(path)
        except Exception:
            bad.append(path)
    wrong += _faults_of_report(loader, good, bad)
    Path(result).write_text(json.dumps({"wrong": wrong, "good": len(good), "bad": len(bad)}))


def _train_on_noise(frontend):
    """Train a network just enough that it predicts."""
    from skaudio import AudioClassifier
    from skaudio.networks import MTSNet

    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (4, 8000)).astype(np.float32)
    network = MTSNet(n_filters=(2,), tempo_factors=())
    model = AudioClassifier(network, frontend=frontend, max_epochs=1, random_state=0)
    return model.fit(noise, [0, 1, 0, 1])


def _limit_memory():
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + READING_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _fault_of(way, path):
    from skaudio.audio import AudioInfo
    from skaudio.exceptions import AudioFormatError

    try:
        got = way(path)
    except AudioFormatError as error:
        return None if path in str(error) else f"the error does not name the file: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if isinstance(got, AudioInfo):
        return None if got.n_samples > 0 and got.sample_rate > 0 else f"{got}"
    # Compression and conversion to a higher rate together do not reach this.
    most = 256 * Path(path).stat().st_size
    sound = got.dtype == np.float32 and got.ndim == 1 and 0 < len(got) <= most
    return None if sound and np.isfinite(got).all() else f"{got.dtype} {got.shape}: {got}"


def _faults_of_report(loader, good, bad):
    """Read all files at once: the error is to list the bad ones, and no others."""
    from skaudio.exceptions import AudioFormatError

    try:
        loader.fit_transform(good + bad)
    except AudioFormatError as error:
        lines = str(error)
        missing = [path for path in bad if path not in lines]
        innocent = [path for path in good if path in lines]
        return [f"{path}: not in the report" for path in missing] + [
            f"{path}: in the report, but can be read" for path in innocent
        ]
    except Exception as error:
        return [f"report of all files: {type(error).__name__}: {error}"]
    return ["report of all files: no error"] if bad else []


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"train": train, "search": search, "features": features, "read": read}[command](*arguments)
