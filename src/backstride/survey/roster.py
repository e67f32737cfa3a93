"""Who is in the table, framework by framework."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from backstride.survey.row import Entry

ROSTERS = {  # framework: the module whose `entries()` lists its rows
    "PyTorch": "backstride.survey.torch_entries",
    "ONNX": "backstride.survey.onnx_entries",
    "Keras": "backstride.survey.keras_entries",
}


def entries_of(framework: str) -> list[Entry]:
    """The rows of a framework, which this loads."""
    entries: Callable[[], list[Entry]] = importlib.import_module(ROSTERS[framework]).entries
    return entries()
