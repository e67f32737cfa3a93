"""What `library` states of Keras is so: each class and module has the names and the options that
stand there.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

keras: Any = pytest.importorskip("keras", reason="it is compared with Keras")
h5py: Any = pytest.importorskip("h5py", reason="Keras keeps weights in it")
library: Any = importlib.import_module("backstride.surgery.keras.library")

pytestmark = pytest.mark.frameworks


def stated() -> dict[str, ast.ClassDef]:
    tree = ast.parse(Path(library.__file__).read_text(encoding="utf-8"))
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def members(kind: ast.ClassDef) -> dict[str, ast.FunctionDef | None]:
    """The attributes and methods of a class, magic ones as well."""
    found: dict[str, ast.FunctionDef | None] = {}
    for node in kind.body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = None
    return found


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each class of the module stands for, by its name there."""
    layers = keras.layers
    model = keras.Sequential([keras.Input((4, 4, 1)), layers.Conv2D(2, 3), layers.Flatten()])
    functional = library.functional_of(model)
    file = h5py.File(tmp_path_factory.mktemp("weights") / "some.h5", "w")
    node = next(node for node in library.nodes_by_depth(functional)[0] if not node.is_input)
    return {
        "Tensor": functional.inputs[0],
        "Symbol": functional.inputs[0],
        "Arguments": node.arguments,
        "Operation": model.layers[0],
        "Layer": model.layers[0],
        "Wrapper": layers.SpectralNormalization(layers.Dense(2)),
        "Function": functional,
        "Model": functional,
        "Sequential": model,
        "Dataset": file.create_dataset("some", data=[1.0]),
        "Hdf5File": file,
        "Node": node,
        "Reduction": keras.ops.mean,
        "Ops": keras.ops,
        "Layers": layers,
        "Trees": keras.tree,
        "Saving": keras.saving,
        "Backend": keras.backend,
        "Random": keras.random,
        "Keras": keras,
        "States": library.states,
    }


def test_every_class_is_compared(examples: dict[str, Any]) -> None:
    assert set(stated()) == set(examples)


@pytest.mark.parametrize("name", sorted(stated()))
def test_keras_has_what_is_stated(name: str, examples: dict[str, Any]) -> None:
    for member, function in members(stated()[name]).items():
        assert hasattr(examples[name], member), member
        options = [] if function is None else [entry.arg for entry in function.args.kwonlyargs]
        if options:
            called = examples[name] if member == "__call__" else getattr(examples[name], member)
            assert set(options) <= set(inspect.signature(called).parameters), member


def test_a_functional_model_has_a_graph(examples: dict[str, Any]) -> None:
    graph = library.functional_of(examples["Sequential"])
    (output,) = keras.tree.flatten(library.packed_outputs(graph))
    operation, place = library.maker(output)
    assert (operation.name, place) == (examples["Sequential"].layers[-1].name, 0)
    assert library.functional_of(examples["Layer"]) is None
