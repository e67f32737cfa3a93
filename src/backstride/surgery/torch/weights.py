"""Weights of a network in a safetensors file: numbers and names, nothing that runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from backstride.files import check_file, write_beside
from backstride.surgery.model.names import is_of

if TYPE_CHECKING:
    import torch
    from torch import nn

HEADER = 16 << 20  # bytes that names and shapes may take
MISSING = "safetensors is not installed; run: pip install 'backstride[torch]'"


def save_weights(network: object, path: str | Path) -> None:
    """Write a PyTorch network's weights and statistics to a safetensors file, whole or not at all.

    >>> import pytest; _ = pytest.importorskip("safetensors", reason="safetensors is not installed")
    >>> import tempfile; from torch import nn
    >>> path = Path(tempfile.mkdtemp()) / "fcn.safetensors"
    >>> save_weights(nn.Linear(3, 2), path)
    >>> load_weights(nn.Linear(3, 2), path)

    Args:
        network: A torch.nn.Module.
        path: The file to write.

    Raises:
        TypeError: For what is no torch.nn.Module.
        ValueError: Where `path` is a folder.
    """
    module = _module("network", network)
    target = Path(path)
    check_file("path", target)
    state = {
        name: value.detach().clone().contiguous().cpu() for name, value in _weights(module).items()
    }
    write_beside(target, _serialised(state))


def load_weights(network: object, path: str | Path) -> None:
    """Read a safetensors file into a network that has the same layers; nothing in it is executed.

    See `save_weights` for an example.

    Args:
        network: A torch.nn.Module with the layers of the file.
        path: The file to read.

    Raises:
        ValueError: Where the file is missing, is no safetensors file, is larger than the network,
            or names other weights or shapes. The network is unchanged then.
    """
    module = _module("network", network)
    source = Path(path)
    expected = _weights(module)
    found = _read(source, sum(value.numel() * value.element_size() for value in expected.values()))
    for name in sorted({*expected, *found}):
        have, want = found.get(name), expected.get(name)
        if have is None or want is None or have.shape != want.shape:
            given = "no weight of this name" if have is None else str(tuple(have.shape))
            asked = "none" if want is None else str(tuple(want.shape))
            message = (
                f"`path` (={str(source)!r}) has {given} at {name!r}, where the network has {asked}"
            )
            raise ValueError(message)
    _ = module.load_state_dict(found)


def _module(name: str, model: object) -> nn.Module:
    """The model, where it is a PyTorch module; PyTorch is not loaded to find out."""
    if not is_of(model, "torch.nn", "Module"):
        message = f"`{name}` must be a torch.nn.Module, not {type(model).__name__}"
        raise TypeError(message)
    return cast("nn.Module", model)


def _weights(network: nn.Module) -> dict[str, torch.Tensor]:
    return network.state_dict()


def _read(path: Path, size: int) -> dict[str, torch.Tensor]:
    if not path.is_file():
        message = f"`path` (={str(path)!r}) is no file"
        raise ValueError(message)
    if path.stat().st_size > 8 * size + HEADER:  # a wider dtype is at most 8 times as large
        message = f"`path` (={str(path)!r}) has {path.stat().st_size} bytes; the network has {size}"
        raise ValueError(message)
    try:
        from safetensors import SafetensorError  # noqa: PLC0415  not always installed
        from safetensors.torch import load  # noqa: PLC0415  the same
    except ImportError:
        raise ImportError(MISSING) from None
    try:
        return load(path.read_bytes())
    except (SafetensorError, ValueError, KeyError) as error:
        message = f"`path` (={str(path)!r}) is no safetensors file: {error}"
        raise ValueError(message) from None


def _serialised(weights: dict[str, torch.Tensor]) -> bytes:
    try:
        from safetensors.torch import save  # noqa: PLC0415  not always installed
    except ImportError:
        raise ImportError(MISSING) from None
    return save(weights)
