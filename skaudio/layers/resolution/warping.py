r"""Weights of frames in fewer slots, in time and memory linear in the number of frames.

Frame :math:`t` with score :math:`s_t \in [0, 1]` covers the interval :math:`(c_{t-1}, c_t]` of
the scores' running sum; slot :math:`j` covers :math:`(j, j + 1]`. A frame's weight in a slot is
the length of their overlap. As no score exceeds 1, a frame touches at most two slots: the one in
which it starts gets its *head*, the next one its *tail*. As the running sum never falls, the
frames that start in a slot are neighbours, and at most one frame reaches into it from before.
So each slot is a bag of consecutive frames and one tail, and of the matrix of all weights, as
large as frames times slots, only two numbers for each frame have to be known.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Slots", "assign_slots", "overlap_matrix", "slot_sums"]


class Slots(NamedTuple):
    """Slots and weights of the frames of a batch.

    Frames and slots are counted through the whole batch, so that they can be used as indices into
    tensors whose first two axes are flattened.
    """

    slot: Tensor
    """Slot in which each frame starts, shape ``(batch, n_frames)``, integers."""
    starts: Tensor
    """First frame of each slot's bag, shape ``(batch, n_slots)``, integers."""
    head: Tensor
    """Weight of each frame in the slot in which it starts, shape ``(batch, n_frames)``."""
    crossing: Tensor
    """Frame that reaches into each slot from before, shape ``(batch, n_slots)``, integers."""
    tail: Tensor
    """Its weight there, 0 where no frame does, shape ``(batch, n_slots)``."""


def assign_slots(score: Tensor, n_slots: Tensor, max_slots: int) -> Slots:
    """Find the slots that each frame feeds, and its weights in them.

    Parameters
    ----------
    score : Tensor of shape (batch, n_frames)
        Length of each frame's interval, in [0, 1]. The running sum has the precision of this
        tensor. An error in it shifts all later frames: n roundings of a sum below M add up to at
        most n M eps / 2, in float64 5e-8 of a slot for 30 000 frames, and to 1e-10 as a rule.
    n_slots : Tensor of shape (batch,)
        Slots of each clip; what reaches beyond them is dropped.
    max_slots : int
        Slots in the result, the largest of `n_slots`; the further ones of a clip stay empty.

    Returns
    -------
    Slots
        Differentiable with respect to `score` through both weights.
    """
    batch, n_frames = score.shape
    end = score.cumsum(1)
    start = torch.cat([torch.zeros_like(end[:, :1]), end[:, :-1]], dim=1)
    clip = torch.arange(batch, device=score.device)[:, None]
    slot = torch.minimum(start.detach().floor().long(), n_slots[:, None] - 1)
    # Overlap of (start, end] with (slot, slot + 1], and with the edge of the next slot below. A
    # start beyond the last slot, by rounding, has none.
    head = (torch.minimum(end, slot + 1.0) - start).clamp(min=0)

    # The frame that crosses the lower edge of a slot is the first one that ends beyond it, found by
    # bisection as ends never fall. If it starts on the edge or after it, it does not cross.
    edge = torch.arange(max_slots, device=score.device).expand(batch, -1).contiguous()
    crossing = torch.searchsorted(end.detach(), edge.to(end.dtype), right=True)
    crossing = crossing.clamp(max=n_frames - 1)
    reaches = (start.gather(1, crossing) < edge) & (edge < n_slots[:, None])
    tail = (end.gather(1, crossing) - edge).clamp(min=0) * reaches

    # Slots of frames never fall either. A slot in which no frame starts gets the same first frame
    # as the next one: an empty bag.
    starts = torch.searchsorted(slot, edge)
    first = clip * n_frames
    return Slots(slot + clip * max_slots, starts + first, head, crossing + first, tail)


def slot_sums(features: Tensor, slots: Slots) -> Tensor:
    """Compute the weighted sum of the frames in each slot, of any features.

    Features that are logarithms of power go through
    :func:`~skaudio.layers.resolution.slot_pooling.pool_slots`.

    Parameters
    ----------
    features : Tensor of shape (batch, n_frames, n_features) or (n_frames, n_features)
        Without the first axis all clips share them.
    slots : Slots

    Returns
    -------
    Tensor of shape (batch, n_slots, n_features)
    """
    n_frames = slots.head.shape[1]
    frames, crossing = torch.arange(slots.head.numel(), device=features.device), slots.crossing
    if features.dim() == 2:
        frames, crossing = frames % n_frames, crossing % n_frames
    rows = features.reshape(-1, features.shape[-1])
    # A bag holds the frames from its first one to that of the next bag. Its weighted sum is what an
    # embedding bag computes, in one pass and without an array of weighted rows.
    heads = torch.nn.functional.embedding_bag(
        frames,
        rows,
        slots.starts.flatten(),
        mode="sum",
        per_sample_weights=slots.head.flatten().to(rows.dtype),
    )
    tail = slots.tail.flatten()[:, None].to(rows.dtype)
    sums = heads.addcmul_(tail, rows.index_select(0, crossing.flatten()))
    return sums.view(*slots.tail.shape, -1)


def overlap_matrix(slots: Slots) -> Tensor:
    """Compute the matrix of all weights, for inspection; it has n_frames * n_slots entries.

    Parameters
    ----------
    slots : Slots

    Returns
    -------
    Tensor of shape (batch, n_frames, n_slots)
    """
    (batch, n_frames), n_slots = slots.head.shape, slots.tail.shape[1]
    slot = slots.slot % n_slots
    weight = slots.head.new_zeros(batch, n_frames, n_slots)
    weight = weight.scatter(2, slot[..., None], slots.head[..., None])
    crossing = slots.crossing % n_frames
    return weight.scatter_add(1, crossing[:, None], slots.tail[:, None])
