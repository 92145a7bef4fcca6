"""What a corpus adds to a convolution that it shares with others."""

from __future__ import annotations

from torch import Tensor, nn

from skaudio.layers.masking import frame_mask, shrink_lengths
from skaudio.layers.normalization import MaskedBatchNorm2d
from skaudio.layers.same_conv import SameConv2d, init_he_normal_

__all__ = ["CorpusConv"]


class CorpusConv(nn.Module):
    r"""Residual adapter and batch norm of one corpus, around a shared convolution.

    With the shared 3 x 3 kernel K, the corpus' own 1 x 1 kernel A, both with the same stride, and
    dropout d,

    .. math:: y = \mathrm{BN}\big(K * x + A * d(x)\big)

    and without an adapter :math:`y = \mathrm{BN}(K * d(x))`. The shared convolution is not part
    of this module: it is handed to `forward`, so that several corpora can have one each of these.

    Parameters
    ----------
    conv : SameConv2d
        The shared convolution; only its sizes are looked at.
    adapter : bool, default=True
        Whether there is an adapter.
    dropout : float, default=0.0
        Probability of setting a value to zero while training, in [0, 1).

    Shape: `conv` and input ``(batch, in_channels, n_bands, n_frames)`` with zeros as padding,
    `lengths` ``(batch,)``, the frames of each clip, or None where nothing is padding; output the
    map, again with zeros as padding, and its lengths or None.

    See Also
    --------
    SameConv2d : The shared convolution.
    BottleneckAdapter : The adapter behind a recurrent layer.
    skaudio.networks.AdapterResNet : Is made of these.

    Notes
    -----
    The norm takes 1e-3 for eps, as Keras does, and torch's momentum of 0.1.

    References
    ----------
    .. [1] Rebuffi, Bilen and Vedaldi, "Efficient Parametrization of Multi-Domain Deep Neural
       Networks", CVPR 2018, arXiv 1803.10082.
    .. [2] Gerczuk et al., "EmoNet: A Transfer Learning Framework for Multi-Corpus Speech
       Emotion Recognition", arXiv 2103.08310, 2021.

    Examples
    --------
    >>> import torch
    >>> from skaudio.layers import CorpusConv, SameConv2d
    >>> conv = SameConv2d(1, 8, stride=2)
    >>> german, urdu = CorpusConv(conv), CorpusConv(conv)
    >>> y, lengths = urdu(conv, torch.randn(2, 1, 40, 61), torch.tensor([61, 61]))
    >>> y.shape, lengths
    (torch.Size([2, 8, 20, 31]), tensor([31, 31]))
    """

    def __init__(self, conv: SameConv2d, adapter: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        n_in, n_out = conv.in_channels, conv.out_channels
        self.adapter = nn.Conv2d(n_in, n_out, 1, bias=False) if adapter else None
        if self.adapter is not None:
            init_he_normal_(self.adapter.weight)
        self.dropout = nn.Dropout(dropout)
        self.norm = MaskedBatchNorm2d(n_out, eps=1e-3)

    def forward(
        self, conv: SameConv2d, x: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Compute the map, and how many frames of each clip are left."""
        if self.adapter is None:
            y = conv(self.dropout(x), lengths)
        elif self._folds(conv, lengths):
            y = conv(x, lengths, self.adapter.weight)
        else:
            # Positions 0, 2, 4 are picked first: torch's 1 x 1 convolution of stride 2 is slower.
            read = x[..., :: conv.stride[0], :: conv.stride[1]]
            y = conv(x, lengths) + self.adapter(self.dropout(read))
        if lengths is None:
            return self.norm(y), None
        lengths = shrink_lengths(lengths, conv.stride[1])
        return self.norm(y, frame_mask(lengths, y.shape[-1])), lengths

    def _folds(self, conv: SameConv2d, lengths: Tensor | None) -> bool:
        """Tell whether to compute both convolutions as one, with the sum of their kernels."""
        if self.training and (self.dropout.p > 0 or not conv.weight.requires_grad):
            # Of a sum the gradient is that of a whole 3 x 3 kernel; frozen, it needs none.
            return False
        return lengths is None or conv.stride == (1, 1)
