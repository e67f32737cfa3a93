"""The layers: imports run one way, in the library and in its packages, and importing backstride
brings in no framework.

docs/layers.toml lists the layers; docs/architecture.md is written from it. All checks are shown to
fail."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "backstride"
Uses = Mapping[str, set[str]]  # what each module or part imports
Layers = Mapping[
    str, Sequence[Sequence[str]]
]  # per package, "" for the library: names of parts, lowest layer first


def written() -> ModuleType:
    """docs/layers.py, which reads the list of layers."""
    spec = importlib.util.spec_from_file_location("layers", ROOT / "docs" / "layers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LAYERS: Layers = written().lists()
FRAMEWORKS = (
    "torch",
    "jax",
    "flax",
    "equinox",
    "tensorflow",
    "keras",
    "onnx",
    "onnxruntime",
    "openvino",
)
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

LOADERS = ("import_module", "__import__")
MOST_FILES = 25  # that a folder has of its own


def module_of(path: Path, source: Path) -> str:
    """The dotted name of a file below the library: "engine", "surgery.api", "surgery.__init__"."""
    return ".".join(path.relative_to(source).with_suffix("").parts)


def named(path: Path, source: Path) -> Iterator[str]:
    """All names of ours that a file imports: at its top, in functions, for type checkers, by
    importlib and lazily.
    """
    package = ("backstride", *path.relative_to(source).parts[:-1])
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=found):
                names += [alias.name for alias in found]
            case ast.ImportFrom(module=module, names=found, level=level):
                base = package[: len(package) - level + 1] if level else ()
                names += [".".join((*base, *filter(None, [module]), alias.name)) for alias in found]
            case ast.Call(func=ast.Name(id="attach"), keywords=found):
                names += [".".join((*package, keyword.arg or "")) for keyword in found]
            case ast.Call(func=ast.Name(id=call) | ast.Attribute(attr=call), args=[first, *_]) if (
                call in LOADERS
            ):
                names += loaded(first, path, ".".join(package))
            case _:
                pass
    for name in names:
        first, _, rest = name.partition(".")
        if first == "backstride":
            yield rest


def loaded(name: ast.expr, path: Path, package: str) -> list[str]:
    """What importlib is asked for: a name; all of a package where the end is put in; or any name
    that the file has.
    """
    match name:
        case ast.Constant(value=str(text)):
            return [package + text if text.startswith(".") else text]
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]) if text.endswith("."):
            return [f"{text}*"]
        case _:
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            texts = [
                node.value
                for node in nodes
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            ]
            return [text for text in texts if re.fullmatch(r"backstride(\.\w+)+", text)]


def imported(path: Path, source: Path, modules: set[str]) -> set[str]:
    """The modules of ours that a file imports; a name that is none is looked for in the package
    that it stands in.
    """
    found: set[str] = set()
    for name in named(path, source):
        if name.endswith("*"):
            found |= {module for module in modules if f"{module}.".startswith(name[:-1])}
            continue
        parts = name.split(".") if name else []
        while parts and not {".".join(parts), ".".join((*parts, "__init__"))} & modules:
            _ = parts.pop()
        whole = ".".join(parts)
        found.add(whole if whole in modules else ".".join((*parts, "__init__")))
    return found - {module_of(path, source)}


def violations(source: Path, layers: Layers) -> list[str]:
    """What breaks the law: an import of a higher layer, a circle of modules or parts, a part
    without a layer.
    """
    files = {module_of(path, source): path for path in sorted(source.rglob("*.py"))}
    modules = {*files, "_native"}
    uses = {name: imported(path, source, modules) for name, path in files.items()}
    packages = {name.rpartition(".")[0] for name in files if name.endswith("__init__")}
    found = [
        f"{package} has no list in docs/layers.toml" for package in sorted(packages - set(layers))
    ]
    found += [f"{circle} import each other" for circle in circles(uses)]
    for package, lists in layers.items():
        found += broken(
            package, lists, {name: path.relative_to(source) for name, path in files.items()}, uses
        )
    return found


def broken(
    package: str, lists: Sequence[Sequence[str]], files: Mapping[str, Path], uses: Uses
) -> list[str]:
    """The same within one package, whose parts are its modules and folders."""
    stem = f"{package}." if package else ""
    layer_of = {part: layer for layer, parts in enumerate(lists) for part in parts}
    parts = {
        name: name.removeprefix(stem).partition(".")[0] for name in uses if name.startswith(stem)
    }
    found = [
        f"{stem}{part} has no layer in docs/layers.toml"
        for part in sorted(set(parts.values()) - set(layer_of))
    ]
    missing = sorted(set(layer_of) - set(parts.values()) - {"_native"})
    found += [f"{stem}{part} has a layer and is not there" for part in missing]
    between: dict[str, set[str]] = {}
    for name, part in parts.items():
        inside = {
            other.removeprefix(stem).partition(".")[0]
            for other in uses[name]
            if other.startswith(stem)
        } - {part}
        between.setdefault(stem + part, set()).update(stem + other for other in inside)
        for other in sorted(inside):
            if layer_of.get(other, -1) > layer_of.get(part, len(lists)):
                found.append(f"{files[name]} imports {stem}{other} from a higher layer")
    return found + [f"{circle} import each other" for circle in circles(between)]


def circles(uses: Uses) -> list[str]:
    """Names that reach each other, a line for each circle."""
    reached = {name: reachable(name, uses) for name in uses}
    rings = {
        frozenset(other for other in reached[name] if name in reached.get(other, ()))
        for name in uses
    }
    return sorted(", ".join(sorted(ring)) for ring in rings if ring)


def reachable(start: str, uses: Uses) -> set[str]:
    seen: set[str] = set()
    todo = list(uses.get(start, ()))
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += uses.get(name, ())
    return seen


def test_imports_run_one_way() -> None:
    assert violations(SOURCE, LAYERS) == []


def test_the_page_has_the_layers_as_they_are_listed() -> None:
    layers = written()
    text = layers.PAGE.read_text(encoding="utf-8")
    assert layers.page(text) == text, "run: python docs/layers.py"
    assert layers.picture() == layers.PICTURE.read_text(encoding="utf-8"), (
        "run: python docs/layers.py"
    )
    assert layers.page(text.replace("| `cli/` |", "| `ilc/` |")) == text


def test_no_folder_is_a_corridor() -> None:
    counts = {
        str(folder.relative_to(SOURCE)): len(list(folder.glob("*.py")))
        for folder in SOURCE.rglob("*/")
    }
    assert {folder: count for folder, count in counts.items() if count > MOST_FILES} == {}


SMALL: Layers = {
    "": [
        ["geometry"],
        ["layout", "reference"],
        ["engine"],
        ["ops"],
        ["surgery"],
        ["__init__"],
        ["cli"],
    ],
    "surgery": [["graph"], ["rules"], ["torch", "onnx"], ["api"], ["__init__"]],
    "surgery.torch": [["reader"], ["applier"], ["__init__"]],
    "surgery.onnx": [["reader"], ["applier"], ["__init__"]],
}
FILES = {
    "__init__.py": "from backstride.ops import conv",
    "geometry.py": "import math",
    "layout.py": "from backstride import geometry",
    "reference.py": "import backstride.layout",
    "engine.py": "from backstride.layout import FORMATS\nimport backstride._native",
    "ops.py": "from backstride.engine import select",
    "surgery/__init__.py": "from backstride.surgery.api import transpose",
    "surgery/graph.py": "from ..geometry import span",
    "surgery/rules.py": "from ..ops import conv\nfrom backstride.surgery import graph",
    "surgery/api.py": (
        "import importlib\nimportlib.import_module('backstride.surgery.torch.applier')"
    ),
    "surgery/torch/__init__.py": "",
    "surgery/torch/reader.py": "from backstride.surgery.graph import Graph",
    "surgery/torch/applier.py": "from backstride.surgery.torch.reader import read",
    "surgery/onnx/__init__.py": "",
    "surgery/onnx/reader.py": "",
    "surgery/onnx/applier.py": "from backstride.surgery.torch import reader",
    "cli.py": "import backstride.surgery",
}


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        (
            "geometry.py",
            "from backstride.ops import conv",
            "geometry.py imports ops from a higher layer",
        ),
        (
            "geometry.py",
            "from backstride import engine",
            "geometry.py imports engine from a higher layer",
        ),
        ("ops.py", "import backstride", "ops.py imports __init__ from a higher layer"),
        ("ops.py", "from backstride import conv", "ops.py imports __init__ from a higher layer"),
        ("layout.py", "from . import cli", "layout.py imports cli from a higher layer"),
        (
            "layout.py",
            "def f():\n    import backstride.engine",
            "layout.py imports engine from a higher layer",
        ),
        (
            "surgery/rules.py",
            "from ..cli import main",
            "surgery/rules.py imports cli from a higher layer",
        ),
        ("layout.py", "import backstride.reference", "layout, reference import each other"),
        ("attic.py", "", "attic has no layer in docs/layers.toml"),
        ("attic/__init__.py", "", "attic has no list in docs/layers.toml"),
        ("surgery/attic.py", "", "surgery.attic has no layer in docs/layers.toml"),
        (
            "surgery/graph.py",
            "from . import rules",
            "surgery/graph.py imports surgery.rules from a higher layer",
        ),
        (
            "surgery/graph.py",
            "from . import Head",
            "surgery/graph.py imports surgery.__init__ from a higher layer",
        ),
        (
            "surgery/torch/reader.py",
            "from backstride.surgery import api",
            "surgery/torch/reader.py imports surgery.api from a higher layer",
        ),
        (
            "surgery/torch/reader.py",
            "from backstride.surgery.torch.applier import TorchApplier",
            "surgery/torch/reader.py imports surgery.torch.applier from a higher layer",
        ),
        (
            "surgery/torch/reader.py",
            "def f():\n    from ..torch.applier import TorchApplier",
            "surgery.torch.applier, surgery.torch.reader import each other",
        ),
        (
            "surgery/torch/reader.py",
            "from backstride.surgery.onnx import reader",
            "surgery.onnx, surgery.torch import each other",
        ),
        (
            "layout.py",
            "import importlib\nengine = importlib.import_module('backstride.engine')",
            "layout.py imports engine from a higher layer",
        ),
        (
            "layout.py",
            (
                "from importlib import import_module as load, import_module\n"
                "import_module('.engine', __package__)"
            ),
            "layout.py imports engine from a higher layer",
        ),
        (
            "layout.py",
            (
                "import importlib\nHOMES = {'a': 'backstride.surgery.api'}\n"
                "importlib.import_module(HOMES['a'])"
            ),
            "layout.py imports surgery from a higher layer",
        ),
        (
            "surgery/graph.py",
            "import importlib\nimportlib.import_module(f'backstride.cli.{1}')",
            "surgery/graph.py imports cli from a higher layer",
        ),
        (
            "layout.py",
            "attach(__name__, ops=('conv',))",
            "layout.py imports ops from a higher layer",
        ),
    ],
)
def test_the_law_of_imports_can_fail(file: str, text: str, complaint: str, tmp_path: Path) -> None:
    source = tmp_path / "backstride"
    for name, content in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        _ = (source / name).write_text(content)
    assert violations(source, SMALL) == []
    (source / file).parent.mkdir(exist_ok=True)
    _ = (source / file).write_text(text)
    assert complaint in violations(source, SMALL)


def test_the_lowest_layer_imports_nothing_of_ours() -> None:
    assert [name for part in LAYERS[""][0] for name in named(SOURCE / f"{part}.py", SOURCE)] == []


def outsiders(path: Path) -> set[str]:
    """The names of the packages that a file imports anywhere."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


PRINTERS = {"cli", "demo", "roads", "survey"}


@pytest.mark.parametrize(("library", "users"), [("typer", {"cli"}), ("rich", PRINTERS)])
def test_only_what_prints_imports_the_libraries_for_it(library: str, users: set[str]) -> None:
    found = {
        module_of(path, SOURCE).partition(".")[0]
        for path in SOURCE.rglob("*.py")
        if library in outsiders(path)
    }
    assert found <= users


def loaded_by(code: str) -> set[str]:
    report = "\nimport sys\nprint(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code + report],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
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
