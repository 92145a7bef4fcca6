"""Pooling of the frames that share a slot: their average, maximum and positional encoding.

Forward and backward walk through the frames in groups of neighbouring slots, small enough that
all that is computed on the way stays in a processor's cache. Each frame is read once, and each
map written once. The same in steps over the whole batch (exponential, product with the weights,
sum) writes and reads four arrays as large as the input, which takes longer than the arithmetic:
memory delivers about one number in the time of ten multiplications.

A group holds whole slots. A slot is made of the frames that start in it, which are neighbours,
and of at most one that reaches into it from before, so that groups share nothing but that one
frame. Backward computes power and winners of a group again rather than keeping them from forward:
an exponential costs less than to fetch its result from memory, and nothing as large as the input
has to be held.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skaudio.layers.autograd import refuse_second_derivative
from skaudio.layers.resolution.warping import Slots

__all__ = ["pool_slots"]

LOG_FLOOR = 1e-12
"""Added to power before the logarithm, as in the authors' code: -120 dB."""

CACHEABLE_CELLS = 2**17
"""On a CPU, frames are worked on in groups of about this many values.

In float32 that is 0.5 MB, and up to four such arrays are in use at once: they fit a level-2 cache
of 2 MB. Smaller groups would spend more of their time on calls from Python.
"""


def pool_slots(
    log_power: Tensor, table: Tensor | None, slots: Slots, gain: float = 1.0
) -> tuple[Tensor, Tensor]:
    r"""Compute average, maximum and encoding of the frames of each slot.

    With weights :math:`W`, log power :math:`x`, positional table :math:`P` and gain :math:`g`
    the three maps are

    .. math::

        \ln\Bigl(\sum_t W_{tj} e^{x_t} + 10^{-12}\Bigr), \quad
        \ln\Bigl(g \max_t W_{tj} e^{x_t} + 10^{-12}\Bigr), \quad
        \sum_t W_{tj} P_t .

    Parameters
    ----------
    log_power : Tensor of shape (batch, n_frames, n_features)
        Natural logarithm of power; minus infinity is no power.
    table : Tensor of shape (n_frames, n_features), or None
        Shared by all clips. Without it there is no third map.
    slots : Slots
    gain : float, default=1.0
        Factor of the maximum, > 0.

    Returns
    -------
    maps : Tensor of shape (batch, 3 or 2, n_slots, n_features)
        Differentiable, once, with respect to `log_power`, `table` and the weights. Of a maximum,
        equals share the gradient.
    total : Tensor of shape (batch, n_frames)
        Power of each frame, summed over its features; it has no gradient.

    Raises
    ------
    NotImplementedError
        If a second derivative is asked for.

    See Also
    --------
    skaudio.layers.resolution.warping.slot_sums : Weighted sums alone, of any features.
    """
    dtype = log_power.dtype
    table = None if table is None else table.to(dtype)
    weights = slots.head.to(dtype), slots.tail.to(dtype)
    return _PoolSlots.apply(
        log_power.contiguous(), table, *weights, slots.slot, slots.crossing, gain
    )


