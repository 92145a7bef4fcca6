"""Networks: features in, logits out. One network, one file."""

from skaudio.networks._base import BaseNetwork
from skaudio.networks.diffres import DiffResNet
from skaudio.networks.mts import MTSNet
from skaudio.networks.separable import SeparableNet

__all__ = [
    "BaseNetwork",
    "DiffResNet",
    "MTSNet",
    "SeparableNet",
]
