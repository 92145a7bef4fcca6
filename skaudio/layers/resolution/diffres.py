"""DiffRes: differentiable temporal resolution."""

from __future__ import annotations

from os import PathLike
from typing import Any

from torch import Tensor

from skaudio.layers.resolution.base import ResolutionLayer, clip_lengths, real_frames
from skaudio.layers.resolution.pictures import draw_clips
from skaudio.layers.resolution.scoring import FrameConvStack, scorer_widths

__all__ = ["DiffRes"]


class DiffRes(ResolutionLayer):
    r"""Merge unimportant frames of a spectrogram, and keep the important ones.

    A small convolutional network gives each frame a score. The scores, scaled to sum to
    :math:`M = \lfloor T (1 - d) + 10^{-9} \rfloor`, are lengths: laid end to end and cut into
    :math:`M` slots of length 1, they say how much of each frame goes into which slot. An
    important frame fills a slot of its own; many unimportant ones share one. All of it is
    differentiable, so that the scores are learned from the task. Time and memory are linear in
    :math:`T`.

    Parameters
    ----------
    in_t_dim : int
        Frames of a typical clip. It sizes the positional table only: clips may have any length.
    in_f_dim : int
        Bands.
    dimension_reduction_rate : float
        Share :math:`d` of the frames to remove, in [0, 1).
    learn_pos_emb : bool, default=False
        Whether the positional table is learned. Its rows beyond `in_t_dim` stay sinusoids.

    Attributes
    ----------
    scorer : FrameConvStack
        Computes the logit of each frame's score.
    feature_channels : int
        Channels of ``feature``: average, maximum, resolution encoding.

    Raises
    ------
    ValueError
        If the rate is out of range or leaves no frame.

    See Also
    --------
    DiffResF, DiffResTF : The same along frequency, and along both axes.
    AvgPool, MaxPool, ChangeHopSize : What to compare it with.
    skaudio.networks.DiffResNet : Puts the layer before any network.
    skaudio.plots.ResolutionDisplay : Shows what it did to a clip.

    Notes
    -----
    The input is the natural logarithm of power. Frames are merged as power, so normalise after
    this layer, not before it.

    State dicts of the authors' code load as they are. This layer differs from that code: it takes
    any number of bands and frames; a clip's result does not depend on the other clips of the
    batch; the maximum follows its definition where a frame has less than 0.01 of a slot; M does
    not lose one to rounding; the running sum is in float64.

    References
    ----------
    .. [1] Liu et al., "Learning Temporal Resolution in Spectrogram for Audio Classification",
       arXiv 2210.01719, 2022.

    Examples
    --------
    >>> import torch
    >>> from skaudio.layers import DiffRes
    >>> model = DiffRes(in_t_dim=100, in_f_dim=64, dimension_reduction_rate=0.75)
    >>> model(torch.randn(2, 100, 64))["feature"].shape
    torch.Size([2, 3, 25, 64])
    """

    feature_channels = 3

    def __init__(
        self,
        in_t_dim: int,
        in_f_dim: int,
        dimension_reduction_rate: float,
        learn_pos_emb: bool = False,
    ) -> None:
        super().__init__(in_t_dim, in_f_dim, dimension_reduction_rate, learn_pos_emb)
        self.in_f_dim = in_f_dim
        self.scorer = FrameConvStack(scorer_widths(in_f_dim))

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
            Add the dense ``weight`` of shape ``(batch, n_frames, M)``, whose size is quadratic in
            the number of frames.

        Returns
        -------
        dict
            - ``x``: the input, and ``x_lengths``: the frames of each clip in it;
            - ``score``: share of a slot that each frame fills, in [0, 1], shape
              ``(batch, n_frames, 1)``;
            - ``avgpool``, ``maxpool``: log power, shape ``(batch, M, in_f_dim)``;
            - ``resolution_enc``: the positional table, warped alike, in [-1, 1];
            - ``feature``: these three, stacked, shape ``(batch, 3, M, in_f_dim)``; they are
              views into it;
            - ``lengths``: frames kept of each clip, shape ``(batch,)``; M is the largest, slots
              beyond hold ln(1e-12) and 0;
            - ``guide_loss``: a scalar to add to the loss;
            - ``guide_loss_total``, ``activeness``, ``score_mask``: see
              :func:`~skaudio.layers.resolution.scoring.guide_terms`; the last of shape
              ``(batch, n_frames, 1)``.

        Raises
        ------
        ValueError
            If the shape or the lengths do not fit, or a clip would lose all its frames.
        """
        warped = self.reduce(x, lengths)
        ret = {"x": x, **name_maps(warped["maps"]), **name_scores(warped, warped_axis=1)}
        ret |= {"x_lengths": clip_lengths(x, lengths), "lengths": warped["n_slots"]}
        return ret | {"weight": self.weight(warped)} if return_weight else ret

    def reduce(
        self, x: Tensor, lengths: Tensor | None = None, *, encode: bool = True
    ) -> dict[str, Any]:
        """Compute what a call does, in the form that :meth:`ResolutionLayer.warp` returns."""
        real, sizes = real_frames(x, lengths, self.in_f_dim)
        padded = None if lengths is None else real
        log_power = x if padded is None else x.masked_fill(~real[..., None], 0)
        logits = self.scorer(log_power, padded)[..., 0]
        return self.warp(log_power, logits, self.in_f_dim, real, sizes, encode)

    def visualize(self, ret: dict[str, Any], savepath: str | PathLike[str] = ".") -> None:
        """Draw score, spectrogram, warped spectrogram and resolution encoding of each clip.

        Parameters
        ----------
        ret : dict
            What a call returned.
        savepath : str or path-like, default="."
            Folder, made where missing, for ``0.png``, ``1.png`` and so on, ten at most.
        """
        draw_clips(ret, savepath)


def name_maps(feature: Tensor) -> dict[str, Tensor]:
    """Return the stack ``(batch, 3, n_frames, n_bands)``, and views of its maps by name."""
    return {
        "avgpool": feature[:, 0],
        "maxpool": feature[:, 1],
        "resolution_enc": feature[:, 2],
        "feature": feature,
    }


def name_scores(warped: dict[str, Any], warped_axis: int) -> dict[str, Tensor]:
    """Return scores and their losses by name; a score is that of a frame (axis 1) or band (2)."""
    other = 3 - warped_axis
    return {
        "score": warped["score"].unsqueeze(other),
        "guide_loss": warped["guide_loss"],
        "guide_loss_total": warped["guide_loss_total"],
        "activeness": warped["activeness"],
        "score_mask": warped["score_mask"].unsqueeze(other),
    }
