"""Poolings that shorten a spectrogram in the same way everywhere, to compare DiffRes with."""

from __future__ import annotations

from abc import abstractmethod
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from skaudio.layers.resolution.base import clip_lengths, count_left, real_frames
from skaudio.layers.resolution.pictures import draw_clips
from skaudio.layers.resolution.scoring import FrameConvStack

__all__ = ["AvgMaxPool", "AvgPool", "ChangeHopSize", "ConvAvgPool", "MaxPool"]


class _PoolingBaseline(nn.Module):
    """Base of the poolings, which are called as :class:`~skaudio.layers.DiffRes` is.

    Parameters
    ----------
    in_t_dim : int
        Frames of a typical clip; clips of any length may be given.
    in_f_dim : int
        Bands.
    dimension_reduction_rate : float
        Share of the frames to remove, in [0, 1).
    learn_pos_emb : bool, default=False
        Taken so that all layers are made alike; these have no positional table.

    Raises
    ------
    ValueError
        If the rate is out of range or leaves no frame.
    """

    feature_channels = 1

    def __init__(
        self,
        in_t_dim: int,
        in_f_dim: int,
        dimension_reduction_rate: float,
        learn_pos_emb: bool = False,
    ) -> None:
        super().__init__()
        count_left(in_t_dim, dimension_reduction_rate)
        self.in_f_dim = in_f_dim
        self.dimension_reduction_rate = dimension_reduction_rate

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> dict[str, Any]:
        """Shorten a batch.

        Parameters
        ----------
        x : Tensor of shape (batch, n_frames, in_f_dim)
            Features, usually log power.
        lengths : Tensor of shape (batch,), optional
            Frames of each clip in a padded batch. A clip's result is the one it has alone.

        Returns
        -------
        dict
            The keys of :class:`~skaudio.layers.DiffRes`: ``x``, ``x_lengths``; ``feature`` of shape
            ``(batch, 1, M, in_f_dim)``; ``lengths``; ``guide_loss``, ``guide_loss_total`` and
            ``activeness`` of 0; ``avgpool`` and ``maxpool`` where the layer has them; None for
            the others.

        Raises
        ------
        ValueError
            If the shape or the lengths do not fit, or a clip would lose all its frames.
        """
        real, sizes = real_frames(x, lengths, self.in_f_dim)
        maps = self._prepare(x, None if lengths is None else real).transpose(1, 2)
        left = [count_left(size, self.dimension_reduction_rate) for size in sizes]
        if len(set(sizes)) == 1:
            pooled = self._pool(maps[..., : sizes[0]], left[0])
        else:
            pooled = self._pool_each(maps, sizes, left)
        pooled = {name: m.transpose(1, 2).unsqueeze(1) for name, m in pooled.items()}
        return _empty_result(x, lengths, left) | pooled

    def visualize(self, ret: dict[str, Any], savepath: str | PathLike[str] = ".") -> None:
        """Draw each clip before and after, one PNG a clip, ten at most."""
        draw_clips(ret, savepath)

    def _prepare(self, x: Tensor, real: Tensor | None) -> Tensor:
        return x

    @abstractmethod
    def _pool(self, x: Tensor, size: int) -> dict[str, Tensor]:
        """Shorten ``(batch, in_f_dim, n_frames)`` to `size` frames, by name of the result."""

    def _pool_each(self, x: Tensor, sizes: list[int], left: list[int]) -> dict[str, Tensor]:
        # The windows of adaptive pooling depend on a clip's length: each clip is pooled alone.
        clips = zip(x, sizes, left, strict=True)
        pooled = [self._pool(clip[None, :, :size], n) for clip, size, n in clips]
        return {
            name: torch.cat(
                [
                    nn.functional.pad(one[name], (0, max(left) - n))
                    for one, n in zip(pooled, left, strict=True)
                ]
            )
            for name in pooled[0]
        }


