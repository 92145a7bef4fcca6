"""Floating-point types: where half precision is too little, and where single precision is.

=============================  =================================================================
``at_least_float32(dtype)``    for logarithms, norms and sums, which half precision spoils
``widest_float(device)``       for long running sums and spectra, which float32 spoils
``double_in_evaluation(...)``  for the last steps of a prediction, so that it is reproducible
=============================  =================================================================
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["LinearHead", "at_least_float32", "double_in_evaluation", "widest_float"]


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """Return float32 in place of float16 and bfloat16, and float32 and float64 as they are.

    float16 ends at 65504 and keeps no positive number under 6e-8: powers of audio, squares and
    their sums leave that range. bfloat16 keeps the range but only three decimal digits.

    Parameters
    ----------
    dtype : torch.dtype

    Returns
    -------
    torch.dtype

    See Also
    --------
    widest_float : Where float32 is not enough either.
    """
    return torch.promote_types(dtype, torch.float32)


def widest_float(device: torch.device) -> torch.dtype:
    """Return float64, or float32 for the one kind of device that has no float64 (Apple's "mps").

    Parameters
    ----------
    device : torch.device

    Returns
    -------
    torch.dtype

    See Also
    --------
    at_least_float32 : Where any single precision will do.
    """
    return torch.float32 if device.type == "mps" else torch.float64


def double_in_evaluation(x: Tensor, training: bool) -> Tensor:
    """Return `x` in float64 in evaluation on a CPU, and unchanged otherwise.

    Matrix products in float32 depend on a row's place in the batch in their last bit, since the
    rows of a block are summed in another order than those left over. After pooling little is left
    of a clip, so that float64 costs nothing there, and a prediction is the same whatever other
    clips are in the batch. Accelerators are slow in float64 or lack it, and training has no use
    for it.

    Parameters
    ----------
    x : Tensor
    training : bool
        The module's ``training``.

    Returns
    -------
    Tensor
        Of the shape of `x`.
    """
    return x if training or x.device.type != "cpu" else x.double()


class LinearHead(nn.Linear):
    """:class:`torch.nn.Linear` computed in float64 in evaluation on a CPU.

    The last layer of a network, kept in its attribute ``head`` (see
    :class:`~skaudio.networks.NetworkModule`), and the dense layers on the way to it. In evaluation
    a clip's logits are then the same alone and in any batch (see
    :func:`~skaudio.layers.precision.double_in_evaluation`).

    Parameters
    ----------
    in_features, out_features, bias, device, dtype
        As for :class:`torch.nn.Linear`.

    Shape: input ``(..., in_features)``, output ``(..., out_features)``, in float64 in evaluation
    on a CPU.

    See Also
    --------
    ConstrainedHead : The same, with a bound on the norm of each output's weights.
    AttentionPooling : Computes the vectors that a head maps to logits.

    Examples
    --------
    >>> import torch
    >>> from skaudio.layers import LinearHead
    >>> head = LinearHead(8, 3).eval()
    >>> head(torch.zeros(2, 8)).dtype
    torch.float64
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., in_features)`` to ``(..., out_features)``."""
        if self.training or x.device.type != "cpu":
            return nn.functional.linear(x.to(self.weight.dtype), self.weight, self.bias)
        bias = None if self.bias is None else self.bias.double()
        # Autocast would return to half precision.
        with torch.autocast("cpu", enabled=False):
            return nn.functional.linear(x.double(), self.weight.double(), bias)
