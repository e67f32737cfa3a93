"""`port`: a call in, a program out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backstride.calls import SourceCall, parse
from backstride.conventions import Convention
from backstride.geometry import Geometry
from backstride.integers import Size
from backstride.port.problem import ACTIVATIONS, Problem, problem_of
from backstride.port.rule import Fit, Verdict, fit
from backstride.port.targets import Target, target_of
from backstride.port.text import Body


@dataclass(frozen=True, slots=True, repr=False)
class Port:
    """A call in another framework.

    `code` runs as it stands. `verdict` is "exact", "exact with a crop" (also where zeros are
    appended) or "not expressible", where `code` is the nearest composition that is exact; `reason`
    says why. `notes` tell what was assumed, what moves and what was left out.
    """

    call: SourceCall
    problem: Problem
    target: Target
    fit: Fit
    body: Body
    notes: tuple[str, ...]
    code: str

    def __repr__(self) -> str:
        return f"<Port of {self.call.function} to {self.target.title}: {self.verdict}>"

    def __str__(self) -> str:
        return self.code

    @property
    def verdict(self) -> Verdict:
        """How near the target's own operation comes."""
        return self.fit.verdict

    @property
    def reason(self) -> str:
        """Why it is not simply exact."""
        return self.fit.reason

    @property
    def geometry(self) -> Geometry:
        """The call's arithmetic, on the input that the program has."""
        return self.problem.where

    @property
    def convention(self) -> Convention:
        """Layout and flip of the kernel in the program."""
        return self.target.ability.convention

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "call": self.call.text,
            "from": self.call.framework,
            "to": self.target.name,
            "verdict": self.verdict,
            "reason": self.reason,
            "notes": list(self.notes),
            "input": list(self.geometry.input),
            "output": list(self.geometry.output),
            "crop": [list(pair) for pair in self.geometry.crop],
            "code": self.code,
        }


def port(
    call: str | SourceCall,
    /,
    *,
    to: str,
    input: Size | None = None,
    kernel: Size | None = None,
    weights: Path | str | None = None,
    names: Mapping[str, object] | None = None,
) -> Port:
    """Write a transposed convolution in another framework's words.

    >>> result = port('Conv2DTranspose(128, 3, strides=2, padding="same")', to="torch",
    ...     input=(7, 7, 256))
    >>> result.verdict, result.reason
    ('exact with a crop', '1 cell cropped off the end of axis 0; 1 cell cropped off the end of axis 1')
    >>> result
    <Port of keras.layers.Conv2DTranspose to PyTorch: exact with a crop>
    >>> print(port("k=4 s=2 p=1 cin=8 cout=4", to="torch").body.setup[0])
    layer = torch.nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1, bias=False)

    Args:
        call: What `backstride.calls.parse` reads, or its result.
        to: torch, keras, tf, jax, flax, equinox, onnx, openvino, coreml, tflite or mlx.
        input: Spatial sizes, or these and the channels in the call's own order.
        kernel: Its size or shape, for calls that take it as an array.
        weights: A safetensors file that the program loads instead of random numbers, with the
            tensors "kernel", in the target's layout, and "bias".
        names: The values of names in the call.

    Returns:
        The program, its verdict and its notes; it prints as the program.

    Raises:
        ValueError: For what cannot be read, for unknown targets, and for what the call's own
            framework refuses.
    """  # noqa: E501
    target = target_of("to", to)
    source = parse(call, kernel=kernel, names=names) if isinstance(call, str) else call
    problem = problem_of(source, input)
    found = fit(problem, target.ability)
    body = target.emit(found)
    notes = _notes(source, problem, target)
    header = [
        f"{_plain(source.text)} in {target.title}: {found.verdict}",
        *filter(None, [found.reason]),
        *notes,
    ]
    layout = target.ability.convention.data_format
    code = body.program(header, operands(problem, target, weights), problem.result(layout))
    return Port(source, problem, target, found, body, notes, code)


def operands(problem: Problem, target: Target, weights: Path | str | None) -> list[str]:
    """The lines that make x, kernel and bias."""
    convention = target.ability.convention
    shape = problem.shape(convention.data_format)
    axes = ["C"] + [f"size{axis}" for axis in range(problem.rank)]
    axes = axes if convention.data_format == "channels_first" else [*axes[1:], "C"]
    lines = [
        "rng = np.random.default_rng(0)",
        f"x = rng.standard_normal({shape}, dtype=np.float32)  # (N, {', '.join(axes)})",
    ]
    if weights is not None:
        lines = [
            "from safetensors.numpy import load_file",
            "",
            *lines,
            f"weights = load_file({str(weights)!r})",
        ]
        lines.append('kernel = weights["kernel"]')
        return [*lines, 'bias = weights["bias"]'] if problem.bias else lines
    words = ", ".join(layout_of(convention, problem.groups))
    lines.append(
        f"kernel = rng.standard_normal({kernel_shape(problem, convention)}, dtype=np.float32)  # "
        f"({words})"
    )
    return (
        [*lines, f"bias = rng.standard_normal({problem.big}, dtype=np.float32)"]
        if problem.bias
        else lines
    )


def kernel_shape(problem: Problem, convention: Convention) -> tuple[int, ...]:
    """The kernel's shape in a layout."""
    layout = layout_of(convention, problem.groups)
    sizes: Mapping[str, tuple[int, ...]] = {
        "*k": problem.where.kernel,
        "C_small": (problem.small,),
        "C_big": (problem.big,),
        "groups": (problem.groups,),
        "C_small/groups": (problem.small // problem.groups,),
        "C_big/groups": (problem.big // problem.groups,),
    }
    return tuple(size for axis in layout for size in sizes[axis])


def _notes(source: SourceCall, problem: Problem, target: Target) -> tuple[str, ...]:
    convention = target.ability.convention
    notes: list[str] = []
    if problem.assumed:
        notes.append(f"the call does not say {', '.join(problem.assumed)}: chosen here")
    if convention.data_format != source.data_format:
        first, last = "channels first", "channels last"
        to_last = convention.data_format == "channels_last"
        notes.append(f"data go from {first if to_last else last} to {last if to_last else first}")
    notes.append(_kernel_note(source, problem, convention))
    if problem.activation is not None and problem.activation not in ACTIVATIONS:
        notes.append(
            f"the activation {_plain(problem.activation)} is left out: apply it to the result"
        )
    return tuple(notes)


def _kernel_note(source: SourceCall, problem: Problem, convention: Convention) -> str:
    before, after = (
        layout_of(record, problem.groups) for record in (source.convention, convention)
    )
    flipped = convention.flips != source.convention.flips
    if before == after and not flipped:
        return "the kernel stays as it is"
    words = (
        "the kernel"
        if before == after
        else f"the kernel goes from ({', '.join(before)}) to ({', '.join(after)})"
    )
    return (
        f"{words}{' and' if before != after else ' is'} flipped on every spatial axis"
        if flipped
        else words
    )


def layout_of(convention: Convention, groups: int) -> tuple[str, ...]:
    """The axes of a kernel."""
    return (
        convention.weight_layout
        if groups == 1
        else (convention.grouped_layout or convention.weight_layout)
    )


def _plain(text: str) -> str:
    """One line of printable characters: the text is only ever a comment."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(line.split())[:200]
