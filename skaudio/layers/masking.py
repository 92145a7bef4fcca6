"""Which frames of a padded batch belong to a clip."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["frame_mask", "shrink_lengths"]


def frame_mask(lengths: Tensor, n_frames: int) -> Tensor:
    """Mark the frames that are not padding.

    Parameters
    ----------
    lengths : Tensor of shape (batch,)
        Frames of each clip, integers.
    n_frames : int
        Frames of the padded batch.

    Returns
    -------
    Tensor of shape (batch, 1, 1, n_frames), bool
        True where a frame belongs to the clip. It broadcasts over channels and bands.

    See Also
    --------
    shrink_lengths : Lengths after pooling, for the next mask.

    Examples
    --------
    >>> import torch
    >>> from skaudio.layers import frame_mask
    >>> frame_mask(torch.tensor([1, 3]), n_frames=3)[:, 0, 0]
    tensor([[ True, False, False],
            [ True,  True,  True]])
    """
    frames = torch.arange(n_frames, device=lengths.device)
    return (frames < lengths[:, None])[:, None, None, :]


def shrink_lengths(lengths: Tensor, stride: int) -> Tensor:
    """Compute how many frames of each clip are left after pooling with ``ceil_mode=True``.

    Frame t of the pooled map looks at the frames from ``t * stride`` on, so that it belongs to
    the clip if ``t * stride < length``: these are ``ceil(length / stride)`` frames. With
    ``ceil_mode=False`` the last, incomplete one would be lost, and a single frame with it.

    Parameters
    ----------
    lengths : Tensor of shape (batch,)
        Frames of each clip, integers.
    stride : int
        Frames that become one.

    Returns
    -------
    Tensor of shape (batch,)

    See Also
    --------
    frame_mask : Marks the frames of these lengths.
    """
    return torch.div(lengths + stride - 1, stride, rounding_mode="floor")
