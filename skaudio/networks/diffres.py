"""DiffRes before any other network."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, Literal

import torch
from torch import Tensor, nn

from skaudio._validation import HasMethods, Interval, StrOptions
from skaudio.layers import DiffRes, frame_mask
from skaudio.layers.resolution.base import count_left, least_size
from skaudio.networks.base import BaseNetwork
from skaudio.networks.building import build_network, fill_in_default
from skaudio.networks.contract import takes_lengths

__all__ = ["DiffResNet"]

NATURAL_LOG = {"db": math.log(10) / 10, "ln": 1.0}
"""Factor from each input scale to the natural logarithm of power: dB = 10 log10(p)."""

LOUDEST = 80.0
"""Natural logarithm of power to which louder features are lowered, 347 dB.

Power is summed in float32, which ends at exp(88.7): a sum of 6000 values of this power still fits.
"""

STANDARDISED_TOLERANCE = 0.4
STANDARDISED_MIN_FRAMES, STANDARDISED_MIN_BANDS = 1000, 8
"""When features count as standardised; see :func:`_refuse_standardised`."""

TABLE_FRAMES = 500
"""Rows of the positional table where lengths vary, 5 s at a hop of 10 ms.

Only a learned table depends on it: beyond its rows it goes on as sinusoids.
"""


class DiffResNet(BaseNetwork):
    r"""Any network on fewer frames: those that it learns to keep.

    :class:`~skaudio.layers.DiffRes` merges unimportant frames. What is left reaches the
    backbone as three channels: average and maximum of the merged frames, and the encoding of
    where they come from.

    Parameters
    ----------
    reduction_rate : float, default=0.5
        Share of the frames to remove, in [0, 1).
    backbone : BaseNetwork, torch.nn.Module or callable, optional
        The network after it: one of :mod:`skaudio.networks`; a module, which is copied; or a
        callable with the signature of :meth:`BaseNetwork.build`. It gets three channels for each
        of the features. None means ``MTSNet()``.
    input_scale : {"db", "ln"}, default="db"
        Unit of the features: decibels, or the natural logarithm of power. Frames are merged as
        power, so all bands must be of that unit (not the pitch salience beside a log-mel
        spectrogram, whose 0 would be louder than any sound), and must not be normalised
        beforehand; the backbone does that afterwards.
    guide_weight : float, default=1.0
        Weight of the guide loss, which keeps empty frames from being chosen, in the training
        loss; >= 0.
    learn_pos_emb : bool, default=False
        Whether the encoding's positional table is learned.

    See Also
    --------
    skaudio.layers.DiffRes : The layer.
    skaudio.plots.ResolutionDisplay : Shows which frames a network keeps.

    Notes
    -----
    While training the module returns named scalars with the logits: ``guide_loss``, weighted, and
    ``activeness``, the standard deviation of the scores relative to their mean (0: all frames
    are treated alike). A clip so short that no frame would remain is lengthened by repeating its
    last frame. Several channels of input are scored as further bands; each gives three.

    References
    ----------
    .. [1] Liu et al., "Learning Temporal Resolution in Spectrogram for Audio Classification",
       arXiv 2210.01719, 2022.
    """

    _parameter_constraints: dict = {
        "reduction_rate": [Interval(Real, 0, 1, closed="left")],
        "backbone": [HasMethods("build"), callable, None],
        "input_scale": [StrOptions(set(NATURAL_LOG))],
        "guide_weight": [Interval(Real, 0, None, closed="left")],
        "learn_pos_emb": ["boolean"],
    }

    def __init__(
        self,
        reduction_rate: float = 0.5,
        backbone: BaseNetwork | None = None,
        *,
        input_scale: Literal["db", "ln"] = "db",
        guide_weight: float = 1.0,
        learn_pos_emb: bool = False,
    ) -> None:
        self.reduction_rate = reduction_rate
        self.backbone = backbone
        self.input_scale = input_scale
        self.guide_weight = guide_weight
        self.learn_pos_emb = learn_pos_emb

    def set_params(self, **params: Any) -> DiffResNet:
        """Set parameters; ``backbone__...`` reach into the default backbone, too.

        Parameters
        ----------
        **params
            As for any scikit-learn estimator.

        Returns
        -------
        DiffResNet
        """
        fill_in_default(self, "backbone", params)
        super().set_params(**params)
        return self

    def _build(
        self, n_bands: int, n_outputs: int, n_frames: int | None, n_channels: int
    ) -> nn.Module:
        least = least_size(self.reduction_rate)
        frames = max(least, n_frames or TABLE_FRAMES)
        diffres = DiffRes(frames, n_bands * n_channels, self.reduction_rate, self.learn_pos_emb)
        left = None if n_frames is None else count_left(frames, self.reduction_rate)
        n_maps = n_channels * diffres.feature_channels
        backbone = build_network(self.backbone, n_bands, n_outputs, left, n_maps)
        module = _DiffResModule(diffres, backbone, self.input_scale, self.guide_weight, least)
        # A backbone for one length makes the whole a network for one length: that before merging.
        if getattr(backbone, "n_frames", None) is not None:
            module.n_frames = n_frames
        return module


class _DiffResModule(nn.Module):
    """What :class:`DiffResNet` builds: the layer ``diffres``, then the module ``backbone``."""

    n_frames: int | None = None

    def __init__(
        self,
        diffres: DiffRes,
        backbone: nn.Module,
        input_scale: str,
        guide_weight: float,
        min_frames: int,
    ) -> None:
        super().__init__()
        self.diffres = diffres
        self.backbone = backbone
        self.input_scale = input_scale
        self.guide_weight = guide_weight
        self.min_frames = min_frames
        self._scale_was_checked = False
        self._backbone_takes_lengths = takes_lengths(backbone)

    @property
    def head(self) -> Any:
        """Last layer of the backbone."""
        return self.backbone.head

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Any:
        """Map ``(batch, n_channels, n_bands, n_frames)`` to logits."""
        self._check(x, lengths)
        ret = self.warp(x, lengths)
        maps = _bands_first(ret["feature"], n_channels=x.shape[1])
        known = (ret["lengths"],) if lengths is not None and self._backbone_takes_lengths else ()
        out = self.backbone(maps, *known)
        if not self.training:
            return out  # Named scalars serve the training loss and its history.
        logits, named = out if isinstance(out, tuple) else (out, {})
        # A backbone may have a guide loss of its own.
        guide = self.guide_weight * ret["guide_loss"] + named.get("guide_loss", 0.0)
        return logits, named | {"guide_loss": guide, "activeness": ret["activeness"].detach()}

    def warp(self, x: Tensor, lengths: Tensor | None = None) -> dict[str, Any]:
        """Apply :class:`~skaudio.layers.DiffRes` to features as they come, and return its dict."""
        x, lengths = self._lengthen(x, lengths)
        # One score per frame for all channels: they are moments of the same sound.
        frames_first = x.flatten(1, 2).transpose(1, 2)
        log_power = (frames_first * NATURAL_LOG[self.input_scale]).clamp_(max=LOUDEST)
        return self.diffres(log_power, lengths)

    def _lengthen(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Repeat the last frame of clips too short to keep one."""
        n_frames = x.shape[-1]
        shortest = n_frames if lengths is None else int(lengths.min())
        if shortest >= self.min_frames:
            return x, lengths
        frames = torch.arange(max(n_frames, self.min_frames), device=x.device)
        if lengths is None:
            return x[..., frames.clamp(max=n_frames - 1)], None
        source = torch.minimum(frames, lengths.to(x.device)[:, None] - 1)
        source = source[:, None, None, :].expand(-1, *x.shape[1:3], -1)
        return x.gather(3, source), lengths.clamp(min=self.min_frames)

    def _check(self, x: Tensor, lengths: Tensor | None) -> None:
        if self.n_frames is not None and x.shape[-1] != self.n_frames:
            raise ValueError(
                f"DiffResNet: got clips of {x.shape[-1]} frames, but its backbone was built for "
                f"clips of {self.n_frames}. Cut or pad the clips, or choose a backbone that takes "
                "any length."
            )
        # Once, on the first batch: an accelerator has to be waited for, and the unit of the data
        # does not change from batch to batch.
        if self.training and not self._scale_was_checked:
            _refuse_standardised(x, lengths, self.input_scale)
            self._scale_was_checked = True


