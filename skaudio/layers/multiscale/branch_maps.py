"""Convolutions of several branches, merged: by their maximum, or by sharing one gradient.

Backward passes are written by hand. Autograd would keep the resized map of every branch, n times
the output, from forward to backward. All it needs of them is which one won each cell, a byte; the
gradient of a convolution takes its input and kernel, which exist anyway. These gradients are not
functions that autograd could differentiate again, hence second derivatives are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from skaudio.layers.autograd import refuse_second_derivative

__all__ = ["Branch", "branch_maximum", "resize_map", "with_shared_gradient"]

_CACHEABLE_CELLS = 2**20
"""On a CPU, values of a map that are computed at once.

In float32 that is 4 MB, and the maximum needs three such arrays: map, maximum, winner. Of 16 maps
of 10 x 300 x 128, 2**18 to 2**22 values take about the same time, 2**16 take a quarter more (each
call of a convolution prepares its kernels anew), and the whole batch takes a half more.
"""


class Branch(NamedTuple):
    """A convolution, its arguments, and the weight of its map among those of other branches.

    Attributes
    ----------
    x : Tensor of shape (batch, in_channels, height, width)
    kernel : Tensor of shape (out_channels, in_channels / groups, *kernel_size)
    options : dict
        Stride, padding, dilation and groups of the convolution.
    size : sequence of int
        Spatial size of the map that the convolution gives.
    weight : float, default=1.0
        What the map is multiplied by, once it has been resized.
    """

    x: Tensor
    kernel: Tensor
    options: dict[str, Any]
    size: Sequence[int]
    weight: float = 1.0


def resize_map(fmap: Tensor, size: Sequence[int]) -> Tensor:
    """Resample a map bilinearly to a spatial size.

    Parameters
    ----------
    fmap : Tensor of shape (batch, channels, height, width)
    size : sequence of int
        New height and width.

    Returns
    -------
    Tensor of shape (batch, channels, *size)
        Values between centres of cells (``align_corners=False``).
    """
    if fmap.shape[2:] == tuple(size):
        return fmap
    return F.interpolate(fmap, size=tuple(size), mode="bilinear", align_corners=False)


def branch_maximum(
    branches: Sequence[Branch], bias: Tensor | None, size: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Compute the maximum over the resized and weighted maps of all branches, and who has it.

    Parameters
    ----------
    branches : sequence of Branch
    bias : Tensor of shape (out_channels,), or None
        Added to the map of every branch.
    size : sequence of int
        Spatial size to which each map is resampled bilinearly.

    Returns
    -------
    maximum : Tensor of shape (batch, out_channels, *size)
    winner : Tensor of the same shape, uint8
        Position of the winning branch, the last one of those that tie.

    Notes
    -----
    A whole map is larger than a processor's cache, and to write it to memory and read it back
    takes longer than to compute it. So both passes go through the batch a few clips at a time,
    and through all branches for each: no map of a branch ever exists as a whole. Apart from the
    inputs, backward needs one byte per cell, the winner. A clip's gradient of a branch is that of
    the maximum where this branch won, and 0 elsewhere.
    """
    bias, *tensors = _as_autocast([bias, *(b.x for b in branches), *(b.kernel for b in branches)])
    return _BranchMaximum.apply(_plan(branches), tuple(size), bias, *tensors)


def with_shared_gradient(base: Tensor, branches: Sequence[Branch]) -> Tensor:
    """Return `base` unchanged, and hand its gradient to the kernels of `branches` as well.

    The gradient of `base` is taken for that of each branch's resized map, and carried from
    there to the branch's kernel. Input and bias learn through `base` alone.

    Parameters
    ----------
    base : Tensor of shape (batch, out_channels, *size)
    branches : sequence of Branch

    Returns
    -------
    Tensor of the shape of `base`
    """
    inputs = [branch.x.detach() for branch in branches]
    tensors = _as_autocast([*inputs, *(branch.kernel for branch in branches)])
    return _SharedGradient.apply(_plan(branches), base, *tensors)


