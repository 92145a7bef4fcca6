"""Norm-constrained layers against plain ones, and the cost of projecting a network."""

from __future__ import annotations

from itertools import pairwise

import torch
from _timing import compare
from torch import nn

from skaudio.layers import ConstrainedConv2d, DepthwiseConv2d, project_norms


def pass_through(layer, x):
    """One forward and one backward of `layer`."""

    def run():
        layer.zero_grad(set_to_none=True)
        layer(x).sum().backward()

    return run


def depthwise_ratios(shape, kernel_size):
    """Seconds of a constrained depthwise layer, and of its look at the norms alone.

    Both over those of torch's grouped convolution. The look is all that the layer adds, so that
    its share tells more than a ratio of two noisy numbers.
    """
    constrained = DepthwiseConv2d(shape[1], 1, kernel_size, max_norm=1.0)
    plain = nn.Conv2d(shape[1], shape[1], kernel_size, padding="same", groups=shape[1], bias=False)
    plain.load_state_dict(constrained.state_dict())
    x = torch.randn(shape, requires_grad=True)
    project_norms(constrained)
    seconds = compare(
        {
            "plain": pass_through(plain, x),
            "constrained": pass_through(constrained, x),
            "look": constrained.restore_norm_,
        },
        repeats=40,
    )
    return seconds["constrained"] / seconds["plain"], seconds["look"] / seconds["plain"]


def million_weights():
    """A plain CNN of about a million weights, every convolution constrained."""
    widths = [1, 64, 128, 256, 256]
    blocks = [
        nn.Sequential(ConstrainedConv2d(n_in, n_out, 3, max_norm=1.0), nn.ReLU(), nn.MaxPool2d(2))
        for n_in, n_out in pairwise(widths)
    ]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10))


def projection_share():
    """Seconds of projecting the network over those of a training step of it."""
    model = million_weights()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    x, target = torch.randn(8, 1, 64, 64), torch.randint(10, (8,))

    def step():
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), target).backward()
        optimizer.step()

    project_norms(model)
    seconds = compare({"step": step, "projection": lambda: project_norms(model)}, repeats=10)
    n_weights = sum(weight.numel() for weight in model.parameters())
    return seconds["projection"] / seconds["step"], n_weights


def main():
    """Print the table of docs/benchmarks.md."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print("| what | measured | wanted |\n|---|---|---|")
    for shape, kernel_size in (
        ((32, 32, 32, 50), 3),
        ((32, 64, 16, 25), 5),
        ((16, 32, 64, 100), 3),
    ):
        ratio, look = depthwise_ratios(shape, kernel_size)
        size = " x ".join(map(str, shape))
        print(f"| depthwise, kernel {kernel_size}, on {size}, over plain | {ratio:.3f} | 1.02 |")
        print(f"| the look at its norms alone, over plain | {look:.3%} | 2% |")
    share, n_weights = projection_share()
    print(f"| projecting {n_weights / 1e6:.2f} million weights, over a step | {share:.3%} | 2% |")


if __name__ == "__main__":
    main()