class _PoolSlots(torch.autograd.Function):
    """All maps in one walk through the frames, and all gradients in another one."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, table: Tensor | None, head: Tensor, tail: Tensor, slot: Tensor,
        crossing: Tensor, gain: float,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        n_maps = 2 if table is None else 3
        maps = x.new_empty(len(x), n_maps, tail.shape[1], x.shape[2])
        total = torch.empty_like(head)
        for group in _groups(x, head, tail, slot, crossing):
            into = maps[group.clips, :, group.slots]  # clip, map, slot, feature
            if table is not None:
                into[:, 2] = group.sums(group.positions(table).times(group.weights))
            power = group.power(x)
            torch.sum(power.inside, 2, out=total[group.clips, group.frames])
            weighted = power.times_(group.weights)
            into[:, 0] = group.sums(weighted).add_(LOG_FLOOR).log_()
            into[:, 1] = group.maxima(weighted).mul_(gain).add_(LOG_FLOOR).log_()
        ctx.save_for_backward(x, table, head, tail, slot, crossing)
        ctx.gain = gain
        ctx.mark_non_differentiable(total)
        return maps, total

    @staticmethod
    @refuse_second_derivative("DiffRes")
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x, table, head, tail, slot, crossing = ctx.saved_tensors
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        grad_table = torch.zeros_like(table) if ctx.needs_input_grad[1] else None
        grad_head, grad_tail = torch.empty_like(head), torch.empty_like(tail)
        for group in _groups(x, head, tail, slot, crossing):
            to_average, to_maximum, *to_encoding = grad[group.clips, :, group.slots].unbind(1)
            power = group.power(x)
            to_weighted = group.through_logs(power, to_average, to_maximum, ctx.gain)
            to_weights = to_weighted.times_(power)
            if grad_x is not None:
                group.write_frames(grad_x, to_weights.times(group.weights))
            if table is not None:
                to_positions = group.spread(to_encoding[0])
                to_weights.add_product_(group.positions(table), to_positions)
                if grad_table is not None:
                    group.add_to_table(grad_table, to_positions.times(group.weights))
            torch.sum(to_weights.inside, 2, out=grad_head[group.clips, group.frames])
            torch.sum(to_weights.reaching, 2, out=grad_tail[group.clips, group.slots])
        return grad_x, grad_table, grad_head, grad_tail, None, None, None


class _Rows(NamedTuple):
    """One row for each frame that a group of slots is made of."""

    inside: Tensor
    """Of those that start in one of the slots, shape ``(n_clips, n_inside, n_features)``."""
    reaching: Tensor
    """Of the one that reaches into each from before, ``(n_clips, n_slots, n_features)``."""

    def times(self, other: _Rows) -> _Rows:
        return _Rows(self.inside * other.inside, self.reaching * other.reaching)

    def times_(self, other: _Rows) -> _Rows:
        return _Rows(self.inside.mul_(other.inside), self.reaching.mul_(other.reaching))

    def add_product_(self, one: _Rows, other: _Rows) -> None:
        self.inside.addcmul_(one.inside, other.inside)
        self.reaching.addcmul_(one.reaching, other.reaching)


class _Group(NamedTuple):
    """Some neighbouring slots of one clip, or all slots of some clips."""

    clips: slice
    frames: slice
    slots: slice
    into: Tensor
    """Slot of each frame inside, both counted through the group."""
    crossing: Tensor
    """Frame of the batch that reaches into each slot, shape ``(n_clips, n_slots)``.

    It starts in this group or an earlier one. Where none does it is any such frame, of weight 0.
    """
    weights: _Rows
    """Heads and tails, for all features alike."""

    def power(self, x: Tensor) -> _Rows:
        """Compute power from its logarithm, ``(batch, n_frames, n_features)``."""
        inside = x[self.clips, self.frames].exp()
        return _Rows(inside, _rows_at(self.crossing, x.flatten(0, 1)).exp_())

    def positions(self, table: Tensor) -> _Rows:
        """Take rows from the positional table ``(n_frames, n_features)``, which clips share."""
        return _Rows(table[None, self.frames], _rows_at(self.crossing % len(table), table))

    def sums(self, rows: _Rows) -> Tensor:
        """Sum the rows of each slot."""
        sums = rows.reaching.flatten(0, 1).scatter_add(0, *self._into_slots(rows))
        return sums.view_as(rows.reaching)

    def maxima(self, rows: _Rows) -> Tensor:
        """Compute the maximum of the rows of each slot."""
        best = rows.reaching.flatten(0, 1).scatter_reduce(0, *self._into_slots(rows), "amax")
        return best.view_as(rows.reaching)

    def _into_slots(self, rows: _Rows) -> tuple[Tensor, Tensor]:
        source = rows.inside.flatten(0, 1)
        return self.into[:, None].expand_as(source), source

    def spread(self, slots: Tensor) -> _Rows:
        """Copy each slot's values to its frames; those for the reaching frames are `slots`."""
        into = self.into.view(len(slots), -1)
        return _Rows(_rows_at(into, slots.flatten(0, 1)), slots)

    def through_logs(
        self, power: _Rows, to_average: Tensor, to_maximum: Tensor, gain: float
    ) -> _Rows:
        r"""Compute the gradient of weighted power from those of average and maximum.

        With :math:`S` the sum of a slot, :math:`m` its maximum and :math:`n` the number of
        frames that reach it, a frame gets :math:`a / (S + \epsilon)`, and one of those
        :math:`b g / ((g m + \epsilon) n)` on top, :math:`a` and :math:`b` being the gradients.
        """
        weighted = power.times(self.weights)
        # d ln(S + eps) / dS = 1 / (S + eps), and S is a plain sum.
        to_sum = to_average / self.sums(weighted).add_(LOG_FLOOR)
        best = self.maxima(weighted)
        inside, reaching = self.spread(best)
        # 1 for a winner, 0 for the others: the comparison writes numbers over those compared. The
        # maximum is a copy of its winner, so that equality is exact.
        won = _Rows(inside.eq_(weighted.inside), weighted.reaching.eq_(reaching))
        del weighted  # Its memory serves what follows.
        # d ln(g m + eps) / dm = g / (g m + eps), in equal shares for all that attain m.
        to_winner = to_maximum * gain / best.mul_(gain).add_(LOG_FLOOR).mul_(self.sums(won))
        won.times_(self.spread(to_winner))
        inside, reaching = self.spread(to_sum)
        return _Rows(won.inside.add_(inside), won.reaching.add_(reaching))

    def write_frames(self, whole: Tensor, rows: _Rows) -> None:
        """Write the frames' rows into ``(batch, n_frames, n_features)``, group after group."""
        whole[self.clips, self.frames] = rows.inside
        # What reaches into a slot started in this group or an earlier one, so that its row is there
        # to be added to.
        reaching = rows.reaching.flatten(0, 1)
        whole.flatten(0, 1).index_add_(0, self.crossing.flatten(), reaching)

    def add_to_table(self, table: Tensor, rows: _Rows) -> None:
        """Add the rows of all clips to the gradient of the table, ``(n_frames, n_features)``."""
        table[self.frames] += rows.inside.sum(0)
        frames = self.crossing.flatten() % len(table)
        table.index_add_(0, frames, rows.reaching.flatten(0, 1))


