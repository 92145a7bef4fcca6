"""What callbacks share that ask layers to do something after training steps."""

from __future__ import annotations

from typing import Any, ClassVar

from skorch.callbacks import Callback
from torch import nn

__all__ = ["LayerHook"]


class LayerHook(Callback):
    """Call :attr:`method` on every submodule that offers it, after each training step.

    Layers that took no part in the step are left alone: frozen ones, and those of other corpora
    than the batch is of.
    """

    method: ClassVar[str]

    def on_train_begin(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Collect the layers, once."""
        self._layers = [part for part in net.module_.modules() if hasattr(part, self.method)]

    def on_batch_end(self, net: Any, *args: Any, training: bool = False, **kwargs: Any) -> None:
        """Call the layers after a training step, not after a validation step."""
        if training:
            self._call_layers()

    def _call_layers(self) -> None:
        for layer in self._layers:
            if _took_part(layer):
                getattr(layer, self.method)()

    def __getstate__(self) -> dict[str, Any]:
        # The layers are the net's to keep, not a callback's.
        return {name: value for name, value in super().__getstate__().items() if name != "_layers"}


def _took_part(layer: nn.Module) -> bool:
    """Tell whether the newest step gave a gradient to the layer, if it has weights at all."""
    weights = list(layer.parameters())
    return not weights or any(weight.grad is not None for weight in weights)
