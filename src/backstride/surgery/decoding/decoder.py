"""The decoder as data: which maps to tap, how to climb from stride to stride, what to crop.

A step lifts a coarse map to the cells of a finer one (a tap, at last the image). Per axis, let the
coarse cells lie at `o + i*s` on the image and the fine ones at `p + j*t`, and let f = s/t.
Transposed convolution with the bilinear kernel of k taps puts coarse cell i at full-output cell
`i*f + (k-1)/2`, so fine cell j is cell `j + crop` of the full output, with

    crop = (p - o)/t + (k-1)/2 + f*before        k = 2f where (p-o)/t is a half, 2f - 1 where it is whole

Kernels that repeat cells (nearest, ICNR) have k = f taps; fine cells go to the nearest coarse one,
and where two are equally near, to the later. U-Net and LinkNet decoders climb the same steps.

The coarse map is extended by `before` and `after` copies of its border cells, so that every fine
cell lies between two coarse ones: pixels beyond the last coarse cell get its label, at any size of
the image. Long, Shelhamer & Darrell (arXiv 1411.4038), section 3.3, with the crops of its reference
networks computed instead of written down.
"""  # noqa: E501

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias, cast

from backstride.geometry import Geometry, full_size
from backstride.integers import Pair
from backstride.surgery.model.fields import IMAGE, Field, Fields, Sizes, fields, sizes
from backstride.surgery.model.graph import Graph, Node
from backstride.surgery.model.values import Refusal, RefusedError, Rewriting

DecoderKind: TypeAlias = Literal["fcn", "unet", "linknet"]
Init: TypeAlias = Literal["bilinear", "nearest", "icnr"]
DECODERS: tuple[DecoderKind, ...] = ("fcn", "unet", "linknet")
INITS: tuple[Init, ...] = ("bilinear", "nearest", "icnr")
LAST_LAYERS = ("activation", "dropout", "softmax", "avg_pool", "max_pool", "permute")


