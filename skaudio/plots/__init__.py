"""Displays in the style of scikit-learn."""

from skaudio.plots.resolution import ResolutionDisplay

__all__ = ["ResolutionDisplay"]
