"""What is left to a slice or to zeros: native crop and rest make the wanted crop, on every
target.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstride import reference
from backstride.calls import parse
from backstride.conform.grid import grid
from backstride.geometry import Geometry
from backstride.port import port
from backstride.port.problem import Problem
from backstride.port.rule import Fit, fit, leftover, symmetric
from backstride.port.targets import TARGETS


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Any crop of either sign, any dilation and groups, 1-D to 3-D."""
    axes = range(draw(st.integers(1, 3)))
    kernel = tuple(draw(st.integers(1, 5)) for _ in axes)
    strides = tuple(draw(st.integers(1, 4)) for _ in axes)
    dilation = tuple(draw(st.sampled_from((1, 1, 2, 3))) for _ in axes)
    sizes = tuple(draw(st.integers(1, 5)) for _ in axes)
    full = [
        (i - 1) * s + d * (k - 1) + 1
        for i, k, s, d in zip(sizes, kernel, strides, dilation, strict=True)
    ]
    crop: list[tuple[int, int]] = []
    for length in full:
        before = draw(st.integers(-3, length - 1))
        crop.append((before, draw(st.integers(-3, length - 1 - max(before, 0)))))
    groups = draw(st.sampled_from((1, 1, 2)))
    return Problem(
        Geometry(sizes, kernel, strides, dilation, tuple(crop)),
        2 * groups,
        groups,
        groups,
        draw(st.booleans()),
        None,
    )


@given(problems(), st.sampled_from(list(TARGETS)))
def test_native_crop_and_rest_make_the_wanted_crop(problem: Problem, name: str) -> None:
    ability = TARGETS[name].ability
    found = fit(problem, ability)
    native = ability.convention.constructor(
        found.where.input, found.where.kernel, **found.arguments
    ).crop
    for axis, (want, has, rest) in enumerate(
        zip(problem.where.crop, native, found.crop, strict=True)
    ):
        for end in (0, 1):
            assert has[end] + rest[end] == want[end]
            # Zeros stand only where nothing was computed.
            assert rest[end] >= 0 or has[end] <= 0, (axis, end)
    assert (found.verdict == "exact") == (
        not found.refusals and not found.slices and not found.pads
    )
    assert bool(found.reason) == (found.verdict != "exact")


@given(problems(), st.sampled_from(["torch", "jax", "keras", "mlx", "onnx"]))
def test_slices_and_zeros_after_the_native_operation_are_the_call(
    problem: Problem, name: str
) -> None:
    """The composition itself, on the definition: no framework needed."""
    found = fit(problem, TARGETS[name].ability)
    x, kernel = integers(problem)
    expected = reference.conv_transpose(x, kernel, problem.where, groups=problem.groups)
    assert np.array_equal(after(found, x, kernel), expected)


def integers(problem: Problem) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    shapes = ((1, *problem.where.input, problem.small), problem.kernel_shape)
    x, kernel = (rng.integers(-4, 5, shape) for shape in shapes)
    return x, kernel


def after(found: Fit, x: Any, kernel: Any) -> Any:
    """The native operation, then slices, then zeros."""
    problem, rank = found.problem, found.problem.rank
    if found.stuffed:
        stuffed = np.zeros((*found.where.kernel, *kernel.shape[rank:]), kernel.dtype)
        stuffed[tuple(slice(None, None, step) for step in problem.where.dilation)] = kernel
        kernel = stuffed
    where = found.where
    native = tuple(
        (want[0] - rest[0], want[1] - rest[1])
        for want, rest in zip(where.crop, found.crop, strict=True)
    )
    y = reference.conv_transpose(
        x,
        kernel,
        Geometry(where.input, where.kernel, where.strides, where.dilation, native),
        groups=problem.groups,
    )
    cut = [
        slice(max(b, 0), size - max(a, 0))
        for size, (b, a) in zip(y.shape[1:-1], found.crop, strict=True)
    ]
    y = y[(slice(None), *cut, slice(None))]
    return np.pad(y, [(0, 0), *((max(-b, 0), max(-a, 0)) for b, a in found.crop), (0, 0)])


@given(st.integers(-4, 6), st.integers(-4, 6), st.integers(0, 3))
def test_symmetric_padding_never_loses_a_cell(before: int, after_: int, most: int) -> None:
    padding, extra = symmetric((before, after_), most)
    assert padding >= 0
    assert 0 <= extra <= most
    rest = leftover(((before, after_),), ((padding, padding - extra),))
    assert rest is not None
    # Exact wherever PyTorch can say it.
    assert (rest == ((0, 0),)) == (before >= 0 and 0 <= before - after_ <= most)


