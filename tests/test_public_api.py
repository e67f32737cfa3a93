"""The public names: `__all__` is the whole list, and each function teaches itself by an example
that runs.
"""

from __future__ import annotations

import ast
import doctest
import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import backstride as bs

MECHANISM = {"TYPE_CHECKING", "annotations", "attach"}
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
        for name in dir(bs)
        if not name.startswith("_")
        and not inspect.ismodule(getattr(bs, name))
        and name not in MECHANISM
    }
    assert public == set(bs.__all__)
    assert set(bs.__all__) >= CONTRACT


@pytest.mark.parametrize("package", ["__init__.py", "port/__init__.py"])
def test_a_front_door_is_a_table_of_contents(package: str) -> None:
    """What type checkers see, what loads and `__all__` are one list; nothing else stands there."""
    seen: dict[str, tuple[str, ...]] = {}
    loaded: dict[str, tuple[str, ...]] = {}
    public: list[str] = []
    for node in ast.parse(
        (Path(str(bs.__file__)).parent / package).read_text(encoding="utf-8")
    ).body:
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                pass
            case ast.ImportFrom(module="typing" | "backstride.lazy"):
                pass
            case ast.Assign(targets=[ast.Name("__all__")], value=listed):
                public = ast.literal_eval(listed)
            case ast.If(
                test=ast.Name("TYPE_CHECKING"),
                body=imports,
                orelse=[ast.Assign(value=ast.Call() as call)],
            ):
                seen = {
                    (entry.module or "").rpartition(".")[2]: tuple(
                        alias.name for alias in entry.names
                    )
                    for entry in imports
                    if isinstance(entry, ast.ImportFrom)
                }
                assert len(seen) == len(imports)
                loaded = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
            case _:
                pytest.fail(ast.unparse(node))
    assert seen == loaded
    assert sorted(name for names in seen.values() for name in names if name[0] != "_") == sorted(
        public
    )


@pytest.mark.parametrize(
    "code",
    [
        "import backstride.geometry, backstride.port.api, backstride.sizes, backstride as bs",
        (
            "import backstride as bs; bs.geometry, bs.port, bs.sizes; import backstride.geometry, "
            "backstride.port.api"
        ),
        (
            "import backstride as bs; from backstride.port.api import Port; from backstride import "
            "sizes"
        ),
    ],
)
def test_a_name_is_its_function_whatever_was_imported_before(code: str) -> None:
    check = (
        "\nfor name in bs.__all__: assert callable(getattr(bs, name)) and getattr(bs, name) is "
        "getattr(bs, name), name"
    )
    done = subprocess.run(
        [sys.executable, "-c", code + check],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match=r"^module .backstride. has no attribute .deconv.$"):
        _ = getattr(bs, "deconv")  # noqa: B009  the type checker knows that there is none


@pytest.mark.parametrize("name", bs.__all__)
def test_public_names_travel_between_processes(name: str) -> None:
    value = getattr(bs, name)
    assert pickle.loads(pickle.dumps(value)) is value


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
    assert all(
        entry.default is not entry.empty for entry in parameters if entry.kind is entry.KEYWORD_ONLY
    )


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
        "winograd": True,
    }
    planned = {name: entry.default for name, entry in inspect.signature(bs.plan).parameters.items()}
    assert {name: planned[name] for name in options} == options
    only = {"output_padding", "output_shape"}
    shared = {
        name: entry.default
        for name, entry in inspect.signature(bs.conv).parameters.items()
        if name in options
    }
    assert shared == {name: value for name, value in options.items() if name not in only}
