"""Backward passes that are written by hand can be taken once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

__all__ = ["differentiable_once"]


def differentiable_once(layer: str) -> Callable[[Callable], Callable]:
    """Make the `backward` of a :class:`torch.autograd.Function` refuse to be differentiated.

    :func:`torch.autograd.function.once_differentiable` notices only if the incoming gradient
    requires one, and else lets second derivatives be silently wrong.

    Parameters
    ----------
    layer : str
        Name for the error message.
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
