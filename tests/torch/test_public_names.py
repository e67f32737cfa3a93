"""`backstride.torch` is a table of contents, and every name of it teaches itself."""

from __future__ import annotations

import doctest
import importlib
import inspect
from typing import Any

import pytest

_ = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
bt: Any = importlib.import_module("backstride.torch")


def test_all_names_what_is_there() -> None:
    assert bt.__all__ == sorted(bt.__all__, key=lambda name: (name.islower(), name))
    names: dict[str, Any] = {name: getattr(bt, name) for name in dir(bt)}
    public = {
        name
        for name, value in names.items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public == set(bt.__all__)


@pytest.mark.parametrize("name", bt.__all__)
def test_every_name_is_documented_and_every_function_by_example(name: str) -> None:
    value = getattr(bt, name)
    text = inspect.getdoc(value)
    assert text
    if inspect.isfunction(value) and name != "forget":
        assert doctest.DocTestParser().get_examples(text)
