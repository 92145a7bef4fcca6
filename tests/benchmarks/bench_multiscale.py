"""Multi-time-scale convolution against the plain convolutions that it is made of.

``python tests/benchmarks/bench_multiscale.py`` prints a Markdown table.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from _timing import compare
from torch import Tensor, nn

from skaudio.layers import MultiscaleConv2d

FACTORS = (0.5, 0.7, 1.428, 2.0)
CASES = {
    "16 x 1 x 300 x 128, 10 kernels of 10 x 5": ((16, 1, 300, 128), 10, (10, 5)),
    "8 x 16 x 150 x 64, 32 kernels of 5 x 5": ((8, 16, 150, 64), 32, (5, 5)),
}
BOUNDS = {"valid": 1.6, "same": 1.25}


def plain_step(convs: list[nn.Conv2d], x: Tensor) -> Callable[[], None]:
    with torch.no_grad():
        grads = [torch.randn_like(conv(x)) for conv in convs]

    def step() -> None:
        for conv, grad in zip(convs, grads, strict=True):
            conv(x).backward(grad)

    return step


def multiscale_step(layer: MultiscaleConv2d, x: Tensor) -> Callable[[], None]:
    with torch.no_grad():
        grad = torch.randn_like(layer(x))

    def step() -> None:
        layer(x).backward(grad)
        layer.update_kernels()

    return step


def measure(shape: tuple[int, ...], n_kernels: int, size: tuple[int, int], padding: str) -> dict:
    # The gradient of the input is needed everywhere but in the first layer of a network.
    x = torch.randn(shape, requires_grad=shape[1] > 1)
    layer = MultiscaleConv2d(
        shape[1], n_kernels, size, padding=padding, scale_factors=[(f, 1.0) for f in FACTORS]
    )
    sizes = [(max(1, int(size[0] * f)), size[1]) for f in (1.0, *FACTORS)]
    convs = [nn.Conv2d(shape[1], n_kernels, k, padding=padding) for k in sizes]
    return compare({"plain": plain_step(convs, x), "mts": multiscale_step(layer, x)}, repeats=15)


def main() -> None:
    """Print the table."""
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print("| input, kernels | padding | five plain | MultiscaleConv2d | ratio | wanted |")
    print("|---|---|---|---|---|---|")
    for name, case in CASES.items():
        for padding, bound in BOUNDS.items():
            seconds = measure(*case, padding)
            ratio = seconds["mts"] / seconds["plain"]
            print(
                f"| {name} | {padding} | {seconds['plain'] * 1e3:.0f} ms "
                f"| {seconds['mts'] * 1e3:.0f} ms | {ratio:.2f} | <= {bound} |"
            )


if __name__ == "__main__":
    main()
