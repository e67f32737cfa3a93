"""Trained weights of encoders from safetensors files."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from backstride.roads.network.vgg import torchvision_names


class TensorFile(Protocol):
    """A safetensors file that is open."""

    keys: Callable[[], list[str]]
    get_tensor: Callable[[str], Tensor]
    metadata: Callable[[], Mapping[str, str] | None]


def read_tensors(path: Path, name: str = "weights") -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file, which holds no code.

    Raises `ValueError` naming the file.
    """
    with _opened(path, name) as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  it is no dictionary
        return tensors, dict(file.metadata() or {})


def read_metadata(path: Path, name: str = "weights") -> dict[str, str]:
    """The metadata alone; raises what `read_tensors` raises."""
    with _opened(path, name) as file:
        return dict(file.metadata() or {})


@contextmanager
def _opened(path: Path, name: str) -> Generator[TensorFile]:
    if not path.is_file():
        message = f"`{name}` (={str(path)!r}) does not exist"
        raise ValueError(message)
    safetensors = importlib.import_module("safetensors")
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            yield file
    except (safetensors.SafetensorError, OSError) as error:
        message = f"`{name}` (={str(path)!r}) is no safetensors file: {error}"
        raise ValueError(message) from None


def load_encoder(classifier: nn.Module, path: Path) -> None:
    """Copy weights into the encoder, by its own layers' names, or by torchvision's for vgg16.

    Weights of the head may be missing or of another shape: it is trained anew. Raises `ValueError`
    where another layer is missing, unknown to the encoder, or of another shape.
    """
    given, _ = read_tensors(path)
    own: dict[str, Tensor] = {
        **dict(classifier.named_parameters()),
        **dict(classifier.named_buffers()),
    }
    known = torchvision_names()
    found: dict[str, Tensor] = {}
    for key, tensor in given.items():
        layer, _, kind = key.rpartition(".")
        name = key if key in own else f"{known.get(layer, layer)}.{kind}"
        head = name not in own or own[name].shape != tensor.shape
        if head and not _is_head(name):
            shape = tuple(tensor.shape)
            have = (
                f"has shape {tuple(own[name].shape)} in the encoder"
                if name in own
                else "is not in the encoder"
            )
            message = f"`weights` (={str(path)!r}): {key}, of shape {shape}, {have}"
            raise ValueError(message)
        if not head:
            found[name] = tensor
    missing = [
        name
        for name in own
        if name not in found and not _is_head(name) and "num_batches" not in name
    ]
    if missing or not found:
        message = (
            f"`weights` (={str(path)!r}) lacks {missing[0] if missing else 'every layer'} of the "
            "encoder"
        )
        raise ValueError(message)
    _ = classifier.load_state_dict(found, strict=False)


def _is_head(name: str) -> bool:
    """Whether a tensor belongs to the layers that a new task trains anew."""
    return name.partition(".")[0] in (
        "classifier",
        "fc",
        "conv6",
        "conv7",
        "score",
        "output",
        "head",
    )