@dataclass(frozen=True, slots=True)
class Tap:
    """A map to fuse: the last node with this stride. `key` names it: its stride, `8` or `8x4`."""

    node: str
    label: str
    key: str
    channels: int
    stride: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One climb, per axis: extend the coarse map by `extend` cells, stride up by `factor`, crop.

    `key`: the name of the fine map, a tap's key or `image`.
    """

    key: str
    factor: tuple[int, ...]
    kernel: tuple[int, ...]
    extend: tuple[Pair, ...]
    crop: tuple[int, ...]

    def described(self, tap: str | None, added: str) -> str:
        """The step in words, up to the tap of this label or to the image."""
        kernel, factor = "x".join(map(str, self.kernel)), "x".join(map(str, self.factor))
        goal = "the image" if tap is None else f"stride {self.key}, {added.format(tap)}"
        edges = ", ".join(
            f"{before} before and {after} after" for before, after in dict.fromkeys(self.extend)
        )
        crop = " x ".join(map(str, dict.fromkeys(self.crop)))
        return (
            f"transposed convolution {kernel}, stride {factor}, to {goal}; borders repeated "
            f"{edges}, crop {crop}"
        )

    def geometry(self, coarse: Sequence[int], fine: Sequence[int]) -> Geometry:
        """The transposed convolution from `coarse` cells (before the extension) to `fine` ones.

        >>> Step("image", (4,), (7,), ((4, 4),), (6,)).geometry((2,), (32,)).crop
        ((6, 5),)
        """
        cells = tuple(size + sum(pair) for size, pair in zip(coarse, self.extend, strict=True))
        rows = zip(cells, self.factor, self.kernel, self.crop, fine, strict=True)
        crop = tuple(
            (cut, full_size(size, k, f) - cut - wanted) for size, f, k, cut, wanted in rows
        )
        return Geometry(cells, self.kernel, self.factor, (1,) * len(cells), crop)


@dataclass(frozen=True, slots=True)
class Decoder:
    """The whole plan: `top` gives the coarse scores, and steps end at taps.

    Each step but the last ends at the tap of its key. `softmax`: the classifier's last softmax,
    which runs after the decoder instead of before. `features`: the map that the scores are computed
    from, which the decoders `unet` and `linknet` climb with. `classes`: how many scores each pixel
    gets.
    """

    top: str
    score: str
    taps: tuple[Tap, ...]
    steps: tuple[Step, ...]
    softmax: str | None
    refusals: tuple[Refusal, ...]
    kind: DecoderKind = "fcn"
    init: Init = "bilinear"
    features: str = ""
    classes: int = 0

    def described(self, graph: Graph) -> tuple[str, ...]:
        """The plan in words, a line for each step."""
        labels = {tap.key: tap.label for tap in self.taps}
        added = {
            "fcn": "plus 1x1 scores of {}",
            "unet": "features beside {}, two 3x3 convolutions",
            "linknet": "features plus 1x1 of {}, a 3x3 convolution",
        }[self.kind]
        lines = [step.described(labels.get(step.key), added) for step in self.steps]
        if self.kind != "fcn":
            lines.append("1x1 scores of the features, zero at first, plus the scores")
        if self.softmax:
            lines.append(f"{graph[self.softmax].label}, per pixel instead of per coarse cell")
        return tuple(lines)


def plan_decoder(  # noqa: PLR0917  the options of `transpose`, in its order
    model: str,
    rewriting: Rewriting,
    skips: object,
    kind: DecoderKind = "fcn",
    init: Init = "bilinear",
    classes: int | None = None,
) -> Decoder:
    """Plan the decoder of a rewritten classifier.

    `skips`: "auto" or strides of taps. `classes`: None keeps its own. The classifier gives one
    result. Raises `RefusedError` where it has no score layer, and `ValueError` where `skips` names
    a stride that has no tap.
    """
    graph = rewriting.graph
    (result,) = graph.outputs
    softmax = result.name if result.kind == "softmax" else None
    top = graph[result.inputs[0]] if softmax else result
    found = fields(graph)
    taps, refusals = _taps(rewriting, found, top)
    chosen = _chosen(taps, skips)
    fine = [
        *((tap.key, found[tap.node], tap.node) for tap in chosen),
        ("image", (IMAGE, IMAGE), graph.input.name),
    ]
    steps: list[Step] = []
    source = top.name
    for key, target, name in fine:
        steps.append(
            _step(graph, key, (found[source], source), (target, name), repeats=init != "bilinear")
        )
        source = name
    score = _score(model, graph, top)
    features = _features(graph, found, score, top.name)
    count = classes or graph[score].shape[0]
    return Decoder(
        top.name, score, chosen, tuple(steps), softmax, refusals, kind, init, features, count
    )


def _features(graph: Graph, found: Fields, score: str, top: str) -> str:
    """The map behind the score layer, where its cells are the scores' own; else the scores."""
    source = graph[score].inputs[0]
    same = all(
        a.stride == b.stride and a.offset == b.offset
        for a, b in zip(found[source], found[top], strict=True)
    )
    return source if same and graph[source].shape[1:] == graph[top].shape[1:] else top


def _taps(
    rewriting: Rewriting, found: Fields, top: Node
) -> tuple[tuple[Tap, ...], tuple[Refusal, ...]]:
    """The last map of every stride between the image and the top, coarsest first."""
    graph = rewriting.graph
    above = graph.ancestors(top.name)
    last: dict[tuple[Fraction, ...], Node] = {}
    for node in graph:
        if node.name in above and node.kind != "input" and _is_map(rewriting, node, found):
            last[tuple(field.stride for field in found[node.name])] = node
    taps: list[Tap] = []
    refusals: list[Refusal] = []
    coarsest = tuple(field.stride for field in found[top.name])
    for strides, node in last.items():
        if strides == coarsest:
            continue
        key = (
            "x".join(dict.fromkeys(map(str, strides)))
            if len(set(strides)) == 1
            else "x".join(map(str, strides))
        )
        reason = _no_tap(strides, coarsest, found[node.name], found[top.name])
        if reason:
            refusals.append(Refusal(f"tap at {node.label}", reason))
        else:
            taps.append(Tap(node.name, node.label, key, node.shape[0], tuple(map(int, strides))))
    taps.sort(key=lambda tap: (math.prod(tap.stride), tap.stride), reverse=True)
    nested: list[Tap] = []
    for tap in taps:
        if not nested or all(
            a % b == 0 for a, b in zip(nested[-1].stride, tap.stride, strict=True)
        ):
            nested.append(tap)
        else:
            refusals.append(
                Refusal(
                    f"tap at {tap.label}", f"its stride {tap.key} does not divide {nested[-1].key}"
                )
            )
    return tuple(nested), tuple(refusals)


