"""The public names: `__all__` is the whole list, and each function teaches itself by an example that runs."""

from __future__ import annotations

import ast
import doctest
import inspect
from pathlib import Path

import pytest

import backstride as bs

CONTRACT = {
    "Geometry",
    "conv",
    "conv_kernel_gradient",
    "conv_transpose",
    "dense",
    "dense_to_conv",
    "flatten",
    "geometry",
    "implementations",
    "plan",
    "relu",
}


def test_all_names_what_is_there_in_order() -> None:
    assert bs.__all__ == sorted(bs.__all__, key=lambda name: (name.islower(), name))
    public = {
        name
        for name, value in vars(bs).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert public == set(bs.__all__)
    assert set(bs.__all__) >= CONTRACT


def test_the_front_door_is_a_table_of_contents() -> None:
    tree = ast.parse(Path(str(bs.__file__)).read_text(encoding="utf-8"))
    for node in tree.body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        names = isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]
        assert docstring or names or isinstance(node, ast.ImportFrom)


@pytest.mark.parametrize("name", bs.__all__)
def test_every_public_name_is_documented_and_every_function_by_example(name: str) -> None:
    value = getattr(bs, name)
    assert callable(value)
    text = inspect.getdoc(value)
    assert text
    if inspect.isfunction(value):
        assert doctest.DocTestParser().get_examples(text)


@pytest.mark.parametrize("name", sorted(CONTRACT - {"Geometry", "implementations"}))
def test_arrays_come_by_position_and_options_by_name(name: str) -> None:
    parameters = inspect.signature(getattr(bs, name)).parameters.values()
    arrays = [entry.name for entry in parameters if entry.kind is entry.POSITIONAL_ONLY]
    loose = [entry.name for entry in parameters if entry.kind is entry.POSITIONAL_OR_KEYWORD]
    assert loose == (["input", "kernel"] if not arrays else [])
    assert all(entry.default is not entry.empty for entry in parameters if entry.kind is entry.KEYWORD_ONLY)


def test_conv_transpose_has_the_options_of_the_contract() -> None:
    options = {
        name: entry.default
        for name, entry in inspect.signature(bs.conv_transpose).parameters.items()
        if entry.kind is entry.KEYWORD_ONLY
    }
    assert options == {
        "strides": 1,
        "padding": "valid",
        "output_padding": None,
        "output_shape": None,
        "dilation": 1,
        "groups": 1,
        "data_format": "channels_last",
        "activation": None,
    }
    planned = {name: entry.default for name, entry in inspect.signature(bs.plan).parameters.items()}
    assert {name: planned[name] for name in options} == options
    only = {"output_padding", "output_shape"}
    shared = {name: entry.default for name, entry in inspect.signature(bs.conv).parameters.items() if name in options}
    assert shared == {name: value for name, value in options.items() if name not in only}
