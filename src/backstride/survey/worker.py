"""`python -m backstride.survey.worker FRAMEWORK NUMBER`.

Measure one row on one core, and print it as JSON. A process of its own for each row: what a network
holds is gone after it, and one that dies takes no other along.
"""

from __future__ import annotations

import json
import os
import sys

from backstride.survey.roster import entries_of
from backstride.survey.row import measure, numbers_of


def main(framework: str, number: str) -> None:
    """Measure, and print the row's numbers as the last line."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    row = measure(entries_of(framework)[int(number)])
    _ = sys.stdout.write(f"\n{json.dumps(numbers_of(row))}\n")


if __name__ == "__main__":
    main(*sys.argv[1:3])