def _bands_first(feature: Tensor, n_channels: int) -> Tensor:
    """Turn ``(batch, 3, frame, channel * band)`` into ``(batch, 3 * channel, band, frame)``."""
    split = feature.unflatten(3, (n_channels, -1))  # batch, map, frame, channel, band
    return split.permute(0, 3, 1, 4, 2).flatten(1, 2)


def _refuse_standardised(x: Tensor, lengths: Tensor | None, input_scale: str) -> None:
    """Raise an error if every band has a mean of about 0 and a deviation of about 1.

    Recordings in decibels or natural logarithm look otherwise: bands differ in their means by
    many units, and vary by several. Few values say nothing, so small batches pass.
    """
    bands = x.detach().flatten(1, 2).transpose(1, 2)
    if lengths is None:
        bands = bands.flatten(0, 1)
    else:
        bands = bands[frame_mask(lengths.to(x.device), x.shape[-1])[:, 0, 0]]
    if bands.shape[0] < STANDARDISED_MIN_FRAMES or bands.shape[1] < STANDARDISED_MIN_BANDS:
        return
    off_mean = float(bands.mean(0).abs().mean())
    off_std = float((bands.std(0) - 1).abs().mean())
    if max(off_mean, off_std) < STANDARDISED_TOLERANCE:
        raise ValueError(
            f"DiffResNet: the features look standardised (over the first batch, bands have means "
            f"within {off_mean:.2f} of 0 and deviations within {off_std:.2f} of 1, on average), "
            f"but with input_scale={input_scale!r} they should be "
            f"{'decibels' if input_scale == 'db' else 'natural logarithms of power'}. Frames are "
            "merged as power, which standardising destroys: leave out BandScaler or "
            "StandardScaler; the backbone normalises its own input."
        )
