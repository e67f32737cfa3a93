"""The house: imports run one way, and importing backstride brings in no framework. Both checks are shown to fail."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "backstride"

FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"geometry", "lazy", "version"}),
    frozenset({"activations", "arrays", "conventions", "files", "layout", "reference", "sizes"}),
    frozenset({"calls", "checks", "implementation", "machine", "precision", "predictions", "_native"}),
    frozenset({"native", "portable"}),
    frozenset({"engine"}),
    frozenset({"plans", "recent"}),
    frozenset({"ops"}),
    frozenset({"initializers"}),
    frozenset({"jax", "keras", "onnx", "tf1", "torch"}),
    frozenset({"conform", "explain", "port", "surgery"}),
    frozenset({"demo", "explore", "roads", "segment", "survey"}),
    frozenset({"__init__"}),
    frozenset({"cli", "__main__"}),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FRAMEWORKS = ("torch", "jax", "flax", "equinox", "tensorflow", "keras", "onnx", "onnxruntime", "openvino")
HEAVY = (
    *FRAMEWORKS,
    "cupy",
    "lightning",
    "mlxtend",
    "matplotlib",
    "PIL",
    "scipy",
    "ml_dtypes",
    "array_api_strict",
    "typer",
    "rich",
)


def room_of(path: Path, source: Path) -> str:
    """The first name under backstride: a module, or a package that counts as one room."""
    return path.relative_to(source).parts[0].removesuffix(".py")


def imported(path: Path, source: Path, rooms: set[str]) -> Iterator[str]:
    """The rooms that a file imports, at its top, in functions, and for type checkers."""
    package = ("backstride", *path.relative_to(source).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join((*base, *filter(None, [node.module])))
            names = [f"{stem}.{alias.name}" for alias in node.names] if stem == "backstride" else [stem]
        else:
            continue
        for name in names:
            first, _, rest = name.partition(".")
            if first == "backstride":
                room = rest.partition(".")[0]
                yield room if room in rooms else "__init__"


def violations(source: Path) -> list[str]:
    """What breaks the law: an import of a higher floor, a ring of rooms, or a room without a floor."""
    files = sorted(source.rglob("*.py"))
    rooms = {room_of(path, source) for path in files} | {"_native"}
    found = [f"{room} has no floor" for room in sorted(rooms) if room not in FLOOR_OF]
    uses: dict[str, set[str]] = {}
    for path in files:
        room = room_of(path, source)
        for other in imported(path, source, rooms):
            if other != room:
                uses.setdefault(room, set()).add(other)
                if FLOOR_OF.get(other, -1) > FLOOR_OF.get(room, len(FLOORS)):
                    found.append(f"{path.relative_to(source)} imports {other} from a higher floor")
    found += [f"{room} imports itself through others" for room in sorted(uses) if room in reachable(room, uses)]
    return found


def reachable(start: str, uses: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    todo = list(uses.get(start, ()))
    while todo:
        room = todo.pop()
        if room not in seen:
            seen.add(room)
            todo += uses.get(room, ())
    return seen


def test_imports_run_one_way() -> None:
    assert violations(SOURCE) == []


@pytest.mark.parametrize(
    ("room", "text", "complaint"),
    [
        ("geometry.py", "from backstride.ops import conv", "geometry.py imports ops from a higher floor"),
        ("geometry.py", "from backstride import engine", "geometry.py imports engine from a higher floor"),
        ("ops.py", "import backstride", "ops.py imports __init__ from a higher floor"),
        ("ops.py", "from backstride import conv", "ops.py imports __init__ from a higher floor"),
        ("layout.py", "from . import cli", "layout.py imports cli from a higher floor"),
        ("layout.py", "def f():\n    import backstride.engine", "layout.py imports engine from a higher floor"),
        ("surgery/rules.py", "from ..cli import main", "surgery/rules.py imports cli from a higher floor"),
        ("layout.py", "import backstride.reference", "layout imports itself through others"),
        ("attic.py", "", "attic has no floor"),
    ],
)
def test_the_law_of_imports_can_fail(room: str, text: str, complaint: str, tmp_path: Path) -> None:
    source = tmp_path / "backstride"
    (source / "surgery").mkdir(parents=True)
    files = {
        "__init__.py": "from backstride.ops import conv",
        "geometry.py": "import math",
        "layout.py": "from backstride import geometry",
        "reference.py": "import backstride.layout",
        "engine.py": "from backstride.layout import FORMATS",
        "ops.py": "from backstride.engine import select",
        "surgery/__init__.py": "from backstride.surgery import rules",
        "surgery/rules.py": "from ..ops import conv",
        "cli.py": "import backstride.surgery",
    }
    for name, content in files.items():
        _ = (source / name).write_text(content)
    assert violations(source) == []
    _ = (source / room).write_text(text)
    assert complaint in violations(source)


def test_the_ground_floor_imports_nothing_of_ours() -> None:
    assert list(imported(SOURCE / "geometry.py", SOURCE, {"geometry"})) == []


def outsiders(path: Path) -> set[str]:
    """The names of the packages that a file imports anywhere."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


PRINTERS = {"cli", "demo", "roads", "surgery", "survey"}


@pytest.mark.parametrize(("library", "users"), [("typer", {"cli"}), ("rich", PRINTERS)])
def test_only_what_prints_imports_the_libraries_for_it(library: str, users: set[str]) -> None:
    found = {room_of(path, SOURCE) for path in SOURCE.rglob("*.py") if library in outsiders(path)}
    assert found <= users


def loaded_by(code: str) -> set[str]:
    report = "\nimport sys\nprint(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def test_importing_backstride_imports_no_framework() -> None:
    loaded = loaded_by("import backstride")
    assert "backstride" in loaded
    assert loaded.isdisjoint({*HEAVY, "numpy", "array_api_compat"})


def test_an_explanation_in_words_loads_no_arrays() -> None:
    loaded = loaded_by(
        "from backstride.explain import Request, answer, sections\n"
        "sections(answer(Request('nn.ConvTranspose2d(8, 4, 3, 2)', input=(7, 7)), {}).explanation)"
    )
    assert "backstride" in loaded
    assert loaded.isdisjoint({*HEAVY, "numpy", "array_api_compat"})


def test_calling_backstride_imports_no_framework() -> None:
    loaded = loaded_by(
        "import numpy as np, backstride as bs\n"
        "x, kernel = np.ones((1, 4, 4, 1)), np.ones((3, 3, 1, 1))\n"
        "y = bs.conv_transpose(x, kernel, strides=2, padding='same', activation='gelu')\n"
        "z = bs.conv(y, kernel, strides=2, padding='same')\n"
        "bs.conv_kernel_gradient(y, z, (3, 3, 1, 1), strides=2, padding='same')\n"
        "bs.implementations(), bs.geometry(7, 3).phases"
    )
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize("name", ["typer", "ml_dtypes"])
def test_an_import_of_something_heavy_would_be_noticed(name: str) -> None:
    assert name in HEAVY
    assert name in loaded_by(f"import backstride, {name}")
