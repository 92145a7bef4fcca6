"""What callbacks share that ask layers to do something after training steps."""

from __future__ import annotations

from typing import Any, ClassVar

from skorch.callbacks import Callback
from torch import nn

__all__ = ["LayerHook"]


class LayerHook(Callback):
    """Call :attr:`method` on every submodule that offers it, after each training step."""

    method: ClassVar[str]

    def on_train_begin(self, net: Any, *args: Any, **kwargs: Any) -> None:
        """Collect the layers, once; those whose weights are frozen stay as they are."""
        layers = [layer for layer in net.module_.modules() if not _is_frozen(layer)]
        self._calls = [
            getattr(layer, self.method) for layer in layers if hasattr(layer, self.method)
        ]

    def on_batch_end(self, net: Any, *args: Any, training: bool = False, **kwargs: Any) -> None:
        """Call the layers after a training step, not after a validation step."""
        if training:
            self._call_layers()

    def _call_layers(self) -> None:
        for call in self._calls:
            call()

    def __getstate__(self) -> dict[str, Any]:
        # The layers are the net's to keep, not a callback's.
        return {name: value for name, value in super().__getstate__().items() if name != "_calls"}


def _is_frozen(layer: nn.Module) -> bool:
    weights = list(layer.parameters())
    return bool(weights) and not any(weight.requires_grad for weight in weights)
