"""A trained network as an ONNX file that takes pictures of any size, in batches of any size."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from backstride.files import check_file, write_beside
from backstride.roads.meaning import KEY as MEANING
from backstride.roads.meaning import Meaning
from backstride.roads.network.checkpoint import found, load, meaning_of
from backstride.roads.prediction.folding import folded
from backstride.roads.prediction.onnx_predictor import INPUT, OUTPUT, SIZE, session
from backstride.roads.prediction.slicing import sliced
from backstride.roads.prediction.torch_predictor import segmenter_of
from backstride.surgery.decoding.influence import KEY, Influence
from backstride.torch import restore

TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Checked:
    """How far ONNX Runtime was from PyTorch.

    `sizes`: (pictures, rows, columns). `worst`: of the logits.
    """

    sizes: tuple[tuple[int, int, int], ...]
    worst: float


def export(checkpoint: Path, output: Path, encoder: str | None = None) -> Checked:
    """Write a checkpoint as ONNX, whole or not at all, and compare the runtimes' results.

    The model takes `image`, float32 RGB from 0 to 1, (N, 3, H, W), and gives `logits`, (N, classes,
    H, W); N, H and W are free, H and W from the network's native size on.
    `backstride roads predict` and `backstride segment` run it; its metadata say how far its pixels
    look.

    `encoder`: see `backstride.roads.network.checkpoint.load`.

    Raises `ValueError` for what is no checkpoint, and where the results differ by more than 1e-3.
    """
    check_file("output", output, endings=(".onnx",), inputs={"checkpoint": checkpoint})
    network, size, meaning = _plain(checkpoint, encoder)
    data = _written(network, size, meaning)
    checked = _compared(network, data)
    if not checked.worst <= TOLERANCE:
        message = (
            f"`checkpoint` (={str(checkpoint)!r}): ONNX Runtime differs from PyTorch by "
            f"{checked.worst:.1e}"
        )
        raise ValueError(message)
    write_beside(output, data)
    return checked


def exported(checkpoint: Path, encoder: str | None = None) -> bytes:
    """The ONNX model of a checkpoint."""
    return _written(*_plain(checkpoint, encoder))


def _plain(checkpoint: Path, encoder: str | None) -> tuple[nn.Module, Sequence[int], Meaning]:
    """The network on PyTorch's kernels, which the exporter knows, its size and its meaning."""
    network, config = load(found(checkpoint), encoder)
    return restore(network), config.data.size, meaning_of(checkpoint)


def _written(network: nn.Module, size: Sequence[int], meaning: Meaning) -> bytes:
    known = segmenter_of(network).influence
    rows, columns = known.native
    step = known.stride
    dim = torch.export.Dim
    # The tracer would take the native size for a case of its own; ONNX Runtime runs it all the
    # same.
    sizes = {0: dim("batch"), 2: dim("rows", min=rows + 1), 3: dim("columns", min=columns + 1)}
    image = torch.rand(2, 3, rows + step, columns + 2 * step)
    with (
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        path = Path(folder) / "net.onnx"
        torch_onnx: Any = torch.onnx
        _ = torch_onnx.export(
            folded(network),
            (image,),
            path,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=(sizes,),
            dynamo=True,
            verbose=False,
            external_data=False,
        )
        import onnx  # noqa: PLC0415  the exporter has said what is missing

        model = onnx.ModelProto()
        _ = model.ParseFromString(path.read_bytes())
    sliced(model)
    for key, value in (
        (KEY, known.to_json()),
        (SIZE, "x".join(map(str, size))),
        (MEANING, meaning.to_json()),
    ):
        _ = model.metadata_props.add(key=key, value=value)
    return model.SerializeToString()


def _compared(network: nn.Module, data: bytes) -> Checked:
    """At the native size, beside it, and in batches."""
    known = segmenter_of(network).influence
    runs = session(data, "cpu", "the exported network")
    random = np.random.default_rng(0)
    worst = 0.0
    sizes = _sizes(known)
    for count, rows, columns in sizes:
        images = random.random((count, 3, rows, columns), np.float32)
        (logits,) = runs.run([OUTPUT], {INPUT: images})
        with torch.no_grad():
            expected = network(torch.as_tensor(images)).numpy()
        worst = max(worst, float(np.abs(logits - expected).max()))
    return Checked(sizes, worst)


def _sizes(known: Influence) -> tuple[tuple[int, int, int], ...]:
    rows, columns = known.native
    return (
        (1, rows, columns),
        (2, rows + 37, columns + 3),
        (1, rows + 5, columns + 2 * known.stride + 22),
    )
