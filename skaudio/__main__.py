"""The command ``skaudio``, as ``python -m skaudio``."""

from __future__ import annotations

import sys

from skaudio.cli import main

if __name__ == "__main__":
    sys.exit(main())
