"""What a training with the defaults takes, and what its parts contribute.

2000 steps on 480 clips of 2 s, as of EMO-DB, extrapolated from an epoch on one thread; and single
steps of the network alone, with what might make them faster.
"""

import time
from functools import partial

import numpy as np
import torch
from _timing import compare

from skaudio import AudioClassifier, LogMelSpectrogram
from skaudio.features import PitchSalience, StackedFeatures
from skaudio.networks import MTSNet

LOG_MEL = StackedFeatures([("log_mel", LogMelSpectrogram(hop_length=160, n_mels=64))], average=2)
WITH_PITCH = StackedFeatures(
    [*LOG_MEL.transformers, ("pitch", PitchSalience(hop_length=160))], average=2
)


def seconds(X, y, **settings):
    """Seconds that 2000 steps take."""
    model = AudioClassifier(**settings, max_epochs=3, n_threads=1, random_state=0).fit(X, y)
    return model.history_["dur"].iloc[1:].min() / (len(X) / model.batch_size) * 2000


LENGTHS = torch.tensor([100, 93, 88, 81, 75, 96, 70, 99])


def step_seconds(network):
    """Seconds of the processor for forward and backward, side by side for four kinds of steps."""
    x, y = torch.randn(8, 1, 64, 100), torch.arange(8) % 7
    module, last = (network.build(n_bands=64, n_outputs=7).train() for _ in range(2))
    last.to(memory_format=torch.channels_last)

    def step(module, lengths=None, bfloat16=False):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits = module(x, lengths)
        torch.nn.functional.cross_entropy(logits.float(), y).backward()
        module.zero_grad()

    kinds = {
        "clips of one length": partial(step, module),
        "padded clips": partial(step, module, LENGTHS),
        "padded clips, bfloat16": partial(step, module, LENGTHS, bfloat16=True),
        "padded clips, channels_last": partial(step, last, LENGTHS),
    }
    return compare(kinds, repeats=80, warmup=10, clock=time.process_time)


def main():
    rng = np.random.default_rng(0)
    waveforms = (0.1 * rng.standard_normal((480, 32000))).astype(np.float32)
    y = np.arange(480) % 7
    log_mel, both = (part.fit_transform(waveforms) for part in (LOG_MEL, WITH_PITCH))
    rows = {
        "64 log-mel bands, ready": seconds(log_mel, y),
        "the same, one tempo": seconds(log_mel, y, network=MTSNet(tempo_factors=())),
        "log-mel bands and pitch, ready": seconds(both, y),
        "the same, computed in each step": seconds(waveforms, y, frontend=WITH_PITCH),
        'the same with augmentation="voice"': seconds(
            waveforms, y, frontend=WITH_PITCH, augmentation="voice"
        ),
    }
    print("| 2000 steps of 8 clips of 2 s | seconds |\n|---|---|")
    for name, duration in rows.items():
        print(f"| {name} | {duration:.0f} |", flush=True)

    torch.set_num_threads(1)
    print("\n| ms of a step | default | one tempo | one tempo, twice as many filters |")
    print("|---|---|---|---|")
    plain = MTSNet(tempo_factors=())
    wide = MTSNet((32, 32, 64, 128), tempo_factors=())
    columns = [step_seconds(network) for network in (MTSNet(), plain, wide)]
    for kind in columns[0]:
        print(f"| {kind} | {' | '.join(f'{1000 * column[kind]:.1f}' for column in columns)} |")


if __name__ == "__main__":
    main()
