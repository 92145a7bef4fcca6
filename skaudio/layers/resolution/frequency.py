"""DiffRes along frequency, and along time and frequency."""

from __future__ import annotations

from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from skaudio.layers.resolution.base import (
    PositionalTable,
    ResolutionLayer,
    adopt_original_names,
    count_left,
    real_frames,
)
from skaudio.layers.resolution.diffres import DiffRes, name_maps, name_scores
from skaudio.layers.resolution.pictures import draw_clips
from skaudio.layers.resolution.scoring import FrameConvStack, scorer_widths
from skaudio.layers.resolution.warping import slot_sums

__all__ = ["DiffResF", "DiffResTF"]


class DiffResF(ResolutionLayer):
    """Merge the bands of a spectrogram into fewer, as :class:`DiffRes` merges its frames.

    The scorer sees each clip pooled to `hidden_t_dim` frames, by the mean of adaptive average
    and adaptive maximum pooling, and gives one score per band.

    Parameters
    ----------
    in_t_dim : int
        Frames of a typical clip. It sizes the positional table only.
    in_f_dim : int
        Bands.
    dimension_reduction_rate : float
        Share of the bands to remove, in [0, 1).
    learn_pos_emb : bool, default=False
        Whether the positional table is learned.
    hidden_t_dim : int, default=128
        Frames that the scorer sees.

    Raises
    ------
    ValueError
        If the rate is out of range or leaves no band.

    See Also
    --------
    DiffRes : The same along time.
    DiffResTF : Both.

    References
    ----------
    .. [1] Liu et al., "Learning Temporal Resolution in Spectrogram for Audio Classification",
       arXiv 2210.01719, 2022.
    """

    feature_channels = 3
    _warped = "bands"

    def __init__(
        self,
        in_t_dim: int,
        in_f_dim: int,
        dimension_reduction_rate: float,
        learn_pos_emb: bool = False,
        hidden_t_dim: int = 128,
    ) -> None:
        super().__init__(in_f_dim, in_t_dim, dimension_reduction_rate, learn_pos_emb)
        self.in_f_dim = in_f_dim
        self.hidden_t_dim = hidden_t_dim
        self.scorer = FrameConvStack(scorer_widths(hidden_t_dim))

    def forward(
        self, x: Tensor, lengths: Tensor | None = None, *, return_weight: bool = False
    ) -> dict[str, Any]:
        """Score, warp and aggregate a batch.

        Parameters
        ----------
        x : Tensor of shape (batch, n_frames, in_f_dim)
            Natural logarithm of power.
        lengths : Tensor of shape (batch,), optional
            Frames of each clip in a padded batch. A clip's result is the one it has alone.
        return_weight : bool, default=False
            Add the dense ``weight`` of shape ``(batch, in_f_dim, K)``.

        Returns
        -------
        dict
            As from :class:`DiffRes`, with maps of shape ``(batch, n_frames, K)``, ``score`` and
            ``score_mask`` of shape ``(batch, 1, in_f_dim)``, and the clips' own ``lengths``.

        Raises
        ------
        ValueError
            If the shape or the lengths do not fit.
        """
        warped = self.reduce(x, lengths)
        feature = warped["maps"].transpose(2, 3).contiguous()
        ret = {"x": x, **name_maps(feature), **name_scores(warped, warped_axis=2)}
        ret["x_lengths"] = ret["lengths"] = warped["lengths"]
        return ret | {"weight": self.weight(warped)} if return_weight else ret

    def reduce(
        self, x: Tensor, lengths: Tensor | None = None, *, encode: bool = True
    ) -> dict[str, Any]:
        """Compute what a call does, in the form that :meth:`ResolutionLayer.warp` returns."""
        real, sizes = real_frames(x, lengths, self.in_f_dim)
        frames = torch.tensor(sizes, device=x.device)
        logits = self.scorer(self._pool_time(x, sizes))[..., 0]
        # No power: what is summed over the frames of a band does not change.
        log_power = x.masked_fill(~real[..., None], float("-inf")).transpose(1, 2)
        bands = torch.ones_like(logits, dtype=torch.bool)
        sizes = [self.in_f_dim] * len(x)
        warped = self.warp(log_power, logits, frames[:, None], bands, sizes, encode)
        return warped | {"lengths": frames}

    def visualize(self, ret: dict[str, Any], savepath: str | PathLike[str] = ".") -> None:
        """Draw each clip, as :meth:`DiffRes.visualize` does."""
        draw_clips(ret, savepath)

    def _pool_time(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Pool each clip to ``(in_f_dim, hidden_t_dim)``."""
        # The windows of adaptive pooling depend on a clip's length, so that clips of different
        # lengths cannot be pooled together.
        x = x.transpose(1, 2)
        if len(set(sizes)) == 1:
            return self._pool_frames(x[..., : sizes[0]])
        clips = zip(x, sizes, strict=True)
        return torch.stack([self._pool_frames(clip[:, :size]) for clip, size in clips])

    def _pool_frames(self, x: Tensor) -> Tensor:
        mean = nn.functional.adaptive_avg_pool1d(x, self.hidden_t_dim)
        return (mean + nn.functional.adaptive_max_pool1d(x, self.hidden_t_dim)) / 2


class DiffResTF(nn.Module):
    """Merge bands, then frames: :class:`DiffResF`, then :class:`DiffRes` on its average map.

    Parameters
    ----------
    in_t_dim : int
        Frames of a typical clip. It sizes the positional tables, and determines how the time
        rate is rounded.
    in_f_dim : int
        Bands.
    dimension_reduction_rate_t, dimension_reduction_rate_f : float
        Share of the frames and of the bands to remove, in [0, 1). Both are rounded so that an
        even number remains, one more rather than one less.
    learn_pos_emb : bool, default=False
        Whether the positional tables are learned.
    hidden_t : int, default=128
        Frames that the scorer of the bands sees.

    Raises
    ------
    ValueError
        If a rate is out of range or leaves nothing.

    See Also
    --------
    DiffRes, DiffResF : The parts.

    References
    ----------
    .. [1] Liu et al., "Learning Temporal Resolution in Spectrogram for Audio Classification",
       arXiv 2210.01719, 2022.
    """

    feature_channels = 3

    def __init__(
        self,
        in_t_dim: int,
        in_f_dim: int,
        dimension_reduction_rate_t: float,
        dimension_reduction_rate_f: float,
        learn_pos_emb: bool = False,
        hidden_t: int = 128,
    ) -> None:
        super().__init__()
        self.dimension_reduction_rate_t = _even_rate(in_t_dim, dimension_reduction_rate_t, "frames")
        self.dimension_reduction_rate_f = _even_rate(in_f_dim, dimension_reduction_rate_f, "bands")
        bands_left = count_left(in_f_dim, self.dimension_reduction_rate_f)
        self.diffres_f = DiffResF(
            in_t_dim, in_f_dim, self.dimension_reduction_rate_f, learn_pos_emb, hidden_t
        )
        self.diffres_t = DiffRes(
            in_t_dim, bands_left, self.dimension_reduction_rate_t, learn_pos_emb
        )
        self.positions = PositionalTable(in_t_dim, in_f_dim, learn_pos_emb)
        self.register_load_state_dict_pre_hook(adopt_original_names)

    def forward(
        self, x: Tensor, lengths: Tensor | None = None, *, return_weight: bool = False
    ) -> dict[str, Any]:
        """Score, warp and aggregate a batch along both axes.

        Parameters
        ----------
        x : Tensor of shape (batch, n_frames, in_f_dim)
            Natural logarithm of power.
        lengths : Tensor of shape (batch,), optional
            Frames of each clip in a padded batch. A clip's result is the one it has alone.
        return_weight : bool, default=False
            Add the dense ``weight_t`` and ``weight_f``.

        Returns
        -------
        dict
            As from :class:`DiffRes`, with maps of shape ``(batch, M, K)``; score, score mask,
            guide loss, activeness and weight of the parts end in ``_t`` and ``_f``;
            ``guide_loss``, ``guide_loss_total`` and ``activeness`` are sums over both.

        Raises
        ------
        ValueError
            If the shape or the lengths do not fit, or a clip would lose all its frames.
        """
        by_band = self.diffres_f.reduce(x, lengths, encode=False)
        average = by_band["maps"][:, 0].transpose(1, 2)
        by_frame = self.diffres_t.reduce(average, lengths, encode=False)
        encoding = self._encode(by_frame, by_band, x)
        feature = torch.cat([by_frame["maps"], encoding.unsqueeze(1)], dim=1)
        ret = {"x": x, **name_maps(feature)}
        ret |= {"x_lengths": by_band["lengths"], "lengths": by_frame["n_slots"]}
        of_t, of_f = name_scores(by_frame, warped_axis=1), name_scores(by_band, warped_axis=2)
        for name in ("guide_loss", "guide_loss_total", "activeness"):
            ret[name] = of_t[name] + of_f[name]
        for name in ("score", "score_mask", "guide_loss", "activeness"):
            ret |= {f"{name}_t": of_t[name], f"{name}_f": of_f[name]}
        if return_weight:
            ret["weight_t"] = self.diffres_t.weight(by_frame)
            ret["weight_f"] = self.diffres_f.weight(by_band)
        return ret

    def visualize(self, ret: dict[str, Any], savepath: str | PathLike[str] = ".") -> None:
        """Draw each clip, as :meth:`DiffRes.visualize` does."""
        draw_clips(ret, savepath)

    def _encode(self, by_frame: dict[str, Any], by_band: dict[str, Any], x: Tensor) -> Tensor:
        table = self.positions(*x.shape[1:]).to(by_frame["maps"].dtype)
        # The order does not matter, since both warps are linear: W_t^T P W_f.
        fewer_bands = slot_sums(table.T, by_band["slots"])
        return slot_sums(fewer_bands.transpose(1, 2), by_frame["slots"])


def _even_rate(size: int, rate: float, what: str) -> float:
    """Adjust a rate so that an even number remains (of a single one, that one)."""
    n_left = count_left(size, rate, what)
    if n_left % 2 == 0:
        return rate
    even = n_left + 1 if n_left < size else max(n_left - 1, 1)
    # floor(size * (1 - rate)) is `even` again, but for the rounding that count_left allows for.
    return 1 - even / size
