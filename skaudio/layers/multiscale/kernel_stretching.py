"""Bilinear resampling of convolution kernels: one small matrix per axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["KernelStretch"]


class KernelStretch:
    """Resample kernels of one size by a pair of factors, and back to their size.

    Along an axis of k entries and factor s, entry j of the stretched kernel spans the interval
    from ``j / s`` to ``(j + 1) / s`` of the original one. Its centre is the position
    ``(j + 0.5) / s - 0.5``, counted in entries, and the value there is interpolated linearly
    between the two neighbours, as ``torch.nn.functional.interpolate`` does for a given scale
    factor.

    The matrices are held as NumPy arrays. A tensor made while a module is being exported or
    compiled belongs to that trace, and one that was kept would spoil all later ones.

    Parameters
    ----------
    size : tuple of int
        Kernel size k of each spatial axis.
    factors : tuple of float
        Factor s of each spatial axis; the stretched kernel has ``max(1, floor(k * s))`` entries.

    Attributes
    ----------
    stretched_size : tuple of int
        Size of the stretched kernel.
    """

    def __init__(self, size: tuple[int, int], factors: tuple[float, float]) -> None:
        self.size = size
        self.factors = factors
        (rows, columns), (first, second) = size, factors
        self.stretched_size = max(1, int(rows * first)), max(1, int(columns * second))
        axes = list(zip(size, self.stretched_size, factors, strict=True))
        self._stretching = [_interpolation(k, n, 1 / s) for k, n, s in axes]
        # The way back goes by the sizes, k / n, and not by s: with k * s rounded down to n these
        # differ, and the published layer resamples to a given size.
        self._going_back = [_interpolation(n, k, n / k) for k, n, _ in axes]

    def stretch(self, kernel: Tensor) -> Tensor:
        """Resample ``(..., *size)`` to ``(..., *stretched_size)``; autograd takes the adjoint."""
        return _resample(kernel, *self._stretching)

    def back(self, stretched: Tensor) -> Tensor:
        """Resample ``(..., *stretched_size)`` to ``(..., *size)``, coordinates from the sizes."""
        return _resample(stretched, *self._going_back)

    def stretch_averaged(self, kernel: Tensor, share: float) -> Tensor:
        """Stretch, with ``share * back(gradient)`` as the gradient instead of the adjoint."""
        return _StretchAveraged.apply(kernel, self, share)


class _StretchAveraged(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernel: Tensor, stretch: KernelStretch, share: float) -> Tensor:
        ctx.stretch, ctx.share = stretch, share
        return stretch.stretch(kernel)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return ctx.share * ctx.stretch.back(grads[0]), None, None


Matrix = NDArray[np.float64] | None
"""Interpolation along one axis, of shape (n_out, n_in); None where it would change nothing."""


def _resample(kernel: Tensor, rows: Matrix, columns: Matrix) -> Tensor:
    # Autocast would take these products in half precision, and the kernels are parameters.
    with torch.autocast(kernel.device.type, enabled=False):
        if rows is not None:
            kernel = _as_tensor(rows, kernel) @ kernel
        if columns is not None:
            kernel = kernel @ _as_tensor(columns, kernel).T
    return kernel


def _as_tensor(matrix: NDArray[np.float64], like: Tensor) -> Tensor:
    # Without non_blocking the copy would wait for all that an accelerator still has to do.
    return torch.as_tensor(matrix, dtype=like.dtype).to(like.device, non_blocking=True)


def _interpolation(n_in: int, n_out: int, step: float) -> Matrix:
    """Compute the matrix that interpolates linearly every `step` entries."""
    if n_in == n_out and step == 1:
        return None
    entry = np.arange(n_out)
    # Beyond the centres of the first and last entry there is nothing to interpolate with: these
    # are repeated.
    position = np.clip((entry + 0.5) * step - 0.5, 0, n_in - 1)
    # The hat function 1 - |distance|, cut off at 0, is not zero for the two neighbours only and
    # adds up to 1 over them: the weights of linear interpolation.
    distance = np.abs(position[:, np.newaxis] - np.arange(n_in))
    return np.maximum(1 - distance, 0)
