"""The lists of docs/kernels.md and CONTRIBUTING.md are complete, and name what is there."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from backstride import conventions
from backstride.conform.grid import WRITERS
from backstride.conform.rows import ROWS
from backstride.conventions import CONVENTIONS
from backstride.plans import REASONS
from backstride.port.api import port
from backstride.port.targets import ALIASES, TARGETS
from backstride.port.weights import port_weights
from backstride.surgery.rewriting.rules import MEASURING

ROOT = Path(__file__).parents[1]
SOURCE, NATIVE = ROOT / "src" / "backstride", ROOT / "native"
PAGES = ("CONTRIBUTING.md", "docs/kernels.md", "docs/architecture.md")
NAMED = re.compile(r"`([\w./*-]+(?:\.(?:py|pyi|cpp|h|inl|toml|md|txt)|/))`")
WRITTEN = "build/"  # by commands


def missing(text: str) -> list[str]:
    """The files and folders that a page names and that are nowhere in the repository."""
    names = [name for name in NAMED.findall(text) if not name.startswith(WRITTEN)]
    found = [
        any(ROOT.glob(name)) or any(SOURCE.rglob(name)) or any(NATIVE.glob(name)) for name in names
    ]
    return [name for name, there in zip(names, found, strict=True) if not there]


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert missing(text) == []
    assert len(NAMED.findall(text)) >= 15


def test_a_file_that_is_gone_would_be_found() -> None:
    text = (
        "`port/targets.py`, `port/gone.py`, `native/*.cpp`, `*_gone.inl`, `attic/`, `surgery/onnx/`"
    )
    assert missing(text) == ["port/gone.py", "*_gone.inl", "attic/"]


def written() -> ModuleType:
    """docs/layers.py, which draws the way of a call."""
    spec = importlib.util.spec_from_file_location("layers", ROOT / "docs" / "layers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_kernels_has_every_file_of_them() -> None:
    layers = written()
    text = layers.KERNELS.read_text(encoding="utf-8")
    assert layers.kernels_page(text) == text, "run: python docs/layers.py"
    assert layers.kernels_picture() == layers.KERNELS_PICTURE.read_text(encoding="utf-8"), (
        "run: python docs/layers.py"
    )
    assert layers.kernels_page(text.replace("| `rows.cpp` |", "| `rags.cpp` |")) == text
    files = [file for _, files in layers.steps() for file in files]
    assert len(files) == len(set(files))
    stems = {path.stem for file in files for path in NATIVE.glob(file)}
    there = {path.stem for path in NATIVE.iterdir() if path.suffix in {".cpp", ".h", ".inl"}}
    assert there - stems == set(), (
        "docs/kernels.toml has a line for each file, a header beside its source"
    )
    assert all(any(NATIVE.glob(file)) or (SOURCE / file).exists() for file in files)


def test_the_build_has_every_source_of_the_kernels() -> None:
    build = (NATIVE / "CMakeLists.txt").read_text(encoding="utf-8")
    others = {"bindings.cpp", "fuzz.cpp"}  # the extension's own, and a program of its own
    assert {path.name for path in NATIVE.glob("*.cpp")} - others == set(
        re.findall(r"\w+\.cpp", build)
    ) - others
    parts = {
        name
        for path in NATIVE.iterdir()
        for name in re.findall(r'#include "(\w+\.inl)"', path.read_text("utf-8"))
    }
    assert {path.name for path in NATIVE.glob("*.inl")} == parts


def test_algorithms_have_the_same_names_everywhere() -> None:
    enum = re.search(
        r"enum class Algorithm : int \{ (.+) \};", (NATIVE / "choose.h").read_text(encoding="utf-8")
    )
    names = re.search(
        r"algorithms\[\] = \{(.+)\};", (NATIVE / "bindings.cpp").read_text(encoding="utf-8")
    )
    assert enum is not None
    assert names is not None
    assert re.findall(r'"(\w+)"', names[1]) == enum[1].split(", ")
    assert set(enum[1].split(", ")) - {"automatic"} == REASONS.keys()


def test_every_rule_of_a_framework_is_compared_with_it() -> None:
    frameworks = {name.partition(",")[0] for name in CONVENTIONS}  # a variant stands behind a comma
    assert frameworks <= {*WRITERS}
    assert {row.convention for row in ROWS.values()} == frameworks
    assert {row.grid or row.convention for row in ROWS.values()} == {*WRITERS}
    assert frameworks <= {*conventions.__all__}
    files = (SOURCE / "conventions").glob("*_family.py")
    modules = [importlib.import_module(f"backstride.conventions.{path.stem}") for path in files]
    assert {record.constructor.__module__ for record in CONVENTIONS.values()} == {
        module.__name__ for module in modules
    }


def test_every_rewrite_rule_is_asked() -> None:
    modules = [
        importlib.import_module(f"backstride.surgery.rewriting.{path.stem}")
        for path in (SOURCE / "surgery" / "rewriting").glob("rules*.py")
    ]
    laws = {
        function
        for module in modules
        for _, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and "Law: " in (function.__doc__ or "")
    }
    assert {rule.apply for rule in MEASURING} == laws


def test_every_target_of_port_is_registered() -> None:
    emitters = {f"backstride.port.{path.stem}" for path in (SOURCE / "port").glob("*_code.py")}
    assert {target.emit.__module__ for target in TARGETS.values()} == emitters
    assert set(ALIASES.values()) <= TARGETS.keys()
    page = (ROOT / "docs" / "port.md").read_text(encoding="utf-8")
    command = (SOURCE / "cli" / "port.py").read_text(encoding="utf-8")
    texts = [port.__doc__ or "", port_weights.__doc__ or "", command]
    for name in TARGETS:
        assert all(re.search(rf"\b{name}\b", text) for text in texts), (
            f"{name} is not in every list of targets"
        )
        assert f"`{name}`" in page


def test_what_runs_a_target_is_in_an_extra() -> None:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    extras = " ".join(
        entry for entries in project["optional-dependencies"].values() for entry in entries
    )
    for target in TARGETS.values():
        for module in target.modules:
            assert module.replace("_", "-") in extras, (
                f"`{module}` runs programs for {target.title}"
            )


def test_a_commit_is_looked_at_as_lint_does() -> None:
    """Each tool of `make lint` has its hook, in the project's own environment."""
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    tools = set(re.findall(r"\$\(BIN\)/(ruff \w+|[\w-]+)", recipe[1])) - {
        "python"
    }  # which types are of
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert len(tools) >= 4
    assert [tool for tool in tools if f"entry: .venv/bin/{tool}" not in hooks] == []
    assert ("tidy" in recipe[1]) == ("entry: make --no-print-directory tidy" in hooks)
