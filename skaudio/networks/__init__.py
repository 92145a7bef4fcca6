"""Networks: features in, logits out. One network, one file."""

from skaudio.networks.adapter_resnet import AdapterResNet
from skaudio.networks.base import BaseNetwork, CorpusModule, NetworkModule
from skaudio.networks.diffres import DiffResNet
from skaudio.networks.mts import MTSNet
from skaudio.networks.separable import SeparableNet

__all__ = [
    "AdapterResNet",
    "BaseNetwork",
    "CorpusModule",
    "DiffResNet",
    "MTSNet",
    "NetworkModule",
    "SeparableNet",
]
