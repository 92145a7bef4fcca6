"""skorch callbacks: for layers that act after training steps, and for records of a training."""

from skaudio.callbacks.epoch_log import EpochLog
from skaudio.callbacks.history_file import HistoryFile
from skaudio.callbacks.kernel_averaging import KernelAveraging
from skaudio.callbacks.norm_scaling import NormScaling
from skaudio.callbacks.tensorboard_events import TensorBoardEvents

__all__ = ["EpochLog", "HistoryFile", "KernelAveraging", "NormScaling", "TensorBoardEvents"]
