"""Networks: features in, logits out. One network, one file."""

from skaudio.networks.adapter_resnet import AdapterResNet
from skaudio.networks.adapter_rnn import AdapterRNN
from skaudio.networks.base import BaseNetwork
from skaudio.networks.contract import CorpusModule, NetworkModule
from skaudio.networks.diffres import DiffResNet
from skaudio.networks.fusion import FusionNet
from skaudio.networks.mts import MTSNet
from skaudio.networks.separable import SeparableNet
from skaudio.networks.vgg16 import VGG16Net

__all__ = [
    "AdapterRNN",
    "AdapterResNet",
    "BaseNetwork",
    "CorpusModule",
    "DiffResNet",
    "FusionNet",
    "MTSNet",
    "NetworkModule",
    "SeparableNet",
    "VGG16Net",
]