def _rows_at(places: Tensor, rows: Tensor) -> Tensor:
    """Select rows at places of shape ``(a, b)``; index_select is faster than indexing."""
    return rows.index_select(0, places.flatten()).view(*places.shape, -1)


def _groups(
    x: Tensor, head: Tensor, tail: Tensor, slot: Tensor, crossing: Tensor
) -> Iterator[_Group]:
    """Split a batch into groups, in ascending order; each frame starts in one of them."""
    n_slots = tail.shape[1]
    for clips, frames, slots in _cuts(x, slot, n_slots):
        into = slot[clips, frames].flatten() - (clips.start * n_slots + slots.start)
        weights = _Rows(head[clips, frames, None], tail[clips, slots, None])
        yield _Group(clips, frames, slots, into, crossing[clips, slots], weights)


def _cuts(x: Tensor, slot: Tensor, n_slots: int) -> Iterator[tuple[slice, slice, slice]]:
    """Split a batch into clips, frames and slots of each group; short clips stay whole."""
    n_clips, n_frames, n_features = x.shape
    frames_at_once = max(1, CACHEABLE_CELLS // max(1, n_features))
    clips_at_once = frames_at_once // n_frames if x.device.type == "cpu" else n_clips
    if clips_at_once:
        for first in range(0, n_clips, clips_at_once):
            clips = slice(first, min(first + clips_at_once, n_clips))
            yield clips, slice(0, n_frames), slice(0, n_slots)
        return
    for clip in range(n_clips):
        # A group begins with a slot, so that its borders move back to where slots begin. Several
        # borders may fall into one long slot: they are one then.
        starts = slot[clip, ::frames_at_once].unique()
        frames = [*torch.searchsorted(slot[clip], starts).tolist(), n_frames]
        slots = [*(starts - clip * n_slots).tolist(), n_slots]
        for started, covered in zip(pairwise(frames), pairwise(slots), strict=True):
            yield slice(clip, clip + 1), slice(*started), slice(*covered)
