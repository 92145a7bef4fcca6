"""A network of which several corpora share all but the last layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from skaudio.networks.contract import takes_lengths

__all__ = ["SharedTrunk"]


class SharedTrunk(nn.Module):
    """A :class:`~skaudio.networks.CorpusModule` made of modules for one corpus.

    Parameters
    ----------
    modules : sequence of torch.nn.Module
        Of one architecture, each with as many outputs as its corpus needs. The first one becomes
        the trunk; of the others only the attribute ``head`` is kept, which has to be the last
        computation of each.

    Raises
    ------
    ValueError
        If a module has no ``head``.

    See Also
    --------
    AdapterResNet : Gives more than a head to each corpus.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        heads = [_find_head(module) for module in modules]
        self.trunk = modules[0]
        _replace(self.trunk, heads[0], nn.Identity())
        self.sets = nn.ModuleList(nn.ModuleDict({"head": head}) for head in heads)
        self._takes_lengths = takes_lengths(self.trunk)

    @property
    def head(self) -> nn.Module:
        """Last layer of the first corpus."""
        return _find_head(self.sets[0])

    @property
    def n_frames(self) -> int | None:
        """The only number of frames that the module takes; None if it takes any."""
        return getattr(self.trunk, "n_frames", None)

    def set_clip_counts(self, n_clips: Sequence[int]) -> None:
        """Take note of nothing: no penalty depends on the number of clips."""
        if len(n_clips) != len(self.sets):
            raise ValueError(
                f"set_clip_counts: got {len(n_clips)} numbers of clips, but expected one for each "
                f"of the {len(self.sets)} corpora."
            )

    def forward(self, x: Tensor, lengths: Tensor | None = None, corpus: int = 0) -> Any:
        """Map ``(batch, n_channels, n_bands, n_frames)`` to logits of one corpus."""
        output = self.trunk(x, lengths) if self._takes_lengths else self.trunk(x)
        vector, *named = output if isinstance(output, tuple) else (output,)
        if not 0 <= corpus < len(self.sets):
            raise IndexError(
                f"corpus: got {corpus}, but the network has heads for {len(self.sets)} corpora, "
                "counted from 0."
            )
        logits = _find_head(self.sets[corpus])(vector)
        return (logits, *named) if named else logits


def _find_head(module: nn.Module) -> nn.Module:
    head = getattr(module, "head", None)
    if not isinstance(head, nn.Module):
        raise ValueError(
            f"{type(module).__name__} has no attribute `head`, so that it is not known which layer "
            "each corpus needs for itself. Call its last layer `head`."
        )
    return head


def _replace(module: nn.Module, part: nn.Module, other: nn.Module) -> None:
    """Put another module into the place of a part, however deep it lies."""
    for owner in list(module.modules()):
        for name, child in owner.named_children():
            if child is part:
                setattr(owner, name, other)