def _no_tap(
    strides: Sequence[Fraction],
    coarsest: Sequence[Fraction],
    fine: Sequence[Field],
    top: Sequence[Field],
) -> str:
    for stride, whole, field, coarse in zip(strides, coarsest, fine, top, strict=True):
        if stride.denominator != 1 or (whole / stride).denominator != 1:
            return f"its stride {stride} does not divide the classifier's stride {whole}"
        if (2 * (field.offset - coarse.offset) / stride).denominator != 1:
            return "its cells lie neither on nor halfway between the positions of the finer grid"
    return ""


def _is_map(rewriting: Rewriting, node: Node, found: Fields) -> bool:
    value = rewriting.values.get(node.name)  # a gate's inner steps have none
    return node.name in found and value is not None and value.form == "map" and value.gate is None


def _chosen(taps: tuple[Tap, ...], skips: object) -> tuple[Tap, ...]:
    if isinstance(skips, str) and skips == "auto":
        return taps
    legal = tuple(tap.stride[0] if len(set(tap.stride)) == 1 else tap.stride for tap in taps)
    given = (
        cast("Sequence[object]", skips)
        if isinstance(skips, Sequence) and not isinstance(skips, str)
        else None
    )
    if given is None or any(skip not in legal for skip in given):
        message = (
            f'`skips` (={skips!r}) must be "auto" or strides that have a tap: some of {legal}; () '
            "is none"
        )
        raise ValueError(message)
    return tuple(tap for tap, stride in zip(taps, legal, strict=True) if stride in given)


def _step(
    graph: Graph,
    key: str,
    coarse: tuple[tuple[Field, ...], str],
    fine: tuple[tuple[Field, ...], str],
    *,
    repeats: bool,
) -> Step:
    factors: list[int] = []
    kernels: list[int] = []
    befores: list[int] = []
    crops: list[int] = []
    for source, target in zip(coarse[0], fine[0], strict=True):
        factor, distance = (
            source.stride / target.stride,
            (target.offset - source.offset) / target.stride,
        )
        if factor.denominator != 1 or (2 * distance).denominator != 1:
            message = (
                f"cells of stride {source.stride} at {source.offset} cannot be lifted to stride "
                f"{target.stride}"
            )
            raise ValueError(message)
        kernel = (
            int(factor) if repeats else 2 * int(factor) - (1 if distance.denominator == 1 else 0)
        )
        before = max(0, math.ceil(-distance / factor))
        factors.append(int(factor))
        kernels.append(kernel)
        befores.append(before)
        crops.append(
            math.floor(distance + Fraction(kernel - 1, 2) + factor * before + Fraction(1, 2))
        )
    afters = _afters(graph, coarse, fine)
    extend = tuple(zip(befores, afters, strict=True))
    return Step(key, tuple(factors), tuple(kernels), extend, tuple(crops))


def _afters(
    graph: Graph, coarse: tuple[tuple[Field, ...], str], fine: tuple[tuple[Field, ...], str]
) -> tuple[int, ...]:
    """How far the fine map reaches beyond the coarse one's end, at most.

    Sizes repeat with the coarse stride.
    """
    native = graph.input.shape[1:]
    period = max(int(field.stride) for field in coarse[0])
    most = [0] * len(native)
    for extra in range(period):
        found: Sizes = sizes(graph, tuple(cells + extra for cells in native))
        for axis, (source, target) in enumerate(zip(coarse[0], fine[0], strict=True)):
            last = target.offset + (found[fine[1]][axis] - 1) * target.stride
            beyond = (last - source.offset) / source.stride - (found[coarse[1]][axis] - 1)
            most[axis] = max(most[axis], math.ceil(beyond))
    return tuple(most)


def _score(model: str, graph: Graph, top: Node) -> str:
    """The layer that gives the scores.

    The last convolution before the result, through layers without channels.
    """
    node = top
    while node.kind in LAST_LAYERS:
        node = graph[node.inputs[0]]
    if node.kind != "conv":
        reason = f"no dense layer or convolution gives the scores; the last layer is {node.label}"
        raise RefusedError(model, (Refusal("the result", reason),))
    return node.name
