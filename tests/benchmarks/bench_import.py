"""Time to import skaudio beyond scikit-learn alone."""

from __future__ import annotations

import subprocess
import sys

from _timing import compare


def start(statement: str) -> None:
    subprocess.run([sys.executable, "-c", statement], check=True)


if __name__ == "__main__":
    seconds = compare(
        {
            "import sklearn": lambda: start("import sklearn"),
            "import sklearn, skaudio": lambda: start("import sklearn, skaudio"),
        },
        repeats=15,
    )
    print("| statement | milliseconds |\n|---|---|")
    for name, value in seconds.items():
        print(f"| `{name}` | {1000 * value:.0f} |")
    alone, both = seconds.values()
    print(f"\ndifference {1000 * (both - alone):.0f} ms, bound 50 ms")