class _BranchMaximum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, plan: list[Branch], size: tuple[int, ...], bias: Tensor | None, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        inputs, kernels = tensors[: len(plan)], tensors[len(plan) :]
        # A byte tells up to 256 branches apart.
        best = inputs[0].new_empty((inputs[0].shape[0], kernels[0].shape[0], *size))
        winner = torch.empty_like(best, dtype=torch.uint8)
        with torch.autocast(best.device.type, enabled=False):
            for part in _cacheable_parts(best):
                maps = (
                    _weighted(resize_map(F.conv2d(x[part], k, bias, **b.options), size), b.weight)
                    for b, x, k in zip(plan, inputs, kernels, strict=True)
                )
                best[part], winner[part] = _running_maximum(maps)
        ctx.save_for_backward(winner, *tensors)
        ctx.mark_non_differentiable(winner)
        ctx.plan, ctx.bias_shape = plan, None if bias is None else bias.shape
        return best, winner

    @staticmethod
    @refuse_second_derivative("MultiscaleConv2d")
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        winner, *tensors = ctx.saved_tensors
        n_branches = len(ctx.plan)
        inputs, kernels = tensors[:n_branches], tensors[n_branches:]
        # In a network's first layer the input needs no gradient: that saves a third of the work.
        wanted = [ctx.needs_input_grad[3], True, ctx.bias_shape is not None]
        x_grads = [torch.empty_like(x) if wanted[0] else None for x in inputs]
        kernel_grads = [torch.zeros_like(kernel) for kernel in kernels]
        bias_grad = None if ctx.bias_shape is None else grads[0].new_zeros(ctx.bias_shape)
        for part in _cacheable_parts(winner):
            grad, won_by = grads[0][part], winner[part].to(grads[0].dtype)
            for i, branch in enumerate(ctx.plan):
                # 1.0 where the branch won; again numbers, which are faster than booleans.
                won = torch.eq(won_by, i, out=torch.empty_like(won_by))
                found = _conv_gradients(
                    branch, _weighted(won.mul_(grad), branch.weight), inputs[i][part], kernels[i],
                    wanted,
                )  # fmt: skip
                _collect(found, x_grads[i], part, kernel_grads[i], bias_grad)
        return None, None, bias_grad, *x_grads, *kernel_grads


def _collect(
    found: tuple[Tensor, Tensor, Tensor],
    x_grad: Tensor | None,
    part: slice,
    kernel_grad: Tensor,
    bias_grad: Tensor | None,
) -> None:
    """Store the gradients of a part of the batch; those of kernel and bias are sums over parts."""
    if x_grad is not None:
        x_grad[part] = found[0]
    kernel_grad += found[1]
    if bias_grad is not None:
        bias_grad += found[2]


class _SharedGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: list[Branch], base: Tensor, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        ctx.plan = plan
        return base.view_as(base)

    @staticmethod
    @refuse_second_derivative("MultiscaleConv2d")
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        n_branches = len(ctx.plan)
        inputs, kernels = ctx.saved_tensors[:n_branches], ctx.saved_tensors[n_branches:]
        return (
            None,
            grads[0],
            *([None] * n_branches),
            *(
                _conv_gradients(branch, grads[0], x, kernel, [False, True, False])[1]
                for branch, x, kernel in zip(ctx.plan, inputs, kernels, strict=True)
            ),
        )


def _plan(branches: Sequence[Branch]) -> list[Branch]:
    """Return the branches without their tensors, which autograd holds, and may change, itself."""
    nothing = torch.empty(0)
    return [branch._replace(x=nothing, kernel=nothing) for branch in branches]


def _running_maximum(maps: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
    """Compute the maximum over fresh maps and, as numbers of their dtype, where it came from."""
    best = next(maps)
    winner = torch.zeros_like(best)
    for place, fmap in enumerate(maps, start=1):
        # Comparing into numbers takes a third of the time of comparing into booleans and counting
        # with those: only the former is vectorised from end to end.
        won = torch.ge(fmap, best, out=torch.empty_like(best))
        # Places rise from map to map, so that the largest is the last one to have won. The
        # in-place clamp is a maximum into existing memory which, unlike maximum(out=), autograd
        # can follow: an exported program runs these lines without the hand-written backward.
        winner.clamp_min_(won.mul_(place))
        best.clamp_min_(fmap)
    return best, winner


def _conv_gradients(
    branch: Branch, grad: Tensor, x: Tensor, kernel: Tensor, wanted: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute gradients of input, kernel and bias, those `wanted`, from that of the resized map."""
    options = branch.options
    return torch.ops.aten.convolution_backward(
        _resize_adjoint(grad, branch.size), x, kernel, [len(kernel)], options["stride"],
        options["padding"], options["dilation"], False, [0, 0], options["groups"], wanted,
    )  # fmt: skip


def _resize_adjoint(grad: Tensor, size: Sequence[int]) -> Tensor:
    """Compute the gradient of a map of `size` from that of the map which it was resized to."""
    if grad.shape[2:] == tuple(size):
        return grad
    shape = [*grad.shape[:2], *size]
    return torch.ops.aten.upsample_bilinear2d_backward(
        grad.contiguous(), list(grad.shape[2:]), shape, False, None, None
    )


def _weighted(fmap: Tensor, weight: float) -> Tensor:
    # Serves both ways: a factor is its own adjoint.
    return fmap if weight == 1.0 else fmap * weight


def _cacheable_parts(x: Tensor) -> list[slice]:
    """Slices of the batch small enough that the part of a map `x` stays in the cache."""
    # An accelerator has no use for small parts, and a traced program must fit any batch size.
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return [slice(None)]
    step = max(1, _CACHEABLE_CELLS * len(x) // max(1, x.numel()))
    return [slice(start, start + step) for start in range(0, len(x), step)]


def _as_autocast(tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Cast tensors as autocast would for a convolution."""
    # Autocast does not look into hand-written functions, and leaves float64 alone everywhere.
    device = next(t.device.type for t in tensors if t is not None)
    if not torch.is_autocast_enabled(device):
        return list(tensors)
    dtype = torch.get_autocast_dtype(device)
    return [t if t is None or t.dtype == torch.float64 else t.to(dtype) for t in tensors]
