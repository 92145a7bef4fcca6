"""Bilinear resampling of convolution kernels: one small matrix per axis."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

__all__ = ["KernelStretch"]


class KernelStretch:
    """Stretches kernels of one size by one pair of factors, and brings them back.

    Along an axis of k entries and factor s, entry j of the stretched kernel sits at position
    ``(j + 0.5) / s - 0.5`` of the original one and is interpolated linearly between its two
    neighbours there, as ``torch.nn.functional.interpolate`` does it for a given scale factor.

    Parameters
    ----------
    size : tuple of int
        Kernel size k of each spatial axis.
    factors : tuple of float
        Factor s of each spatial axis; the stretched kernel has ``max(1, floor(k * s))`` entries.
    """

    def __init__(self, size: tuple[int, int], factors: tuple[float, float]) -> None:
        self.size = size
        self.factors = factors
        (rows, columns), (first, second) = size, factors
        self.stretched_size = max(1, int(rows * first)), max(1, int(columns * second))

    def stretch(self, kernel: Tensor) -> Tensor:
        """Resample ``(..., *size)`` to ``(..., *stretched_size)``; autograd takes the adjoint."""
        return self._resample(
            kernel,
            [
                (k, n, 1 / s)
                for k, n, s in zip(self.size, self.stretched_size, self.factors, strict=True)
            ],
        )

    def back(self, stretched: Tensor) -> Tensor:
        """Resample ``(..., *stretched_size)`` to ``(..., *size)``, coordinates from the sizes."""
        return self._resample(
            stretched,
            [(n, k, n / k) for k, n in zip(self.size, self.stretched_size, strict=True)],
        )

    def stretch_averaged(self, kernel: Tensor, share: float) -> Tensor:
        """Stretch, with ``share * back(gradient)`` as the gradient instead of the adjoint."""
        return _StretchAveraged.apply(kernel, self, share)

    @staticmethod
    def _resample(kernel: Tensor, axes: list[tuple[int, int, float]]) -> Tensor:
        rows, columns = (_matrix(*axis, kernel.dtype, kernel.device) for axis in axes)
        with torch.autocast(kernel.device.type, enabled=False):
            return rows @ kernel @ columns.T


class _StretchAveraged(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernel: Tensor, stretch: KernelStretch, share: float) -> Tensor:
        ctx.stretch, ctx.share = stretch, share
        return stretch.stretch(kernel)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return ctx.share * ctx.stretch.back(grads[0]), None, None


@lru_cache(maxsize=512)
def _matrix(n_in: int, n_out: int, step: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Matrix of shape (n_out, n_in) that interpolates linearly every `step` entries."""
    # A tensor made in inference mode could not be used in training afterwards.
    with torch.inference_mode(False), torch.no_grad():
        entry = torch.arange(n_out, dtype=torch.float64)
        position = ((entry + 0.5) * step - 0.5).clamp(0, n_in - 1)
        distance = (position[:, None] - torch.arange(n_in, dtype=torch.float64)).abs()
        return (1 - distance).clamp(min=0).to(device, dtype)
