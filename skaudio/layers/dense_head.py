"""Two dense layers with a batch norm between them, as the end of a network."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from skaudio.layers.precision import LinearHead

__all__ = ["DenseHead", "VectorNorm"]


class VectorNorm(nn.BatchNorm1d):
    """:class:`torch.nn.BatchNorm1d` for one vector per clip.

    A batch of one clip has no variance: it is normalised by the running statistics, where torch
    raises an error. In evaluation the computation is in the type of the input, float64 included.

    Parameters
    ----------
    num_features : int
        Size of a vector.
    eps : float, default=1e-5
        Added to the variance.
    momentum : float, default=0.1
        Share of a batch in the running statistics.

    Shape: input and output ``(batch, num_features)``.

    See Also
    --------
    DenseHead : Has one between its layers.
    MaskedBatchNorm2d : The same for maps.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(num_features, eps, momentum)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each feature."""
        if self.training and len(x) > 1:
            return super().forward(x)
        mean, var = cast(Tensor, self.running_mean), cast(Tensor, self.running_var)
        scale = self.weight.to(x.dtype) * (var.to(x.dtype) + self.eps).rsqrt()
        return (x - mean) * scale + self.bias


class DenseHead(nn.Module):
    """Dense layer to half the size, batch norm, ReLU, dropout, and a dense layer to the logits.

    Parameters
    ----------
    n_features : int
        Size of a clip's vector.
    n_outputs : int
        Logits per clip.
    dropout : float, default=0.2
        Probability of setting a value to zero while training, in [0, 1).

    Shape: input ``(batch, n_features)``, output ``(batch, n_outputs)``, in float64 in evaluation
    on a CPU (see :func:`~skaudio.layers.precision.double_in_evaluation`).

    See Also
    --------
    LinearHead : A single layer.
    AttentionPooling : Computes the vectors.

    References
    ----------
    .. [1] Gerczuk et al., "EmoNet: A Transfer Learning Framework for Multi-Corpus Speech
       Emotion Recognition", arXiv 2103.08310, 2021.

    Examples
    --------
    >>> import torch
    >>> from skaudio.layers import DenseHead
    >>> DenseHead(n_features=64, n_outputs=7)(torch.randn(4, 64)).shape
    torch.Size([4, 7])
    """

    def __init__(self, n_features: int, n_outputs: int, dropout: float = 0.2) -> None:
        super().__init__()
        n_hidden = max(1, n_features // 2)
        self.hidden = LinearHead(n_features, n_hidden)
        self.norm = VectorNorm(n_hidden, eps=1e-3)
        self.dropout = nn.Dropout(dropout)
        self.output = LinearHead(n_hidden, n_outputs)
        for layer in (self.hidden, self.output):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map vectors to logits."""
        return self.output(self.dropout(self.norm(self.hidden(x)).relu()))
