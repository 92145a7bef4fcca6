"""Convolution with copies of its kernels that are stretched in time, in frequency or in both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from skaudio.layers.multiscale.branch_maps import (
    Branch,
    branch_maximum,
    resize_map,
    with_shared_gradient,
)
from skaudio.layers.multiscale.kernel_stretching import KernelStretch

__all__ = ["KernelUpdate", "MultiscaleConv2d", "OutputType", "TrainingMode"]

OutputType = Literal["pooled_map", "concat_fmaps", "interleave_chdim"]
TrainingMode = Literal["train_and_eval", "only_eval", "only_train", "only_gradients"]
KernelUpdate = Literal["averaged", "tied"]


class _LastForward(NamedTuple):
    """What :meth:`MultiscaleConv2d.get_stretch_percs` needs to compute the branches again."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    stretched: bool


class MultiscaleConv2d(nn.Conv2d):
    r"""Multi-time-scale convolution (MTS): a drop-in for :class:`torch.nn.Conv2d`.

    Each pair of scale factors adds a branch that convolves the input with the layer's kernels
    resampled by these factors, so that a pattern spoken faster or slower still fires. The
    branches have no weights of their own: parameters, optimizer state and ``state_dict`` are
    those of a plain convolution, and either loads the other's.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, \
            padding_mode, device, dtype
        As in :class:`torch.nn.Conv2d`. Stride and a numeric padding are the same on every
        branch; with ``padding="same"`` each branch pads by its own amounts, so that all maps
        keep the input's size and none has to be resized. Unlike torch's, the layer takes strides
        with ``padding="same"``, too: n cells become ``ceil(n / stride)``, on every branch.
    scale_factors : sequence of pairs of float, default=()
        One factor per spatial axis, in tensor order, for each branch besides the unscaled one:
        ``(0.7, 1.0)`` shortens the kernels along the first axis to 0.7 of their size, rounded
        down and never under 1. Without any pair the layer is a plain convolution.
    output_type : {"pooled_map", "concat_fmaps", "interleave_chdim"}, default="pooled_map"
        How the branches' maps are merged, each resampled bilinearly to the size of the
        unscaled one. ``pooled_map``: their maximum in every cell. ``concat_fmaps``: the maps
        one after another along `time_axis`, the unscaled first. ``interleave_chdim``: twice the
        channels, each maximum followed by the natural log of the time factor that won the cell
        (0 where the unscaled kernel won; a tie goes to the largest factor).
    stretch_penalty_lambda : float, default=0.0
        Each branch's map is multiplied by ``1 - abs(ln(s)) * stretch_penalty_lambda``, s being
        its factor along `time_axis`; >= 0.
    training_mode : {"train_and_eval", "only_eval", "only_train", "only_gradients"}, \
            default="train_and_eval"
        When the branches take part: always, only in evaluation, or only in training; otherwise
        the layer acts as a plain convolution. With ``only_gradients`` the output is always that
        of the plain convolution, but its gradient reaches the kernels through every branch, as
        if it were the gradient of that branch's resized map.
    kernel_update : {"averaged", "tied"}, default="averaged"
        How kernels learn from their branches. ``averaged``: as published, see Notes; call
        :meth:`update_kernels` after each optimizer step. ``tied``: autograd carries every
        branch's gradient through the resampling into the one kernel; nothing to call.
    time_axis : {-2, -1}, default=-2
        Which spatial axis is time.
    stretch_penality_lambda : float, optional
        The original's spelling of `stretch_penalty_lambda`.

    Raises
    ------
    ValueError
        If an argument is out of range, or an input is smaller than a stretched kernel.

    See Also
    --------
    skaudio.callbacks.KernelAveraging : Calls :meth:`update_kernels` while training.
    skaudio.networks.MTSNet : A network of such layers.

    Notes
    -----
    The authors keep one kernel per branch. Each moves along its own gradient, then all are
    resampled back to the base size, averaged, and stretched anew; the bias receives the sum of
    all branches' gradients. For gradient descent, with or without momentum, averaged after
    every step, the same is reached by a single kernel K: its gradient is the mean of the
    branches' gradients, each resampled back to the base size, and :meth:`update_kernels` adds

    .. math:: \frac{1}{n} \sum_i \mathrm{back}_i(\mathrm{stretch}_i(K_0)) - K_0,

    with :math:`K_0` the kernel of the last training forward. That is what this layer does. Under
    an adaptive optimizer, with weight decay, or when averaging less often, it differs from
    moving a kernel per branch.

    The layer keeps the last input (not a copy) for :meth:`get_stretch_percs`. Copies and pickles
    leave that and :math:`K_0` out.

    Shape: input ``(batch, in_channels, height, width)`` or ``(in_channels, height, width)``;
    output as :class:`torch.nn.Conv2d` has it, apart from what `output_type` says.

    References
    ----------
    .. [1] Guizzo, Weyde and Leveson, "Multi-Time-Scale Convolution for Emotion Recognition from
       Speech Audio Signals", ICASSP 2020, arXiv 2003.03375.

    Examples
    --------
    >>> import torch
    >>> from skaudio.layers import MultiscaleConv2d
    >>> conv = MultiscaleConv2d(1, 10, (10, 5), scale_factors=[(0.7, 1.0), (1.428, 1.0)])
    >>> conv(torch.zeros(4, 1, 100, 40)).shape
    torch.Size([4, 10, 91, 36])
    """

    _last: _LastForward | None
    _kernel_before: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        scale_factors: Sequence[tuple[float, float]] = (),
        output_type: OutputType = "pooled_map",
        stretch_penalty_lambda: float = 0.0,
        training_mode: TrainingMode = "train_and_eval",
        kernel_update: KernelUpdate = "averaged",
        time_axis: int = -2,
        stretch_penality_lambda: float | None = None,
    ) -> None:
        # torch refuses padding="same" with strides, which `forward` here can do.
        same = padding == "same"
        super().__init__(
            in_channels, out_channels, kernel_size, 1 if same else stride, padding, dilation,
            groups, bias, padding_mode, device, dtype,
        )  # fmt: skip
        if same:
            self.stride = (stride, stride) if isinstance(stride, int) else tuple(stride)
        if stretch_penality_lambda is not None:
            stretch_penalty_lambda = stretch_penality_lambda
        self.scale_factors = _check_factors(scale_factors)
        self.output_type = _check_option("output_type", output_type, get_args(OutputType))
        self.stretch_penalty_lambda = _check_penalty(stretch_penalty_lambda)
        self.training_mode = _check_option("training_mode", training_mode, get_args(TrainingMode))
        self.kernel_update = _check_option("kernel_update", kernel_update, get_args(KernelUpdate))
        self.time_axis = _check_option("time_axis", time_axis, (-2, -1))
        self._stretches = [
            KernelStretch((self.kernel_size[0], self.kernel_size[1]), factors)
            for factors in ((1.0, 1.0), *self.scale_factors)
        ]
        time_factors = [stretch.factors[self.time_axis] for stretch in self._stretches]
        self._log_factors = [math.log(factor) for factor in time_factors]
        # The maximum gives a tie to the map that comes last, and it belongs to the largest factor.
        self._rising = sorted(range(len(time_factors)), key=time_factors.__getitem__)
        self._forget()

    def forward(self, x: Tensor, training_state: bool | None = None) -> Tensor:
        """Convolve at every scale.

        Parameters
        ----------
        x : Tensor of shape (batch, in_channels, height, width) or (in_channels, height, width)
        training_state : bool, optional
            Whether this is training, for `training_mode`; by default the module's ``training``.

        Returns
        -------
        Tensor of shape (batch, out_channels, new_height, new_width), or without ``batch``
        """
        if x.ndim == 3:
            return self.forward(x[None], training_state).squeeze(0)
        training = self.training if training_state is None else bool(training_state)
        stretched = self._is_stretched(training)
        self._remember(x, training, stretched)
        if stretched:
            return self._all_branches(x)
        if self.scale_factors and self.training_mode == "only_gradients":
            return self._base_branch(self._base_map_with_all_gradients(x))
        return self._base_branch(self._convolve(x, self.weight, self.bias))

    @torch.no_grad()
    def update_kernels(self) -> None:
        """Average the branches' kernels into one, after an optimizer step.

        A second call without a training forward in between does nothing, and so does any call
        with ``kernel_update="tied"`` or where the branches took no part in training.
        """
        if self._kernel_before is None:
            return
        # With a kernel per branch, stretch_i(K0) - lr g_i, the average would be
        # mean(back_i(stretch_i(K0))) - lr mean(back_i(g_i)), since back_i is linear. The step has
        # taken K0 to K0 - lr mean(back_i(g_i)): what is missing does not depend on the gradients.
        before = self._kernel_before.to(self.weight)
        round_trips = [stretch.back(stretch.stretch(before)) for stretch in self._stretches]
        self.weight += torch.stack(round_trips).mean(0) - before
        self._kernel_before = None

    @torch.no_grad()
    def get_stretch_percs(self) -> NDArray[np.float32]:
        """Compute the share of output cells that each branch won in the last forward.

        Computed when asked, from the last input, with the kernels of that moment.

        Returns
        -------
        ndarray of shape (n_branches,)
            Shares in [0, 1], the unscaled branch first, then as in `scale_factors`. A cell in
            which several branches tie counts for each of them. Where only the unscaled kernel
            was used, its share is 1.

        Raises
        ------
        RuntimeError
            If nothing has gone through the layer yet.
        """
        if self._last is None:
            raise RuntimeError(
                "get_stretch_percs: nothing has gone through this layer yet. "
                "Call it after a forward pass."
            )
        shares = np.zeros(len(self._stretches), dtype=np.float32)
        shares[0] = 1.0
        x, weight, bias, stretched = self._last
        if stretched:
            kernels = [stretch.stretch(weight) for stretch in self._stretches]
            maps = self._resized([self._convolve(x, kernel, bias) for kernel in kernels])
            # The maximum is a copy of one of the maps, so that comparing for equality is exact.
            best = torch.stack(maps).amax(0)
            shares[:] = [(fmap == best).float().mean().item() for fmap in maps]
        return shares

    def extra_repr(self) -> str:
        """Append the scale factors to the description of a plain convolution."""
        return f"{super().extra_repr()}, scale_factors={self.scale_factors}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None, "_kernel_before": None}

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._forget()

    def _is_stretched(self, training: bool) -> bool:
        """Tell whether all branches take part in the output."""
        if not self.scale_factors:
            return False
        return self.training_mode == "train_and_eval" or self.training_mode == (
            "only_train" if training else "only_eval"
        )

    def _remember(self, x: Tensor, training: bool, stretched: bool) -> None:
        """Store what :meth:`get_stretch_percs` and :meth:`update_kernels` will need."""
        if torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling():
            return  # Exporting: these tensors hold no numbers and mean nothing after the trace.
        # Copies, since the optimizer changes weights in place before anybody asks for the shares.
        # The input is not copied: nobody changes it, and it may be large.
        weight = self.weight.detach().clone()
        bias = None if self.bias is None else self.bias.detach().clone()
        self._last = _LastForward(x.detach(), weight, bias, stretched)
        learns = stretched or self.training_mode == "only_gradients"
        if training and learns and self.scale_factors and self.kernel_update == "averaged":
            self._kernel_before = weight

    def _forget(self) -> None:
        self._last = None
        self._kernel_before = None

    def _kernels(self) -> list[Tensor]:
        """Compute the kernels of all branches, the unscaled first."""
        if self.kernel_update == "tied":
            return [self.weight, *(s.stretch(self.weight) for s in self._stretches[1:])]
        # Autograd adds up the gradients of all branches: with this factor, their mean.
        share = 1 / len(self._stretches)
        return [stretch.stretch_averaged(self.weight, share) for stretch in self._stretches]

    def _all_branches(self, x: Tensor) -> Tensor:
        kernels = self._kernels()
        if self.output_type == "concat_fmaps":
            maps = [self._convolve(x, kernel, self.bias) for kernel in kernels]
            return torch.cat(self._resized(maps), dim=self.time_axis)
        branches = [self._branch(x, kernels[i], self._weight_of(i)) for i in self._rising]
        size = self._size_of_map(x, self.kernel_size)
        pooled, winner = branch_maximum(branches, self.bias, size)
        if self.output_type == "pooled_map":
            return pooled
        logs = pooled.new_tensor([self._log_factors[i] for i in self._rising])
        return torch.stack([pooled, logs[winner.int()]], dim=2).flatten(1, 2)

    def _base_branch(self, base: Tensor) -> Tensor:
        """Bring the unscaled map alone to the channels that the output has with all branches."""
        if self.output_type != "interleave_chdim" or not self.scale_factors:
            return base
        return torch.stack([base, torch.zeros_like(base)], dim=2).flatten(1, 2)

    def _base_map_with_all_gradients(self, x: Tensor) -> Tensor:
        kernels = self._kernels()
        base = self._convolve(x, kernels[0], self.bias)
        if not torch.is_grad_enabled():
            return base  # The other branches would be padded and thrown away.
        return with_shared_gradient(base, [self._branch(x, kernel) for kernel in kernels[1:]])

    def _resized(self, maps: list[Tensor]) -> list[Tensor]:
        size = maps[0].shape[2:]
        return [resize_map(fmap, size) * self._weight_of(i) for i, fmap in enumerate(maps)]

    def _weight_of(self, branch: int) -> float:
        # Equal for a factor and its inverse: twice and half as fast are as far from the kernel.
        return 1.0 - abs(self._log_factors[branch]) * self.stretch_penalty_lambda

    def _convolve(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        branch = self._branch(x, kernel)
        return F.conv2d(branch.x, kernel, bias, **branch.options)

    def _branch(self, x: Tensor, kernel: Tensor, weight: float = 1.0) -> Branch:
        """Pad `x` where the convolution cannot do it, and collect the branch's arguments."""
        size = self._size_of_map(x, kernel.shape[2:])
        before, after = self._padding_of(kernel.shape[2:])
        options = {"stride": self.stride, "dilation": self.dilation, "groups": self.groups}
        if self.padding_mode == "zeros" and before == after:
            return Branch(x, kernel, {**options, "padding": before}, size, weight)
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        x = F.pad(x, (before[1], after[1], before[0], after[0]), mode)
        return Branch(x, kernel, {**options, "padding": [0, 0]}, size, weight)

    def _padding_of(self, size: Sequence[int]) -> tuple[list[int], list[int]]:
        """Compute the entries to add before and after each spatial axis for a kernel of `size`."""
        if self.padding == "valid":
            return [0, 0], [0, 0]
        if not isinstance(self.padding, str):
            return list(self.padding), list(self.padding)
        # As torch does it: of an odd number, the one that is left over comes at the end.
        missing = [d * (k - 1) for d, k in zip(self.dilation, size, strict=True)]
        return [m // 2 for m in missing], [m - m // 2 for m in missing]

    def _size_of_map(self, x: Tensor, size: Sequence[int]) -> list[int]:
        """Compute the spatial size of the map that a kernel of `size` gives."""
        # k entries at a distance of d span d (k - 1) + 1 cells; a window can start in each cell
        # that leaves so much room, and every stride-th of these does.
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilation, size, strict=True)]
        padding = [b + a for b, a in zip(*self._padding_of(size), strict=True)]
        room = [n + p - r for n, p, r in zip(x.shape[2:], padding, reach, strict=True)]
        if min(room) < 0:
            raise ValueError(
                f"MultiscaleConv2d: an input of spatial size {tuple(x.shape[2:])} with padding "
                f"{self.padding!r} is smaller than a stretched kernel, which reaches over "
                f"{tuple(reach)} (scale_factors={self.scale_factors}). Pad the input, use "
                "padding='same', or leave the largest factors out."
            )
        return [free // step + 1 for free, step in zip(room, self.stride, strict=True)]


def _check_factors(factors: Any) -> tuple[tuple[float, float], ...]:
    try:
        pairs = tuple((float(first), float(second)) for first, second in factors)
    except (TypeError, ValueError):
        pairs = ((math.nan, math.nan),)
    if all(0 < factor < math.inf for pair in pairs for factor in pair):
        return pairs
    raise ValueError(
        f"scale_factors: got {factors!r}, but expected pairs of positive numbers, one for each "
        "spatial axis, such as [(0.7, 1.0), (1.428, 1.0)]."
    )


def _check_penalty(value: float) -> float:
    if not 0 <= value < math.inf:
        raise ValueError(f"stretch_penalty_lambda: got {value!r}, but expected a number >= 0.")
    return float(value)


def _check_option(name: str, value: Any, options: tuple[Any, ...]) -> Any:
    if value not in options:
        wanted = ", ".join(repr(option) for option in options)
        raise ValueError(f"{name}: got {value!r}, but expected one of {wanted}.")
    return value
