"""Averages the kernels of multi-time-scale layers while a net trains."""

from __future__ import annotations

from typing import Any, Literal

from skaudio.callbacks._layer_hook import LayerHook

__all__ = ["KernelAveraging"]


class KernelAveraging(LayerHook):
    """Call ``update_kernels()`` on every submodule that offers it.

    Parameters
    ----------
    every : {"step", "epoch"}, default="step"
        Call after each training step, as published, or after each epoch.

    Raises
    ------
    ValueError
        When the net is initialised, if `every` is neither.

    See Also
    --------
    skaudio.layers.MultiscaleConv2d : The layer whose kernels are averaged.
    """

    method = "update_kernels"

    def __init__(self, every: Literal["step", "epoch"] = "step") -> None:
        self.every = every

    def initialize(self) -> KernelAveraging:
        """Check the parameters."""
        if self.every not in ("step", "epoch"):
            raise ValueError(f"every: got {self.every!r}, but expected 'step' or 'epoch'.")
        return super().initialize()

    def on_batch_end(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Average after a training step."""
        if self.every == "step":
            super().on_batch_end(net, *args, **kwargs)

    def on_epoch_end(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Average after an epoch."""
        if self.every == "epoch":
            self._call_layers()
