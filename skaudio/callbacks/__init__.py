"""skorch callbacks for layers that act after training steps."""

from skaudio.callbacks.kernel_averaging import KernelAveraging
from skaudio.callbacks.norm_scaling import NormScaling

__all__ = ["KernelAveraging", "NormScaling"]
