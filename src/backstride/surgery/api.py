"""The public calls: find the applier of the model's framework, rewrite, write, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, TypeVar, cast

from backstride.arrays import to_numpy
from backstride.integers import as_integer
from backstride.surgery.applier import Applier, Reading, applier_for
from backstride.surgery.decoding.decoder import (
    DECODERS,
    INITS,
    Decoder,
    DecoderKind,
    Init,
    plan_decoder,
)
from backstride.surgery.model.fields import Field, fields
from backstride.surgery.model.graph import WHOLE, Gate, Graph
from backstride.surgery.model.heads import Choice
from backstride.surgery.model.values import Refusal, RefusedError, Rewriting
from backstride.surgery.proving.exactness import padded_layers
from backstride.surgery.proving.proof import Proof, compare
from backstride.surgery.proving.report import Output, Report
from backstride.surgery.proving.speed import measure_speed
from backstride.surgery.rewriting.dense import DENSE, stitched, valid
from backstride.surgery.rewriting.rewrite import rewrite
from backstride.surgery.rewriting.scores import rescored
from backstride.surgery.rewriting.sharing import check_shared

MOST_CLASSES = 2**16
Name = TypeVar("Name")


def convolutionalize(
    model: object,
    input_shape: Sequence[int],
    *,
    head: int | str | None = None,
    se: str | None = None,
    dense: str = "padded",
) -> tuple[Any, Report]:
    """Turn a classifier of images of one size into one of every place of larger images.

    Flattening and dense layers become convolutions, global pooling a sliding one, vectors' batch
    normalisation the maps'. At native size the network gives the classifier's result, as one cell;
    on a larger image, one cell for every crop that the classifier could be shown.

    >>> import pytest; _ = pytest.importorskip("torch", reason="PyTorch is not installed")
    >>> from torch import nn, zeros
    >>> lenet = nn.Sequential(
    ...     nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
    ...     nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
    ...     nn.Flatten(), nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 10),
    ... )
    >>> network, report = convolutionalize(lenet, (1, 28, 28))
    >>> network(zeros(1, 1, 28, 28)).shape, network(zeros(1, 1, 60, 44)).shape
    (torch.Size([1, 10, 1, 1]), torch.Size([1, 10, 9, 5]))
    >>> report.outputs[0].stride, report.rewrites[1].result
    ((Fraction(4, 1), Fraction(4, 1)), 'convolution 4x4')

    Args:
        model: A torch.nn.Module that takes `(N, C, H, W)`, an onnx.ModelProto, a keras.Model, or
            the path of an .onnx or .keras file. It is not changed; the network, of the same kind,
            has its own copy of the weights.
        input_shape: `(C, H, W)`, the native size.
        head: Which result the network gives, where the model has several: its position, the key of
            a dict, the name of an ONNX or Keras output. Layers that only others need are left out.
            None keeps all, packed as the model packs them.
        se: What a vector that weighs a map's channels (squeeze and excitation) is pooled from on a
            larger image: "global", all of the image, or "local", the window of native size around
            each cell. None refuses such layers.
        dense: "padded" keeps the classifier's padding; "valid" leaves out the cells that read any;
            "shift_and_stitch" gives a cell for every crop, one pixel apart, from a classifier that
            pads nowhere.

    Returns:
        The network, for `(N, C, H or more, W or more)`, that gives `(N, classes, h, w)`, and the
        `Report`.

    Raises:
        TypeError: For other kinds of model.
        ValueError: For a shape that the model does not take.
        RefusedError: A `ValueError` that names each layer that no rule can rewrite.

    Source: Sermanet et al., "OverFeat" (arXiv 1312.6229), section 3.5; Long et al. (arXiv
    1411.4038), section 3.1.
    """
    shape = check_input_shape(input_shape)
    applier = applier_for("model", model)
    _ = _check_option("dense", dense, DENSE)
    reading, rewriting = _rewritten(applier, model, shape, Choice(head), _gate(se))
    written = rewriting
    if dense != "padded":
        written = (stitched if dense == "shift_and_stitch" else valid)(reading.name, rewriting)
    check_shared(reading.name, reading.graph, written, reading.layers)
    network = applier.write(reading, written)
    return network, _report(applier, reading, replace(rewriting, graph=written.graph))


def transpose(
    model: object,
    input_shape: Sequence[int],
    *,
    head: int | str | None = None,
    classes: int | None = None,
    skips: str | Sequence[int] = "auto",
    decoder: str = "fcn",
    init: str = "bilinear",
    se: str | None = None,
    freeze: bool = False,
) -> tuple[Any, Report]:
    """Turn a classifier into a network that labels every pixel of images of any size.

    The classifier made fully convolutional (see `convolutionalize`) gives coarse scores; transposed
    convolutions lift them from stride to stride to the image's size, and at each stride a 1x1 layer
    adds scores of the map that the classifier had there. Before training, the kernels are bilinear
    and the skips zero, so each step is exactly bilinear interpolation; then train it like any
    module.

    >>> import pytest; _ = pytest.importorskip("torch", reason="PyTorch is not installed")
    >>> from torch import nn, zeros
    >>> classifier = nn.Sequential(
    ...     nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2),
    ...     nn.Conv2d(8, 8, 3), nn.ReLU(), nn.MaxPool2d(2),
    ...     nn.Flatten(), nn.Linear(288, 10),
    ... )
    >>> network, report = transpose(classifier, (3, 30, 30), classes=2)
    >>> network(zeros(1, 3, 30, 30)).shape, network(zeros(1, 3, 47, 101)).shape
    (torch.Size([1, 2, 30, 30]), torch.Size([1, 2, 47, 101]))
    >>> list(network.ups)
    ['2', '1', 'image']

    Of a network with several results, such as a detector's classes and boxes, one becomes the map;
    the layers that only the others need are not in the network:

    >>> class Detector(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Flatten())
    ...         self.kind, self.box = nn.Linear(200, 2), nn.Linear(200, 4)
    ...     def forward(self, x):
    ...         x = self.body(x)
    ...         return {"classes": self.kind(x).softmax(1), "boxes": self.box(x)}
    >>> network, report = transpose(Detector(), (3, 12, 12), head="boxes")
    >>> network(zeros(1, 3, 20, 31)).shape, report.refusals[0].layer
    (torch.Size([1, 4, 20, 31]), 'head "classes"')

    A softmax at the end runs after the decoder, per pixel. Pixels beyond the outermost coarse cells
    get those cells' scores.

    Args:
        model: As in `convolutionalize`.
        input_shape: `(C, H, W)`, the native size.
        head: Which result becomes the map, as in `convolutionalize`; needed where there are
            several.
        classes: None keeps the classifier's last layer as the score. A number replaces it by one
            with so many rows, the first of them copied, the others zero.
        skips: "auto" taps every stride, a tuple names strides, () taps none: FCN-32s on a
            classifier of stride 32, while (16,) and (16, 8) are FCN-16s and FCN-8s.
        decoder: "fcn" adds 1x1 scores of the taps. "unet" and "linknet" lift the features behind
            the scores too, join them with the taps, by concatenation or sum, and add their scores,
            zero at first.
        init: How the transposed convolutions start: "bilinear", "nearest", or "icnr", random
            kernels near the identity that repeat each cell, without checkerboard.
        se: As in `convolutionalize`.
        freeze: Whether the classifier's weights but the score layer's require no gradient.

    Returns:
        The network, `(N, C, H, W)` to `(N, classes, H, W)` for all H and W from the native size on,
        and the `Report`.

    Raises:
        TypeError: For other kinds of model.
        ValueError: For a shape that the model does not take, for other options, and for strides
            without a tap.
        RefusedError: A `ValueError` that names each layer that no rule can rewrite.

    Source: Long, Shelhamer & Darrell, "Fully Convolutional Networks" (arXiv 1411.4038), sections 3
    and 4.
    """
    shape = check_input_shape(input_shape)
    kind: DecoderKind = _check_option("decoder", decoder, DECODERS)
    start: Init = _check_option("init", init, INITS)
    if classes is not None and not 1 <= as_integer("classes", classes) <= MOST_CLASSES:
        nearest = min(max(classes, 1), MOST_CLASSES)
        message = (
            f"`classes` (={classes}) must be None or from 1 to {MOST_CLASSES}; the nearest legal "
            f"value is {nearest}"
        )
        raise ValueError(message)
    applier = applier_for("model", model)
    reading, rewriting = _rewritten(applier, model, shape, Choice(head, needed=True), _gate(se))
    plan = plan_decoder(reading.name, rewriting, skips, kind, start, classes)
    written = rewriting
    if classes is not None:
        written = rescored(
            reading.name, rewriting, plan.score, classes, reading.obstacle(plan.score)
        )
    check_shared(reading.name, reading.graph, written, reading.layers)
    network = applier.segment(reading, written, plan, freeze=freeze)
    return network, _report(applier, reading, rewriting, plan)


def receptive_field(
    model: object,
    input_shape: Sequence[int],
    *,
    head: int | str | None = None,
    se: str | None = None,
) -> tuple[Output, ...]:
    """Which pixels each cell of a model's results sees: size, stride and offset, exactly.

    >>> import pytest; _ = pytest.importorskip("torch", reason="PyTorch is not installed")
    >>> from torch import nn
    >>> down = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    >>> (cells,) = receptive_field(down, (1, 32, 32))
    >>> [str(cells.receptive_field[0]), str(cells.stride[0]), str(cells.offset[0])]
    ['5', '4', '1']

    Through transposed convolutions strides fall below one, and all three are fractions:

    >>> up = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1),
    ...     nn.ConvTranspose2d(4, 1, 3, stride=3))
    >>> (cells,) = receptive_field(up, (1, 32, 32))
    >>> [str(cells.receptive_field[0]), str(cells.stride[0]), str(cells.offset[0])]
    ['13/3', '2/3', '-2/3']

    Sounds and volumes have one and three axes:

    >>> vocoder = nn.Sequential(nn.Conv1d(80, 8, 7), nn.ConvTranspose1d(8, 4, 16, 8),
    ...     nn.Conv1d(4, 1, 7))
    >>> (samples,) = receptive_field(vocoder, (80, 32))
    >>> str(samples.receptive_field[0]), str(samples.stride[0]), samples.bound
    ('77/8', '1/8', True)

    Cell i sees at most `receptive_field` pixels, the middle of them at `offset + i*stride`, where
    pixel p has the coordinate p. Cells of a transposed convolution or an interpolation see
    different numbers, all within (`Output.bound`). What sees the whole image (a pooling that weighs
    a map or is resized to one, instance and group norm) is left out of the numbers unless `se` is
    "local", and `Output.whole` says so; where nothing else is seen, they are the whole image's, at
    a stride of 0.

    Args:
        model: Any network of sliding layers, with maps or vectors as results. A classifier's vector
            is the one cell of its fully convolutional form.
        input_shape: `(C, H, W)`, `(C, L)` or `(C, D, H, W)`.
        head: One of the results, as in `convolutionalize`; None takes all.
        se: As in `convolutionalize`.

    Returns:
        An `Output` for each result.

    Raises:
        TypeError: For other kinds of model.
        ValueError: For a shape that the model does not take.
        RefusedError: A `ValueError` that names each layer that no rule can follow.

    Source: Araujo, Norris & Sim, "Computing Receptive Fields of Convolutional Neural Networks",
    Distill 2019, equations 2 to 5.
    """
    applier = applier_for("model", model)
    shape = check_input_shape(input_shape, axes=(1, 2, 3))
    reading = applier.read(model, shape, Choice(head))
    rewriting = rewrite(reading.graph, se=_gate(se) or "global", maps=True)
    if rewriting.refusals:
        raise RefusedError(reading.name, rewriting.refusals)
    return _outputs(rewriting.graph, reading)


def prove(
    classifier: object,
    network: object,
    report: Report,
    image: object,
    *,
    head: int | str | None = None,
    timed: bool = False,
) -> Proof:
    """Compare a network with the classifier that it was made from.

    At native size, and on a larger image.

    >>> import pytest; _ = pytest.importorskip("torch", reason="PyTorch is not installed")
    >>> import numpy as np
    >>> from torch import nn
    >>> classifier = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
    ...     nn.Linear(36, 3))
    >>> network, report = convolutionalize(classifier, (1, 8, 8))
    >>> proof = prove(classifier, network, report, np.random.rand(1, 13, 11))
    >>> proof.holds, proof.expected.all(), proof.deviation.shape
    (True, np.True_, (3, 2))

    Each cell of the network's result is compared with the classifier run on that cell's crop. Both
    run in evaluation mode.

    Args:
        classifier: What `convolutionalize` or `transpose` took.
        network: What it gave. Of a transposed network, the coarse scores are compared.
        report: What it gave with it.
        image: `(C, H, W)`, at least the native size, NumPy or PyTorch.
        head: Which result, where the network has several.
        timed: Whether to measure how much faster the network is than the classifier on all crops
            (`Proof.speed`).

    Returns:
        The cells that must be equal, those that are, and by how much the others differ.

    Raises:
        TypeError: For what is no model or image.
        ValueError: Where the image does not fit, or the network has another number of classes.
    """
    chosen = Choice(head, needed=True).among("the network", report.written)
    place = 0 if chosen is None else chosen.place
    run_classifier = applier_for("classifier", classifier).runner(classifier, place)
    run_network = applier_for("network", network).runner(
        network, 0 if report.head is chosen else place
    )
    output = 0 if chosen is None else report.written.index(chosen)
    pixels = to_numpy("image", image)
    channels, *native = report.input_shape
    if pixels.ndim == 4 and pixels.shape[0] == 1:
        pixels = pixels[0]
    fits = pixels.ndim == 3 and pixels.shape[0] == channels
    if not fits or any(have < least for have, least in zip(pixels.shape[1:], native, strict=True)):
        message = (
            f"`image` has shape {pixels.shape}; it must be ({channels}, H, W) with H >= "
            f"{native[0]} and W >= {native[1]}, the classifier's size"
        )
        raise ValueError(message)
    proof = compare(run_classifier, run_network, report.graph, pixels, output=output)
    if len(report.heads) > 1:
        proof = replace(proof, head=str(chosen))
    if not timed:
        return proof
    return replace(
        proof, speed=measure_speed(run_classifier, run_network, report.graph, pixels, output=output)
    )


def _check_option(name: str, value: object, legal: tuple[Name, ...]) -> Name:
    for entry in legal:
        if value == entry:
            return entry
    shown = " or ".join(f'"{entry}"' for entry in legal)
    message = f"`{name}` (={value!r}) must be {shown}"
    raise ValueError(message)


def _gate(se: str | None) -> Gate | None:
    if se is None or se == "global" or se == "local":  # noqa: PLR1714  so that the type narrows
        return se
    message = f'`se` (={se!r}) must be "global", "local" or None'
    raise ValueError(message)


def _rewritten(
    applier: Applier[Any], model: object, shape: tuple[int, ...], choice: Choice, se: Gate | None
) -> tuple[Reading, Rewriting]:
    reading = applier.read(model, shape, choice)
    rewriting = rewrite(reading.graph, se=se)
    if rewriting.refusals:
        raise RefusedError(reading.name, rewriting.refusals)
    return reading, rewriting


def check_input_shape(input_shape: object, axes: Sequence[int] = (2,)) -> tuple[int, ...]:
    """Check (C, H, W), or with other `axes` than two behind the channels."""
    if not isinstance(input_shape, Sequence) or isinstance(input_shape, str):
        message = (
            f"`input_shape` (={input_shape!r}) must be (channels, rows, columns), such as (3, 224, "
            "224)"
        )
        raise TypeError(message)
    shape = tuple(
        as_integer("input_shape", entry) for entry in cast("Sequence[object]", input_shape)
    )
    if len(shape) - 1 not in axes or min(shape) < 1:
        nearest = tuple(max(entry, 1) for entry in shape[-1 - max(axes) :])
        nearest = (1,) * (1 + min(axes) - len(nearest)) + nearest
        wanted = "three positive integers (channels, rows, columns)"
        if len(axes) > 1:
            wanted = "the channels and one to three sizes, all positive"
        message = (
            f"`input_shape` (={shape}) must be {wanted}, without the batch; the nearest legal "
            f"value is {nearest}"
        )
        raise ValueError(message)
    return shape


def _outputs(graph: Graph, reading: Reading) -> tuple[Output, ...]:
    whole = tuple(
        Field(Fraction(0), Fraction(cells), Fraction(0)) for cells in graph.input.shape[1:]
    )
    found = {node.name: whole for node in graph.outputs} | dict(fields(graph))
    heads = reading.heads if reading.head is None else (reading.head,)
    return tuple(
        Output(
            node.label,
            node.shape[1:],
            tuple(field.size for field in found[node.name]),
            tuple(field.stride for field in found[node.name]),
            tuple(field.offset for field in found[node.name]),
            any(graph[name].kind in WHOLE for name in graph.ancestors(node.name)),
            any(
                graph[name].kind in ("conv_transpose", "resize")
                for name in graph.ancestors(node.name)
            ),
            head.name,
        )
        for head, node in zip(heads, graph.outputs, strict=True)
    )


def _report(
    applier: Applier[Any], reading: Reading, rewriting: Rewriting, plan: Decoder | None = None
) -> Report:
    graph = rewriting.graph
    kept = sum(
        node.kind not in ("input", "output") and node.name not in rewriting.replaced
        for node in graph
    )
    chosen = (
        f"is not the chosen head, which is {reading.head}; what only it needs is not in the network"
    )
    others = (
        ()
        if reading.head is None
        else tuple(head for head in reading.heads if head != reading.head)
    )
    return Report(
        model=reading.name,
        framework=applier.framework,
        input_shape=graph.input.shape,
        rewrites=rewriting.rewrites,
        kept=kept,
        padded=padded_layers(graph),
        outputs=_outputs(graph, reading),
        graph=graph,
        decoder=plan,
        refusals=(
            *(Refusal(f"head {head}", chosen) for head in others),
            *reading.notes,
            *(() if plan is None else plan.refusals),
        ),
        heads=reading.heads,
        head=reading.head,
    )
