"""Training steps of AdapterResNet beside one without adapters, on features computed before.

With adapters; with a frozen trunk; with log-mel features computed within the step.
"""

from __future__ import annotations

import argparse
import time

import torch
from _timing import compare
from torch import nn

from skaudio.features import LogMelSpectrogram
from skaudio.layers import LogMel
from skaudio.networks import AdapterResNet

N_CLIPS, N_BANDS, N_FRAMES = 8, 128, 61
"""Two seconds at 16 kHz, a hop of 512 and frames of 1024 samples."""


def training_step(n_outputs, device, *, frozen_trunk=False, waveforms=False):
    """Forward, backward and optimiser's step of a network of 32 filters."""
    torch.manual_seed(0)
    module = AdapterResNet().build(N_BANDS, n_outputs).to(device)
    module.trunk.requires_grad_(not frozen_trunk)
    trained = [weight for weight in module.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-3, momentum=0.9)
    features = nn.Identity()
    if waveforms:
        x = 0.1 * torch.randn(N_CLIPS, 32_000, device=device)
        emonet = LogMelSpectrogram(
            n_fft=1024, hop_length=512, center=False, n_mels=N_BANDS, log="ln"
        )
        features = LogMel(**emonet.layer_arguments()).to(device)
    else:
        x = torch.randn(N_CLIPS, N_BANDS, N_FRAMES, device=device)
    target = torch.arange(N_CLIPS, device=device) % 7

    def step():
        optimizer.zero_grad(set_to_none=True)
        logits, named = module(features(x).unsqueeze(1))
        (nn.functional.cross_entropy(logits, target) + named["l2_loss"]).backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return step


def main():
    """Print the table of docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=20)
    given = parser.parse_args()
    torch.set_num_threads(1)
    steps = {
        "without adapters": training_step(7, given.device),
        "with adapters": training_step((7,), given.device),
        "with adapters, trunk frozen": training_step((7,), given.device, frozen_trunk=True),
        "log-mel inside": training_step(7, given.device, waveforms=True),
    }
    clock = time.process_time if given.device == "cpu" else time.perf_counter
    seconds = compare(steps, repeats=given.repeats, clock=clock)
    plain = seconds["without adapters"]
    print("| training step | ms | over the step without adapters |\n|---|---|---|")
    for name, value in seconds.items():
        print(f"| {name} | {1000 * value:.0f} | {value / plain:.2f} |")


if __name__ == "__main__":
    main()
