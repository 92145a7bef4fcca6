"""Datasets: bundled and synthetic sounds, and files listed in a table or a folder."""

from skaudio.datasets.folder import load_folder
from skaudio.datasets.manifest import load_manifest
from skaudio.datasets.spoken_digits import load_spoken_digits
from skaudio.datasets.synthetic import make_chirps, make_tones

__all__ = ["load_folder", "load_manifest", "load_spoken_digits", "make_chirps", "make_tones"]
