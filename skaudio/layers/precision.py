"""Where single precision is not enough."""

import torch
from torch import Tensor, nn

__all__ = ["LinearHead", "widen"]


def widen(x: Tensor, training: bool) -> Tensor:
    """Give `x` in float64 in evaluation on a CPU, and unchanged otherwise.

    Matrix products in float32 depend on a row's place in the batch in their last bit. What is
    left of a clip after pooling is small, so float64 costs nothing there, and a prediction is
    then the same whatever the clip's neighbours are. Accelerators are slow in float64 or lack
    it, and training has no use for it.
    """
    return x if training or x.device.type != "cpu" else x.double()


class LinearHead(nn.Linear):
    """:class:`torch.nn.Linear` computed in float64 in evaluation on a CPU.

    A network whose last layer it is calls it ``head``; estimators set its bias to the log
    prior of the classes before training.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, in_features)`` to ``(batch, out_features)``."""
        if self.training or x.device.type != "cpu":
            return nn.functional.linear(x.to(self.weight.dtype), self.weight, self.bias)
        bias = None if self.bias is None else self.bias.double()
        with torch.autocast("cpu", enabled=False):
            return nn.functional.linear(x.double(), self.weight.double(), bias)