@pytest.mark.parametrize(
    ("text", "to", "verdict", "reason"),
    [
        ('Conv2DTranspose(8, 3, strides=2, padding="same")', "tf", "exact", ""),
        ('Conv1DTranspose(8, 3, strides=2, padding="same")', "torch", "exact with a crop", "1 cell cropped off the end of axis 0"),
        ('Conv1DTranspose(8, 2, strides=3, padding="same")', "torch", "exact", ""),
        ("k=3 s=2 p=[(-1,0)]", "torch", "exact with a crop", "1 zero appended at the front of axis 0"),
        ("nn.ConvTranspose1d(4, 4, 3, groups=2)", "keras", "not expressible", "Keras's transposed layers take no groups: one layer for each group"),
        ("nn.ConvTranspose1d(4, 4, 3, groups=2)", "equinox", "exact", ""),
        ("nn.ConvTranspose1d(4, 4, 3, groups=2)", "jax", "not expressible", "jax.lax.conv_transpose takes no groups: conv_general_dilated on the dilated input does"),
        ("nn.ConvTranspose1d(4, 4, 3, stride=2, dilation=2)", "keras", "not expressible", "Keras refuses dilation beside strides: the kernel is written out with its zeros"),
    ],
)  # fmt: skip
def test_verdicts(text: str, to: str, verdict: str, reason: str) -> None:
    result = port(text, to=to)
    assert (result.verdict, result.reason) == (verdict, reason)


def test_calls_of_a_framework_come_back_exact() -> None:
    names = {
        "torch": "torch",
        "tensorflow": "tf",
        "keras": "keras",
        "jax": "jax",
        "flax": "flax",
        "equinox": "equinox",
    }
    for framework, target in names.items():
        ability = TARGETS[target].ability
        verdicts: list[str] = []
        for call in grid(framework, 200):
            try:
                where = ability.convention.constructor(call.input, call.kernel, **call.arguments)
            except (ValueError, TypeError):
                continue
            if (
                framework == "tensorflow"
                and not isinstance(call.arguments["padding"], str)
                and max(where.dilation) > 1
            ):
                continue  # its CPU kernels refuse dilation beside pairs
            kept = zip(where.full, where.crop, strict=True)
            if any(max(before, 0) + max(after_, 0) >= length for length, (before, after_) in kept):
                continue  # zeros only: refused
            even = [span % 2 == 0 for span in where.effective_kernel]
            if (
                framework == "keras"
                and call.arguments.get("output_padding") is not None
                and any(even)
            ):
                continue  # TensorFlow's SAME, one of Keras's backends, has no size of (i-1)s
            problem = Problem(where, call.small, call.big, 1, False, None)
            verdicts.append(fit(problem, ability).verdict)
        assert len(verdicts) > 80
        assert set(verdicts) == {"exact"}, framework


def test_unknown_targets_and_hostile_texts() -> None:
    with pytest.raises(ValueError, match=r"^`to` \(='trch'\) is not known; the nearest are torch$"):
        _ = port("k=3", to="trch")
    code = port('Conv1DTranspose(2, 3, name="a\\nimport os")', to="torch").code
    assert "import os" not in [line.strip() for line in code.splitlines()]
    lines = port("nn.ConvTranspose1d(2,\n 3,\n 3)", to="torch").code.splitlines()
    assert lines[0] == "# nn.ConvTranspose1d(2, 3, 3) in PyTorch: exact"


def test_a_call_without_a_computed_cell_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"^`call` crops all 3 computed cells of axis 0 and appends zeros: nothing to port$",
    ):
        _ = port("k=3 p=[(-3,3)]", to="torch", input=1)


def test_what_the_call_s_own_rule_refuses_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^`output_padding` \(=2\) must be 0 to 1 on axis 0"):
        _ = port(parse("nn.ConvTranspose2d(1, 1, 3, 2, 0, 2)"), to="keras")
    with pytest.raises(
        ValueError,
        match=r"^`groups` \(=3\) must divide `in_channels` \(=4\) of torch.nn.ConvTranspose2d; ",
    ):
        _ = port("nn.ConvTranspose2d(4, 3, 3, groups=3)", to="keras")
