"""Linear layers and convolutions whose weights stay within norm bounds.

After the layers of selfEEG, with Keras' meaning of the constraints:
Del Pup et al., "SelfEEG: A Python library for Self-Supervised Learning in
Electroencephalography", Journal of Open Source Software 9(95), 6224, 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from skaudio.layers.norm_constraint import NormConstrained
from skaudio.layers.precision import LinearHead

__all__ = [
    "ConstrainedConv1d",
    "ConstrainedConv2d",
    "ConstrainedDense",
    "ConstrainedHead",
    "ConstrainedLinear",
]


class ConstrainedLinear(NormConstrained, nn.Linear):
    """:class:`torch.nn.Linear` with bounds on the norms of its weight.

    Also named ``ConstrainedDense``.

    Parameters
    ----------
    in_features, out_features, bias, device, dtype
        As for :class:`torch.nn.Linear`.
    max_norm, min_norm, axis_norm, minmax_rate
        As for :class:`~skaudio.layers.NormConstraint`. The weight has the axes ``(output,
        input)``; by default each output has its norm.

    Raises
    ------
    ValueError
        If a bound is out of range or `axis_norm` does not fit the weight.

    Shape: input ``(..., in_features)``, output ``(..., out_features)``.

    See Also
    --------
    NormConstraint : The bounds and the projection.
    project_norms : Restores the bounds after a training step.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        max_norm: float | None = 2.0,
        min_norm: float | None = None,
        axis_norm: int | Sequence[int] = 1,
        minmax_rate: float = 1.0,
    ) -> None:
        super().__init__(in_features, out_features, bias, device, dtype)
        self._constrain(max_norm, min_norm, axis_norm, minmax_rate)


ConstrainedDense = ConstrainedLinear


class ConstrainedHead(NormConstrained, LinearHead):
    """:class:`~skaudio.layers.LinearHead` with a bound on the norm of each output's weights.

    Parameters
    ----------
    in_features, out_features, bias, device, dtype
        As for :class:`torch.nn.Linear`.
    max_norm : float or None, default=0.25
        Largest norm of an output's weights, > 0; None for no bound.

    Raises
    ------
    ValueError
        If the bound is out of range.

    Shape: input ``(batch, in_features)``, output ``(batch, out_features)``, in float64 in
    evaluation on a CPU.

    See Also
    --------
    LinearHead : The same without a bound.
    skaudio.networks.SeparableNet : Ends in this layer.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        max_norm: float | None = 0.25,
    ) -> None:
        super().__init__(in_features, out_features, bias, device, dtype)
        self._constrain(max_norm)


class ConstrainedConv1d(NormConstrained, nn.Conv1d):
    """:class:`torch.nn.Conv1d` with bounds on the norms of its weight.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, dilation, groups, bias, padding_mode, device, \
            dtype
        As for :class:`torch.nn.Conv1d`.
    padding : int, tuple of int, 'same', 'valid' or 'causal', default='same'
        ``'causal'`` pads at the start only, by ``dilation * (kernel_size - 1)``: no output depends
        on a later input.
    max_norm, min_norm, axis_norm, minmax_rate
        As for :class:`~skaudio.layers.NormConstraint`. The weight has the axes ``(output,
        input, time)``; by default each output channel has its norm.

    Raises
    ------
    ValueError
        If a bound is out of range or `axis_norm` does not fit the weight.

    Shape: input ``(batch, in_channels, n_frames)``, output ``(batch, out_channels,
    n_frames_out)``; with ``'same'``, and with ``'causal'`` and stride 1, as many frames as
    the input has.

    See Also
    --------
    NormConstraint : The bounds and the projection.
    project_norms : Restores the bounds after a training step.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] = 1,
        padding: int | tuple[int] | str = "same",
        dilation: int | tuple[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        max_norm: float | None = 2.0,
        min_norm: float | None = None,
        axis_norm: int | Sequence[int] = (1, 2),
        minmax_rate: float = 1.0,
    ) -> None:
        causal = padding == "causal"
        super().__init__(
            in_channels, out_channels, kernel_size, stride, 0 if causal else padding, dilation,
            groups, bias, padding_mode, device, dtype,
        )  # fmt: skip
        self.causal = causal
        self._constrain(max_norm, min_norm, axis_norm, minmax_rate)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.causal:
            before = self.dilation[0] * (self.kernel_size[0] - 1)
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            input = nn.functional.pad(input, (before, 0), mode=mode)
        return super()._conv_forward(input, weight, bias)

    def extra_repr(self) -> str:
        """Append that the padding is causal."""
        return super().extra_repr() + (", padding='causal'" if self.causal else "")


class ConstrainedConv2d(NormConstrained, nn.Conv2d):
    """:class:`torch.nn.Conv2d` with bounds on the norms of its weight.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, \
            padding_mode, device, dtype
        As for :class:`torch.nn.Conv2d`, but for the default ``padding='same'``.
    max_norm, min_norm, axis_norm, minmax_rate
        As for :class:`~skaudio.layers.NormConstraint`. The weight has the axes ``(output,
        input, band, frame)``; by default each output channel has its norm.

    Raises
    ------
    ValueError
        If a bound is out of range or `axis_norm` does not fit the weight.

    Shape: input ``(batch, in_channels, n_bands, n_frames)``, output ``(batch, out_channels,
    n_bands_out, n_frames_out)``.

    See Also
    --------
    NormConstraint : The bounds and the projection.
    project_norms : Restores the bounds after a training step.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = "same",
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        max_norm: float | None = 2.0,
        min_norm: float | None = None,
        axis_norm: int | Sequence[int] = (1, 2, 3),
        minmax_rate: float = 1.0,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip
        self._constrain(max_norm, min_norm, axis_norm, minmax_rate)
