"""The command ``python -m skaudio``, which tells the version."""

from __future__ import annotations

import argparse

import skaudio

__all__ = ["main"]


def main() -> None:
    """Parse the command line, and print the version or the help."""
    parser = argparse.ArgumentParser(
        prog="python -m skaudio",
        description="skaudio is a library: see examples/ and the README for how to use it.",
    )
    parser.add_argument("--version", action="version", version=f"skaudio {skaudio.__version__}")
    parser.parse_args()
    parser.print_help()


if __name__ == "__main__":
    main()
