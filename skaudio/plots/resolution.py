"""A display of what a resolution layer does to a clip."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skaudio.layers import DiffRes, DiffResF, DiffResTF
from skaudio.layers.resolution.pictures import clip_panels, draw_panels, figure_size

__all__ = ["ResolutionDisplay"]


class ResolutionDisplay:
    """Display which frames of a clip a network keeps, and what it merges them into.

    Four panels: the importance of each frame, with nearly empty frames in grey; the spectrogram
    in decibels; the spectrogram after merging; and the encoding of where in time the merged
    frames come from.

    Parameters
    ----------
    result : dict
        The output of :class:`~skaudio.layers.DiffRes`, :class:`~skaudio.layers.DiffResF` or
        :class:`~skaudio.layers.DiffResTF` for a batch.
    clip : int, default=0
        Position of the clip in the batch.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure or SubFigure
    axes_ : ndarray of shape (n_panels,)
        The panels' axes, from top to bottom.

    See Also
    --------
    skaudio.networks.DiffResNet : Puts the layer in front of any network.
    skaudio.layers.DiffRes : Draws a whole batch into files, with ``visualize``.

    Examples
    --------
    >>> import torch
    >>> from skaudio.layers import DiffRes
    >>> from skaudio.plots import ResolutionDisplay
    >>> layer = DiffRes(in_t_dim=100, in_f_dim=64, dimension_reduction_rate=0.75)
    >>> display = ResolutionDisplay(layer(torch.randn(1, 100, 64))).plot()
    >>> len(display.axes_)
    4
    """

    def __init__(self, result: dict[str, Any], *, clip: int = 0) -> None:
        self.result = result
        self.clip = clip

    @classmethod
    def from_estimator(cls, estimator: Any, clip: Any, *, figure: Any = None) -> ResolutionDisplay:
        """Predict a clip, and draw the output of the network's resolution layer.

        Parameters
        ----------
        estimator : AudioClassifier, AudioRegressor, Pipeline that ends in one, or search for one
            Fitted, with a network that has such a layer, as
            :class:`~skaudio.networks.DiffResNet` has. Of several layers the first is drawn.
        clip : ndarray, str or Path
            One item of the list that :meth:`predict` takes: features of shape
            ``(n_bands, n_frames)``, or whatever the pipeline or the front end computes them
            from, such as a waveform of shape ``(n_samples,)`` in [-1, 1] or a path. If the
            estimator averages over several parts of a clip, the first one is drawn.
        figure : matplotlib.figure.Figure or SubFigure, optional
            Empty, to draw into; by default a new one.

        Returns
        -------
        ResolutionDisplay

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If it has no resolution layer.
        """
        layer = _resolution_layer(estimator)
        results: list[dict[str, Any]] = []
        # A forward hook records the layer's output during an ordinary prediction, so that the
        # picture shows exactly what the prediction used, padding and cropping included.
        hook = layer.register_forward_hook(lambda module, args, result: results.append(result))
        try:
            estimator.predict([clip])
        finally:
            hook.remove()
        return cls(results[0]).plot(figure=figure)

    def plot(self, *, figure: Any = None) -> ResolutionDisplay:
        """Draw the panels, one below the other.

        Parameters
        ----------
        figure : matplotlib.figure.Figure or SubFigure, optional
            Empty, to draw into; by default a new one.

        Returns
        -------
        ResolutionDisplay
            This display.
        """
        import matplotlib.pyplot as plt

        panels = clip_panels(self.result, self.clip)
        self.figure_ = plt.figure(figsize=figure_size(panels)) if figure is None else figure
        self.axes_ = np.array(draw_panels(panels, self.figure_), dtype=object)
        return self


def _innermost(estimator: Any) -> Any:
    """Return the estimator inside pipelines and searches."""
    if isinstance(estimator, Pipeline):
        return _innermost(estimator[-1])
    if hasattr(estimator, "best_estimator_"):
        return _innermost(estimator.best_estimator_)
    return estimator


def _resolution_layer(estimator: Any) -> Any:
    model = _innermost(estimator)
    check_is_fitted(model)
    modules = model.net_.module_.modules() if hasattr(model, "net_") else ()
    for module in modules:
        if isinstance(module, (DiffRes, DiffResF, DiffResTF)):
            return module
    raise ValueError(
        f"ResolutionDisplay: got {model!r}, but expected an estimator whose network has a "
        "resolution layer. Put one in front of the network, as in "
        "AudioClassifier(networks.DiffResNet(reduction_rate=0.5, backbone=...)), and fit that."
    )
