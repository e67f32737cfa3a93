"""Every command of the documentation runs as it stands, and the gallery is what the guide says."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from backstride.cli import main
from backstride.explain import Request, answer, draw
from backstride.explain.drawing import Text
from backstride.geometry import Geometry

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = sorted(
    {
        line
        for page in ("explain.md", "gallery.md")
        for line in (DOCS / page).read_text(encoding="utf-8").splitlines()
        if line.startswith("backstride explain ")
    }
)


def load_gallery() -> ModuleType:
    found = importlib.util.spec_from_file_location("gallery_build", DOCS / "gallery" / "build.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


GALLERY: Any = load_gallery()
# Output sizes of the guide, by its own formulas and captions.
SIZES = {
    "1.0": 3,
    "1.1": 3, "1.2": 3, "1.3": 3, "1.4": 2, "1.5": 3, "2.1": 2, "2.2": 6, "2.3": 5, "2.4": 7, "2.5": 2, "2.6": 3,  # noqa: E501
    "2.7": 3, "2.8a": 3, "2.8b": 2, "4.1": 4, "4.2": 5, "4.3": 5, "4.4": 5, "4.5": 5, "4.6": 5, "4.7": 6, "5.1": 3,  # noqa: E501
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    if "--matrix" in command:
        _ = pytest.importorskip("scipy.sparse", reason="matrices need SciPy")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(command)[1:])
    assert (ended.value.code or 0) == 0
    assert capsys.readouterr().err == ""
    assert {path.name for path in tmp_path.iterdir()} == set(re.findall(r"--svg (\S+)", command))


def test_the_gallery_is_whole_and_up_to_date() -> None:
    assert {figure.number for figure in GALLERY.FIGURES} == set(SIZES)
    assert (DOCS / "gallery.md").read_text(encoding="utf-8") == GALLERY.page()
    assert {path.name for path in (DOCS / "gallery").glob("*.svg")} == {
        f.file.name for f in GALLERY.FIGURES
    }


@pytest.mark.parametrize("figure", GALLERY.FIGURES, ids=lambda figure: figure.number)
def test_figures_have_the_guide_s_sizes(figure: Any, tmp_path: Path) -> None:
    request: Request = figure.request
    done = answer(request, {"svg": tmp_path / "figure.svg"})
    geometry: Geometry = done.explanation.geometry
    assert set(geometry.input if request.convolution else geometry.output) == {SIZES[figure.number]}
    assert (tmp_path / "figure.svg").read_text() == figure.file.read_text()


def test_the_guide_s_numbers() -> None:
    request = next(figure.request for figure in GALLERY.FIGURES if figure.number == "1.1")
    geometry = answer(request, {}).explanation.geometry
    from backstride.explain import values  # noqa: PLC0415

    x = values.read("x", request.x, (5, 5))
    w = values.read("w", request.w, (3, 3))
    drawing = draw(geometry, "convolution", values.Values(x, (5, 5), w, (3, 3)))
    texts = [
        item.shape.text
        for item in drawing.items
        if isinstance(item.shape, Text) and item.last == drawing.frames
    ]
    exact = [
        int((np.array(x).reshape(5, 5)[i : i + 3, j : j + 3] * np.array(w).reshape(3, 3)).sum())
        for i in range(3)
        for j in range(3)
    ]
    assert exact == [12, 12, 17, 10, 17, 19, 9, 6, 14]
    assert set(map(str, exact)) <= set(texts)
