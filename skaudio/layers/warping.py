r"""Distribute frames over fewer slots, in time and memory linear in the number of frames.

Frame :math:`t` with score :math:`s_t \in [0, 1]` covers the interval :math:`(c_{t-1}, c_t]` of
the scores' running sum; slot :math:`j` covers :math:`(j, j + 1]`. A frame's weight in a slot is
the length of their overlap. As no score exceeds 1, a frame touches at most two slots: the one in
which it starts gets its *head*, the next one its *tail*. As the running sum never falls, the
frames that start in a slot are neighbours, and at most one frame reaches into it from before.
So each slot is a bag of consecutive frames and one tail.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Slots", "assign_slots", "overlap_matrix", "slot_maxima", "slot_sums"]


class Slots(NamedTuple):
    """Where the frames of a batch go; frames and slots are counted through the whole batch."""

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
        tensor: float64 keeps it exact to 1e-12 over any clip.
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
    head = (torch.minimum(end, slot + 1.0) - start).clamp(min=0)

    edge = torch.arange(max_slots, device=score.device).expand(batch, -1).contiguous()
    crossing = torch.searchsorted(end.detach(), edge.to(end.dtype), right=True)
    crossing = crossing.clamp(max=n_frames - 1)
    reaches = (start.gather(1, crossing) < edge) & (edge < n_slots[:, None])
    tail = (end.gather(1, crossing) - edge).clamp(min=0) * reaches

    starts = torch.searchsorted(slot, edge)
    first = clip * n_frames
    return Slots(slot + clip * max_slots, starts + first, head, crossing + first, tail)


def slot_sums(features: Tensor, slots: Slots) -> Tensor:
    """Weighted sum of the frames in each slot.

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


def slot_maxima(features: Tensor, slots: Slots) -> Tensor:
    """Largest weighted frame in each slot, per feature.

    Parameters
    ----------
    features : Tensor of shape (batch, n_frames, n_features)
        Values of at least 0.
    slots : Slots

    Returns
    -------
    Tensor of shape (batch, n_slots, n_features)
        0 in empty slots. Equals share the gradient.
    """
    head, tail = slots.head.to(features.dtype), slots.tail.to(features.dtype)
    rows = features.flatten(0, 1)
    weights = head.flatten(), tail.flatten()
    best = _SlotMaxima.apply(rows, *weights, slots.slot.flatten(), slots.crossing.flatten())
    return best.view(*tail.shape, -1)


CACHEABLE_CELLS = 2**18
"""On a CPU, slots are worked on in groups of about this many values, which stay in its cache."""


class _SlotMaxima(torch.autograd.Function):
    """Winners are found again in backward: cheaper than to remember who they were.

    Clips lie one after the other: ``x`` has the shape ``(batch * n_frames, n_features)``, the
    result ``(batch * n_slots, n_features)``.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, head: Tensor, tail: Tensor, slot: Tensor, crossing: Tensor
    ) -> Tensor:
        best = x.new_zeros(len(tail), x.shape[1])
        for bags, frames in _groups(x, slot, len(tail)):
            rows, into = best[bags], slot[frames] - bags.start
            products = x[frames] * head[frames, None]
            rows.scatter_reduce_(0, into[:, None].expand_as(products), products, "amax")
            reaching = x.index_select(0, crossing[bags]).mul_(tail[bags, None])
            torch.maximum(rows, reaching, out=rows)
        ctx.save_for_backward(x, head, tail, slot, crossing, best)
        return best

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, head, tail, slot, crossing, best = ctx.saved_tensors
        grad_head, grad_tail = torch.empty_like(head), torch.empty_like(tail)
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        for bags, frames in _groups(x, slot, len(tail)):
            into, reaching = slot[frames] - bags.start, x.index_select(0, crossing[bags])
            to_head, to_tail = _share_gradient(
                grad[bags], best[bags], x[frames] * head[frames, None],
                reaching * tail[bags, None], into,
            )  # fmt: skip
            torch.sum(to_head * x[frames], 1, out=grad_head[frames])
            torch.sum(reaching.mul_(to_tail), 1, out=grad_tail[bags])
            if grad_x is not None:
                torch.mul(to_head, head[frames, None], out=grad_x[frames])
                # A frame starts before the slot that it reaches into: its row is written by now.
                grad_x.index_add_(0, crossing[bags], to_tail.mul_(tail[bags, None]))
        return grad_x, grad_head, grad_tail, None, None


def _groups(x: Tensor, slot: Tensor, n_slots: int) -> list[tuple[slice, slice]]:
    """Cut the slots into groups, each with the frames that start in it."""
    if x.device.type != "cpu":
        return [(slice(0, n_slots), slice(0, len(x)))]
    step = max(1, CACHEABLE_CELLS // max(1, x.shape[1]))
    cuts = slot[::step].unique()
    frames = [*torch.searchsorted(slot, cuts).tolist(), len(x)]
    bags = [*cuts.tolist(), n_slots]
    pairs = zip(pairwise(bags), pairwise(frames), strict=True)
    return [(slice(*group), slice(*members)) for group, members in pairs]


def _share_gradient(
    grad: Tensor, best: Tensor, heads: Tensor, tails: Tensor, into: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradient of each frame's weighted head and of each slot's weighted tail."""
    head_won = best.index_select(0, into).eq_(heads)
    tail_won = tails.eq_(best)
    n_winners = tail_won.scatter_add(0, into[:, None].expand_as(heads), head_won)
    share = grad / n_winners
    return head_won.mul_(share.index_select(0, into)), tail_won.mul_(share)


def overlap_matrix(slots: Slots) -> Tensor:
    """Write the weights out as a matrix, for looking at; it takes n_frames * n_slots memory.

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
