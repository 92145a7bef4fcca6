"""Keeps norm-constrained layers within their bounds while a net trains."""

from __future__ import annotations

from skaudio.callbacks._layer_hook import LayerHook

__all__ = ["NormScaling"]


class NormScaling(LayerHook):
    """Call ``scale_norm()`` on every submodule that offers it, after each training step.

    The bounds then hold whenever one can look, and a layer whose `minmax_rate` is under 1
    moves towards its bounds once a step. The estimators have it already; a second one would let
    such a layer move twice.

    See Also
    --------
    skaudio.layers.NormConstraint : The bounds and the projection.
    skaudio.layers.project_norms : The same, for a plain torch loop.
    """

    method = "scale_norm"
