"""Depthwise convolutions, which filter each channel on its own, and separable ones.

After the layers of selfEEG (Del Pup et al., Journal of Open Source Software 9(95), 6224,
2024), which serve networks such as EEGNet (Lawhern et al., arXiv 1611.08024).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from skaudio.layers.constrained import ConstrainedConv2d
from skaudio.layers.norm_constraint import NormConstrained, check_bounds

__all__ = ["DepthwiseConv2d", "SeparableConv2d"]


class DepthwiseConv2d(NormConstrained, nn.Conv2d):
    """Convolve every channel with filters of its own, within norm bounds.

    Parameters
    ----------
    in_channels : int
    depth_multiplier : int
        Filters per channel, >= 1; the output has ``in_channels * depth_multiplier`` channels,
        those of the first input channel first.
    kernel_size, stride, padding, dilation, bias, padding_mode, device, dtype
        As for :class:`torch.nn.Conv2d`, but for the defaults ``padding='same'`` and
        ``bias=False``.
    max_norm, min_norm, axis_norm, minmax_rate
        As for :class:`~skaudio.layers.NormConstraint`. The weight has the axes ``(output, 1,
        band, frame)``; by default each filter has its norm.

    Raises
    ------
    ValueError
        If a bound is out of range, or `depth_multiplier` is under 1.

    Shape: input ``(batch, in_channels, n_bands, n_frames)``, output ``(batch, in_channels *
    depth_multiplier, n_bands_out, n_frames_out)``.

    See Also
    --------
    SeparableConv2d : This, and a convolution that mixes the channels.
    project_norms : Restores the bounds after a training step.

    Examples
    --------
    >>> import torch
    >>> from skaudio.layers import DepthwiseConv2d
    >>> layer = DepthwiseConv2d(1, 2, (1, 15), max_norm=0.5)
    >>> layer(torch.randn(4, 1, 8, 64)).shape
    torch.Size([4, 2, 8, 64])
    """

    def __init__(
        self,
        in_channels: int,
        depth_multiplier: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = "same",
        dilation: int | tuple[int, int] = 1,
        bias: bool = False,
        max_norm: float | None = 2.0,
        min_norm: float | None = None,
        axis_norm: int | Sequence[int] = (1, 2, 3),
        minmax_rate: float = 1.0,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if depth_multiplier < 1:
            raise ValueError(f"depth_multiplier={depth_multiplier!r}, but expected at least 1.")
        super().__init__(
            in_channels, in_channels * depth_multiplier, kernel_size, stride, padding, dilation,
            in_channels, bias, padding_mode, device, dtype,
        )  # fmt: skip
        self._constrain(max_norm, min_norm, axis_norm, minmax_rate)


class SeparableConv2d(nn.Module):
    """Convolve each channel on its own, then mix the channels at each position.

    A plain convolution has ``in_channels * out_channels * k`` weights for a kernel of k entries;
    a depthwise one followed by a pointwise one has ``in_channels * (k + out_channels)``.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, dilation
        Of the depthwise convolution, as for :class:`DepthwiseConv2d`.
    bias : bool, default=False
        Whether both convolutions have one.
    depth_multiplier : int, default=1
        Depthwise filters per channel, >= 1.
    depth_max_norm, depth_min_norm, depth_minmax_rate, point_max_norm, point_min_norm, \
            point_minmax_rate
        Bounds of the two weights, as for :class:`~skaudio.layers.NormConstraint`; none by
        default.
    axis_norm : int or sequence of int, default=(1, 2, 3)
        Axes of both weights that one norm covers.
    device, dtype
        As for :class:`torch.nn.Conv2d`.

    Raises
    ------
    ValueError
        If a bound is out of range, or `depth_multiplier` is under 1.

    Shape: input ``(batch, in_channels, n_bands, n_frames)``, output ``(batch, out_channels,
    n_bands_out, n_frames_out)``.

    See Also
    --------
    DepthwiseConv2d : The first half.
    ConstrainedConv2d : The second half, with kernels of one entry.
    skaudio.networks.SeparableNet : A network of such layers.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = "same",
        dilation: int | tuple[int, int] = 1,
        bias: bool = False,
        depth_multiplier: int = 1,
        depth_max_norm: float | None = None,
        depth_min_norm: float | None = None,
        depth_minmax_rate: float = 1.0,
        point_max_norm: float | None = None,
        point_min_norm: float | None = None,
        point_minmax_rate: float = 1.0,
        axis_norm: int | Sequence[int] = (1, 2, 3),
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        # Checked here, under the names of this class: the two layers call all of them max_norm.
        check_bounds(depth_max_norm, depth_min_norm, depth_minmax_rate, prefix="depth_")
        check_bounds(point_max_norm, point_min_norm, point_minmax_rate, prefix="point_")
        self.depthwise = DepthwiseConv2d(
            in_channels, depth_multiplier, kernel_size, stride, padding, dilation, bias,
            depth_max_norm, depth_min_norm, axis_norm, depth_minmax_rate,
            device=device, dtype=dtype,
        )  # fmt: skip
        self.pointwise = ConstrainedConv2d(
            in_channels * depth_multiplier, out_channels, 1, bias=bias, device=device, dtype=dtype,
            max_norm=point_max_norm, min_norm=point_min_norm, axis_norm=axis_norm,
            minmax_rate=point_minmax_rate,
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Filter each channel, then mix them."""
        return self.pointwise(self.depthwise(x))
