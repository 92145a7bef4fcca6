"""Convolutions padded as TensorFlow does, each clip by its own length."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["SameConv2d"]


class SameConv2d(nn.Conv2d):
    r"""3 x 3 convolution without bias whose padding depends on whether sizes are even or odd.

    With stride 2, n positions become :math:`\lceil n / 2 \rceil`. TensorFlow's "same" padding
    adds as many zeros as the last window lacks, and half of them, rounded down, in front: an even
    size gets one zero behind, an odd size one in front and one behind. The kernel's centre thus
    lies at the positions 1, 3, 5 of an even size and at 0, 2, 4 of an odd one. With stride 1 there
    is one zero on either side.

    In a padded batch the number of frames that counts is the clip's own: each clip is aligned as
    if it were alone.

    Parameters
    ----------
    in_channels, out_channels : int
    stride : {1, 2}, default=1
        Along bands and frames.

    Raises
    ------
    ValueError
        If `stride` is neither 1 nor 2.

    Shape: input ``(batch, in_channels, n_bands, n_frames)`` with zeros as padding, and `lengths`
    ``(batch,)``, the frames of each clip, or None where nothing is padding; output ``(batch,
    out_channels, ceil(n_bands / stride), ceil(n_frames / stride))``. What comes out at padding is
    some number or other.

    See Also
    --------
    CorpusConv : Adds an adapter and a norm.
    shrink_lengths : Computes the lengths of the output.

    Examples
    --------
    >>> import torch
    >>> from skaudio.layers import SameConv2d
    >>> SameConv2d(1, 8, stride=2)(torch.randn(4, 1, 40, 61)).shape
    torch.Size([4, 8, 20, 31])
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        if stride not in (1, 2):
            raise ValueError(f"SameConv2d: got stride={stride!r}, but expected 1 or 2.")
        super().__init__(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)

    def reset_parameters(self) -> None:
        """Draw He-normal weights, as :func:`init_he_normal_` does."""
        init_he_normal_(self.weight)

    def forward(
        self, x: Tensor, lengths: Tensor | None = None, adapter: Tensor | None = None
    ) -> Tensor:
        """Compute the map.

        Parameters
        ----------
        x, lengths
            As above.
        adapter : Tensor of shape (out_channels, in_channels, 1, 1), optional
            Kernel of a 1 x 1 convolution of the same stride, whose map is added. It costs nothing,
            since it is added to one of the nine places of the 3 x 3 kernel. With stride 2 and
            `lengths` that place would differ from clip to clip.

        Raises
        ------
        ValueError
            If there is an adapter with stride 2 and `lengths`.
        """
        n_bands, n_frames = x.shape[2:]
        if self.stride == (1, 1):
            return functional.conv2d(x, self._weight(adapter, 1, 1), padding=1)
        # Zeros in front, which are also the place within the window of what is at 0, 2, 4.
        band, frame = n_bands % 2, n_frames % 2
        if lengths is None:
            padded = functional.pad(x, (frame, 1, band, 1))
        elif adapter is not None:
            raise ValueError(
                "SameConv2d: got an adapter and lengths, but with stride=2 expected one of them at "
                "most. Apply the adapter as a convolution of its own."
            )
        else:
            # Windows of three start at 0, 2, ... until all frames are in: behind an even clip's
            # last window there is nothing to come, an odd clip's begins one zero earlier.
            even = functional.pad(x, (0, 1 + frame, band, 1))
            odd = functional.pad(x, (1, frame, band, 1))
            padded = torch.where((lengths % 2 == 1)[:, None, None, None], odd, even)
        return functional.conv2d(padded, self._weight(adapter, band, frame), stride=2)

    def _weight(self, adapter: Tensor | None, band: int, frame: int) -> Tensor:
        """Add a 1 x 1 kernel to one place of the 3 x 3 kernel."""
        if adapter is None:
            return self.weight
        return self.weight + functional.pad(adapter, (frame, 2 - frame, band, 2 - band))


def init_he_normal_(weight: Tensor) -> Tensor:
    """Fill a weight from a normal distribution cut at two deviations, of variance 2 / fan-in.

    Parameters
    ----------
    weight : Tensor of shape (out, in, ...)

    Returns
    -------
    Tensor
        `weight`.
    """
    # A standard normal cut at +-2 has the deviation 0.8796: without the division the variance
    # would be 23% too small.
    deviation = math.sqrt(2 / weight[0].numel()) / 0.87962566
    return nn.init.trunc_normal_(weight, std=deviation, a=-2 * deviation, b=2 * deviation)