def _empty_result(x: Tensor, lengths: Tensor | None, left: list[int]) -> dict[str, Any]:
    names = ("score", "score_mask", "avgpool", "maxpool", "resolution_enc")
    zeros = {name: x.new_zeros(()) for name in ("guide_loss", "guide_loss_total", "activeness")}
    before, after = clip_lengths(x, lengths), torch.tensor(left, device=x.device)
    return {"x": x, "x_lengths": before, "lengths": after, **dict.fromkeys(names), **zeros}


class AvgPool(_PoolingBaseline):
    """Shorten a spectrogram by its adaptive average over time.

    Parameters
    ----------
    in_t_dim, in_f_dim, dimension_reduction_rate, learn_pos_emb
        As for :class:`DiffRes`; there is no positional table to be learned.

    See Also
    --------
    DiffRes : Learns which frames to keep.
    """

    def _pool(self, x: Tensor, size: int) -> dict[str, Tensor]:
        mean = nn.functional.adaptive_avg_pool1d(x, size)
        return {"avgpool": mean, "feature": mean}


class MaxPool(_PoolingBaseline):
    """Shorten a spectrogram by its adaptive maximum over time.

    Parameters
    ----------
    in_t_dim, in_f_dim, dimension_reduction_rate, learn_pos_emb
        As for :class:`DiffRes`; there is no positional table to be learned.

    See Also
    --------
    DiffRes : Learns which frames to keep.
    """

    def _pool(self, x: Tensor, size: int) -> dict[str, Tensor]:
        largest = nn.functional.adaptive_max_pool1d(x, size)
        return {"maxpool": largest, "feature": largest}


class AvgMaxPool(_PoolingBaseline):
    """Shorten a spectrogram by the sum of adaptive average and adaptive maximum over time.

    Parameters
    ----------
    in_t_dim, in_f_dim, dimension_reduction_rate, learn_pos_emb
        As for :class:`DiffRes`; there is no positional table to be learned.

    See Also
    --------
    DiffRes : Learns which frames to keep.
    """

    def _pool(self, x: Tensor, size: int) -> dict[str, Tensor]:
        mean = nn.functional.adaptive_avg_pool1d(x, size)
        largest = nn.functional.adaptive_max_pool1d(x, size)
        return {"avgpool": mean, "maxpool": largest, "feature": mean + largest}


class ConvAvgPool(_PoolingBaseline):
    """Shorten ``x + h(x)`` by its adaptive average over time; h is three residual blocks.

    Parameters
    ----------
    in_t_dim, in_f_dim, dimension_reduction_rate, learn_pos_emb
        As for :class:`DiffRes`; there is no positional table to be learned.

    See Also
    --------
    DiffRes : Learns which frames to keep.
    """

    def __init__(
        self,
        in_t_dim: int,
        in_f_dim: int,
        dimension_reduction_rate: float,
        learn_pos_emb: bool = False,
    ) -> None:
        super().__init__(in_t_dim, in_f_dim, dimension_reduction_rate, learn_pos_emb)
        self.conv = FrameConvStack([in_f_dim] * 4)

    def _prepare(self, x: Tensor, real: Tensor | None) -> Tensor:
        if real is not None:
            x = x.masked_fill(~real[..., None], 0)
        return x + self.conv(x, real)

    def _pool(self, x: Tensor, size: int) -> dict[str, Tensor]:
        return {"feature": nn.functional.adaptive_avg_pool1d(x, size)}


class ChangeHopSize(_PoolingBaseline):
    """Shorten a spectrogram by leaving out frames at regular distances, as a longer hop does.

    Parameters
    ----------
    in_t_dim, in_f_dim, dimension_reduction_rate, learn_pos_emb
        As for :class:`DiffRes`; there is no positional table to be learned.

    See Also
    --------
    DiffRes : Learns which frames to keep.
    """

    def _pool(self, x: Tensor, size: int) -> dict[str, Tensor]:
        # In whole numbers: torch.linspace may fall short of a frame by rounding, and its floor is
        # then the frame before.
        steps = torch.arange(size, device=x.device)
        frames = steps * (x.shape[-1] - 1) // max(size - 1, 1)
        return {"feature": x[..., frames]}
