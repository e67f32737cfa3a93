"""The command `backstride`, and `python -m backstride`.

Whoever presses Ctrl+C while it loads reads one line, too.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Load the command line and run it."""
    try:
        from backstride.cli import main as run  # noqa: PLC0415  a third of a second, in which Ctrl+C is pressed

        run()
    except KeyboardInterrupt:
        _ = sys.stderr.write("backstride: stopped\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
