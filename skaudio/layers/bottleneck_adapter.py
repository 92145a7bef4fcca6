"""The adapter of a corpus behind a layer of features."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from skaudio.layers.precision import LinearHead

__all__ = ["BottleneckAdapter"]


class BottleneckAdapter(nn.Module):
    r"""Layer norm, linear map to a quarter, ReLU, linear map back, added to the input.

    .. math:: y = x + U \max(0, D \, \mathrm{LN}(x))

    Parameters
    ----------
    n_features : int
        Size of a frame's vector; the bottleneck has a quarter of it, and at least 1.

    Shape: input and output ``(..., n_features)``, in float64 in evaluation on a CPU (see
    :func:`~skaudio.layers.precision.double_in_evaluation`).

    See Also
    --------
    CorpusConv : The adapter of a convolution.
    skaudio.networks.AdapterRNN : Has one behind each recurrent layer.

    References
    ----------
    .. [1] Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", ICML 2019,
       arXiv 1902.00751.
    .. [2] Gerczuk et al., "EmoNet: A Transfer Learning Framework for Multi-Corpus Speech
       Emotion Recognition", arXiv 2103.08310, 2021.

    Examples
    --------
    >>> import torch
    >>> from skaudio.layers import BottleneckAdapter
    >>> BottleneckAdapter(64)(torch.randn(2, 50, 64)).shape
    torch.Size([2, 50, 64])
    """

    def __init__(self, n_features: int) -> None:
        super().__init__()
        n_narrow = max(1, n_features // 4)
        self.norm = nn.LayerNorm(n_features)
        self.down = LinearHead(n_features, n_narrow, bias=False)
        self.up = LinearHead(n_narrow, n_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Adapt vectors."""
        scale, shift = self.norm.weight.to(x.dtype), self.norm.bias.to(x.dtype)
        normalised = functional.layer_norm(x, x.shape[-1:], scale, shift, self.norm.eps)
        return x + self.up(self.down(normalised).relu())
