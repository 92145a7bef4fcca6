"""Saving and loading models without pickle: a file holds data and names, never code."""

from skaudio.persistence.files import describe, load, save

__all__ = ["describe", "load", "save"]
