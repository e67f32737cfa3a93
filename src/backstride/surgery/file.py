"""Classifier file in, network file and report out: nothing is written unless everything worked."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backstride.files import beside, check_file, write_beside
from backstride.surgery.api import check_input_shape, convolutionalize, prove, transpose
from backstride.surgery.model.heads import Head
from backstride.surgery.proving.page import page
from backstride.surgery.proving.proof import Proof
from backstride.surgery.proving.report import Report
from backstride.surgery.torch.weights import save_weights

LARGEST_IMAGE = 2**26  # numbers in a native image
LIBRARIES = {
    ".onnx": ("onnx", "onnxruntime"),
    ".keras": ("keras",),
    ".safetensors": ("torch", "safetensors"),
}


def convert_file(
    model: str,
    input_shape: Sequence[int],
    output: Path,
    *,
    report_path: Path | None = None,
    head: int | str | None = None,
    classes: int | None = None,
    skips: str | Sequence[int] = "auto",
    decoder: str = "fcn",
    init: str = "bilinear",
    coarse: bool = False,
    dense: str = "padded",
    se: str | None = None,
) -> tuple[Report, tuple[Proof, ...]]:
    """Transpose a classifier from file to file.

    The result is proved on a random image where a report is asked for.

    Args:
        model: The path of an .onnx or .keras file, or `package.module:factory`, a function without
            arguments that gives a torch.nn.Module.
        input_shape: `(C, H, W)`, the native size.
        output: A file of the same kind; of a factory's network, its weights as .safetensors.
        report_path: An HTML file with the report and the proof; None for neither.
        head: As in `transpose`. With `coarse` and without it, the network keeps all of the model's
            results.
        classes: As in `transpose`.
        skips: As in `transpose`.
        decoder: As in `transpose`.
        init: As in `transpose`.
        coarse: Whether to leave out the decoder.
        dense: Of a coarse network, which cells it has, as in `convolutionalize`.
        se: As in `convolutionalize`.

    Returns:
        The report and, where it is asked for, a proof of each result.

    Raises:
        ValueError: In one sentence, for what cannot be read, transposed or written; then no file
            is.
    """
    suffix = _suffix(model)
    if output.suffix != suffix:
        message = (
            f"`output` (={str(output)!r}) must end in {suffix}, as `model` (={model!r}) asks for"
        )
        raise ValueError(message)
    read = None if suffix == ".safetensors" else Path(model)
    check_file("output", output, inputs={"model": read})
    if report_path is not None:
        check_file("report", report_path, endings=(".html", ".htm"), inputs={"model": read})
    shape = check_input_shape(input_shape)
    if np.prod([float(size) for size in shape]) > LARGEST_IMAGE:
        message = f"`input_shape` (={shape}) has more than {LARGEST_IMAGE} numbers"
        raise ValueError(message)
    for library in LIBRARIES[suffix]:
        if importlib.util.find_spec(library) is None:
            message = (
                f"{suffix} files need {library}, which is missing; install it with: pip install "
                f"{library}"
            )
            raise ImportError(message)
    classifier = _loaded(model, suffix)
    if coarse:
        network, report = convolutionalize(classifier, shape, head=head, se=se, dense=dense)
    else:
        _refuse_dense(dense)
        network, report = transpose(
            classifier,
            shape,
            head=head,
            se=se,
            classes=classes,
            skips=skips,
            decoder=decoder,
            init=init,
        )
    if report_path is None:
        _save(network, output)
        return report, ()
    with beside(report_path) as part:  # where the report cannot be written, no network is either
        place = None if report.head is None else report.head.place
        compared = (
            network
            if coarse or classes is None
            else convolutionalize(classifier, shape, head=place, se=se)[0]
        )
        proofs = tuple(_proved(classifier, compared, report, written) for written in report.written)
        _ = part.write_text(page(report, *proofs), encoding="utf-8")
        _save(network, output)
    return report, proofs


def _refuse_dense(dense: str) -> None:
    if dense != "padded":
        message = (
            f'`dense` (={dense!r}) must be "padded" with a decoder; the nearest legal call has '
            "`coarse` (=True)"
        )
        raise ValueError(message)


def _suffix(model: str) -> str:
    suffix = Path(model).suffix
    if suffix in (".onnx", ".keras"):
        if not Path(model).exists():
            message = f"`model` (={model!r}) does not exist"
            raise ValueError(message)
        return suffix
    module, _, factory = model.partition(":")
    if factory.isidentifier() and all(part.isidentifier() for part in module.split(".")):
        return ".safetensors"
    message = (
        f"`model` (={model!r}) must be the path of an .onnx or .keras file, or "
        "package.module:factory"
    )
    raise ValueError(message)


def _loaded(model: str, suffix: str) -> object:
    if suffix == ".onnx":
        return model
    if suffix == ".keras":
        from backstride.surgery.keras.file import load as load_keras  # noqa: PLC0415  loads Keras

        return load_keras(Path(model))
    name, _, factory = model.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        made = getattr(importlib.import_module(name), factory)()
    except ImportError as error:
        message = f"`model` (={model!r}) cannot be imported: {error}"
        raise ValueError(message) from None
    except Exception as error:  # noqa: BLE001  the user's own code runs here
        if (
            isinstance(error, AttributeError)
            and error.obj is sys.modules.get(name)
            and error.name == factory
        ):
            message = f"`model` (={model!r}): {name} has no {factory}"
        else:
            message = (
                f"`model` (={model!r}) fails with {type(error).__name__}: "
                f"{str(error).partition(chr(10))[0]}"
            )
        raise ValueError(message) from None
    finally:
        _ = sys.path.pop(0)
    import torch  # noqa: PLC0415  a heavy library

    if not isinstance(made, torch.nn.Module):
        message = f"`model` (={model!r}) gave {type(made).__name__}; it must give a torch.nn.Module"
        raise TypeError(message)
    return made.eval()


def _proved(classifier: object, network: object, report: Report, head: Head) -> Proof:
    """The proof on a random image two strides larger than the native one."""
    more = 2 * int(max(max(output.stride) for output in report.outputs))
    channels, rows, columns = report.input_shape
    image = (
        np.random.default_rng(0).random((channels, rows + more, columns + more)).astype(np.float32)
    )
    return prove(classifier, network, report, image, head=head.place)


def _save(network: Any, output: Path) -> None:
    match output.suffix:
        case ".safetensors":
            save_weights(network, output)
        case ".onnx":
            from backstride.surgery.onnx.save import save  # noqa: PLC0415  loads ONNX

            save(network, output)
        case _:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "network.keras"
                network.save(path)
                write_beside(output, path.read_bytes())
