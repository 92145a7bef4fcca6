"""A guard for backward passes that are written by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

__all__ = ["refuse_second_derivative"]


def refuse_second_derivative(layer: str) -> Callable[[Callable], Callable]:
    """Decorate the `backward` of a :class:`torch.autograd.Function` so that it runs once only.

    Autograd records what a `backward` does when ``create_graph=True``. A hand-written one edits
    tensors in place and reads saved ones as constants, so that what is recorded is not its
    derivative. :func:`torch.autograd.function.once_differentiable` raises an error only where
    the incoming gradient itself requires a gradient. That of ``y.sum()`` is a constant: there,
    second derivatives would be wrong without a word.

    Parameters
    ----------
    layer : str
        Name of the layer, for the error message.

    Returns
    -------
    callable
        The decorator. A decorated `backward` raises a NotImplementedError when gradients are
        being recorded.
    """

    def decorate(backward: Callable) -> Callable:
        @wraps(backward)
        def guarded(ctx: Any, *grads: Any) -> Any:
            if torch.is_grad_enabled():
                raise NotImplementedError(
                    f"{layer}: asked for a second derivative (create_graph=True), but it can be "
                    "differentiated once only. Leave create_graph out."
                )
            return backward(ctx, *grads)

        return guarded

    return decorate
