"""Networks: features in, logits out. One network, one file."""

from skaudio.networks.base import BaseNetwork, NetworkModule
from skaudio.networks.diffres import DiffResNet
from skaudio.networks.mts import MTSNet
from skaudio.networks.separable import SeparableNet

__all__ = [
    "BaseNetwork",
    "DiffResNet",
    "MTSNet",
    "NetworkModule",
    "SeparableNet",
]
