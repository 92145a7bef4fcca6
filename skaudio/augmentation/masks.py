"""Random masks on features, after SpecAugment."""

from __future__ import annotations

from numbers import Integral, Real

import torch
from torch import Tensor

from skaudio._validation import Interval
from skaudio.augmentation._base import BaseAugmentation, Draws
from skaudio.layers.masking import frame_mask
from skaudio.layers.precision import at_least_float32

__all__ = ["FrequencyMask", "TimeMask", "fill_with_mean", "mask_ranges"]


_CONSTRAINTS: dict = {
    **BaseAugmentation._parameter_constraints,
    "n_masks": [Interval(Integral, 1, None, closed="left")],
    "max_width": [Interval(Real, 0, 1, closed="right")],
}


class TimeMask(BaseAugmentation):
    """Mask random ranges of frames in features.

    Parameters
    ----------
    n_masks : int, default=2
        Number of ranges per clip, >= 1. They may overlap.
    max_width : float, default=0.1
        Largest width as a fraction of the clip's frames, in (0, 1]. Widths are whole frames
        from 0 to this, drawn uniformly, and so are the positions.
    probability : float, default=1.0
        Probability that a clip is changed, in [0, 1].

    See Also
    --------
    FrequencyMask : The same along the bands.
    make_chain : Combines several augmentations.

    Notes
    -----
    Masked cells get the mean of their band over the clip's own frames.

    References
    ----------
    .. [1] Park et al., "SpecAugment: A Simple Data Augmentation Method for Automatic Speech
       Recognition", Interspeech 2019.

    Examples
    --------
    >>> import torch
    >>> from skaudio.augmentation import TimeMask
    >>> x = torch.arange(8.0).view(1, 1, 1, 8)
    >>> mask = TimeMask(n_masks=1, max_width=0.5)
    >>> mask.apply(x, torch.Generator().manual_seed(0), domain="feature").flatten().tolist()
    [3.5, 3.5, 3.5, 3.0, 4.0, 5.0, 6.0, 7.0]
    """

    domains = frozenset(["feature"])
    _parameter_constraints = _CONSTRAINTS

    def __init__(
        self, n_masks: int = 2, max_width: float = 0.1, *, probability: float = 1.0
    ) -> None:
        self.n_masks = n_masks
        self.max_width = max_width
        self.probability = probability

    def _draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        return _draw_masks(shape[0], self.n_masks, generator)

    def _change(
        self, x: Tensor, draws: Draws, lengths: Tensor, sample_rate: float | None
    ) -> Tensor:
        width, start = draws
        masked = mask_ranges(width, start, lengths, self.max_width, x.shape[-1])
        return fill_with_mean(x, masked[:, None, None, :], lengths)


class FrequencyMask(BaseAugmentation):
    """Mask random ranges of bands in features.

    Parameters
    ----------
    n_masks : int, default=2
        Number of ranges per clip, >= 1. They may overlap.
    max_width : float, default=0.2
        Largest width as a fraction of the bands, in (0, 1]. Widths are whole bands from 0 to
        this, drawn uniformly, and so are the positions.
    probability : float, default=1.0
        Probability that a clip is changed, in [0, 1].

    See Also
    --------
    TimeMask : The same along the frames.
    make_chain : Combines several augmentations.

    Notes
    -----
    Masked cells get the mean of their band over the clip's own frames. A clip of one frame thus
    stays as it is.

    References
    ----------
    .. [1] Park et al., "SpecAugment: A Simple Data Augmentation Method for Automatic Speech
       Recognition", Interspeech 2019.

    Examples
    --------
    >>> import torch
    >>> from skaudio.augmentation import FrequencyMask
    >>> x = torch.tensor([[0.0, 2.0], [10.0, 20.0], [3.0, 5.0], [4.0, 8.0]])[None, None]
    >>> mask = FrequencyMask(n_masks=1, max_width=0.5)
    >>> mask.apply(x, torch.Generator().manual_seed(0), domain="feature")[0, 0].tolist()
    [[1.0, 1.0], [15.0, 15.0], [3.0, 5.0], [4.0, 8.0]]
    """

    domains = frozenset(["feature"])
    _parameter_constraints = _CONSTRAINTS

    def __init__(
        self, n_masks: int = 2, max_width: float = 0.2, *, probability: float = 1.0
    ) -> None:
        self.n_masks = n_masks
        self.max_width = max_width
        self.probability = probability

    def _draw(self, shape: torch.Size, generator: torch.Generator) -> Draws:
        return _draw_masks(shape[0], self.n_masks, generator)

    def _change(
        self, x: Tensor, draws: Draws, lengths: Tensor, sample_rate: float | None
    ) -> Tensor:
        width, start = draws
        n_bands = torch.full_like(lengths, x.shape[-2])
        masked = mask_ranges(width, start, n_bands, self.max_width, x.shape[-2])
        return fill_with_mean(x, masked[:, None, :, None], lengths)


def _draw_masks(n_clips: int, n_masks: int, generator: torch.Generator) -> Draws:
    width, start = torch.rand(2, n_clips, n_masks, generator=generator)
    return width, start


def mask_ranges(
    width: Tensor, start: Tensor, sizes: Tensor, max_width: float, n_cells: int
) -> Tensor:
    """Mark the frames (or bands) that any of a clip's ranges covers.

    Parameters
    ----------
    width, start : Tensor of shape (batch, n_masks)
        Draws in [0, 1).
    sizes : Tensor of shape (batch,)
        Number of frames (or bands) of each clip, integers.
    max_width : float
        As a fraction of `sizes`.
    n_cells : int
        Number of frames (or bands) of the padded batch.

    Returns
    -------
    Tensor of shape (batch, n_cells), bool
    """
    # Products such as 0.29 * 100 may come out a little below the whole number that is meant, and
    # floor would lose a frame. In float32 their relative error is at most 2 ** -23 (half a unit
    # each from rounding the factor and the product), so that the addend makes up for it in clips
    # of up to 5e-4 * 2 ** 23 = 4000 frames; in longer ones a frame does not matter.
    largest = torch.floor(sizes * max_width + 5e-4)[:, None]
    # floor(u * (k + 1)) of a uniform u in [0, 1) is uniform over the integers from 0 to k. A range
    # of this width has size - width + 1 possible positions.
    width = torch.floor(width * (largest + 1))
    start = torch.floor(start * (sizes[:, None] - width + 1))
    cell = torch.arange(n_cells, device=sizes.device)[:, None]  # cell, mask
    covered = (cell >= start[:, None]) & (cell < (start + width)[:, None])
    return covered.any(dim=-1)


def fill_with_mean(x: Tensor, masked: Tensor, lengths: Tensor) -> Tensor:
    """Replace masked cells of features by the mean of their band over the clip's own frames.

    `x` is ``(batch, n_channels, n_bands, n_frames)``, `masked` of a shape that expands to it,
    `lengths` the frames of each clip, ``(batch,)``.
    """
    # The mean rather than zero: raw decibels are far from zero, where a network that has not
    # normalised them yet would see the loudest sound. SpecAugment's features have mean zero.
    # That of the band, since bands may be of two kinds: a mean of decibels and saliences together
    # would be a hundred times what a salience can be. In float32 at least, as bfloat16 has no more
    # than two decimal digits.
    real = frame_mask(lengths, x.shape[-1])
    exact = x.to(at_least_float32(x.dtype))
    count = lengths.clamp(min=1)[:, None, None, None]
    mean = torch.where(real, exact, 0).sum(-1, keepdim=True) / count
    return torch.where(masked, mean, exact)
