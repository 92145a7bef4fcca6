"""Displays in the manner of scikit-learn."""

from skaudio.plots.resolution import ResolutionDisplay

__all__ = ["ResolutionDisplay"]
