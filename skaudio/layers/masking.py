"""Which frames of a padded batch belong to a clip."""

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
    """
    frames = torch.arange(n_frames, device=lengths.device)
    return (frames < lengths[:, None])[:, None, None, :]


def shrink_lengths(lengths: Tensor, stride: int) -> Tensor:
    """Frames left of each clip after pooling by `stride` with ``ceil_mode=True``."""
    return torch.div(lengths + stride - 1, stride, rounding_mode="floor")
