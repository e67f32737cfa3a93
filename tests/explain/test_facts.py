"""What is said of a call is so: counted another way, or held to the definition."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstride import reference
from backstride.calls import parse
from backstride.explain import explain, sections, trace
from backstride.explain.facts import LARGEST_AXIS, axes, cost, evenness
from backstride.geometry import Geometry, geometry
from strategies import geometries


@given(geometries())
def test_coverage_counts_every_output_cell(where: Geometry) -> None:
    for axis, counts in zip(axes(where), where.coverage(), strict=True):
        assert axis.coverage == dict(Counter(counts))
        assert sum(axis.coverage.values()) == axis.output


@given(geometries(), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_multiply_adds_are_the_meetings_of_all_channels(
    where: Geometry, small: int, big: int, groups: int
) -> None:
    found = cost(where, small * groups, big * groups, groups)
    kept = sum(meeting.output is not None for meeting in trace(where).meetings)
    assert found.multiply_adds == kept * small * big * groups
    assert found.full == len(trace(where).meetings) * small * big * groups
    assert found.parameters == math.prod(where.kernel) * small * big * groups


@given(geometries())
def test_a_score_of_0_is_an_even_layer(where: Geometry) -> None:
    found = evenness(where)
    assert (found.score == 0) == where.is_even
    assert 0 <= found.score <= 1
    assert bool(found.advice) == (not where.is_even)


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("strides", [2, 3, 4])
@pytest.mark.parametrize("padding", ["same", "valid", 0])
def test_the_fix_is_even_and_has_the_same_sizes(
    kernel: int, strides: int, padding: str | int
) -> None:
    where = geometry((6, 6), kernel, strides=strides, padding=padding)  # type: ignore[arg-type]
    fix = evenness(where).fix
    if where.is_even:
        assert fix is None
        return
    assert fix is not None
    fixed = eval(f"geometry((6, 6), {fix.replace('kernel=', '', 1)})", {"geometry": geometry})  # noqa: S307  our own words
    assert fixed.is_even
    assert fixed.output == where.output


@given(geometries(ranks=(1,)))
def test_the_shift_is_that_of_the_stamps_middle(where: Geometry) -> None:
    (axis,), (stride,), (before, _) = axes(where), where.strides, where.crop[0]
    stamp = [meeting.full[0] for meeting in trace(where).by_input()[0,]]
    middle = Fraction(min(stamp) + max(stamp), 2) - before
    aligned = Fraction(1, 2) * stride - Fraction(1, 2)
    assert axis.shift == middle - aligned


@given(geometries(ranks=(1, 2)))
def test_phases_name_the_inputs_of_each_output(where: Geometry) -> None:
    sums = trace(where).by_output()
    for number, axis in enumerate(axes(where)):
        for phase in axis.phases:
            for step in range(phase.count):
                cell = phase.start + step * axis.stride
                terms = {
                    (phase.first + step - shift, tap)
                    for tap, shift in zip(phase.taps, phase.shifts, strict=True)
                }
                inside = {(m, tap) for m, tap in terms if 0 <= m < axis.input}
                met = {
                    (m.input[number], m.tap[number])
                    for key, ms in sums.items()
                    if key[number] == cell
                    for m in ms
                }
                assert met <= inside


def test_the_article_s_layer_in_words() -> None:
    call = parse('Conv2DTranspose(128, 3, strides=2, padding="same")').at((7, 7, 256))
    found = explain(call)
    text = {
        section.title: " ".join([*section.lines, *(" ".join(row) for row in section.rows)])
        for section in sections(found)
    }
    assert "(7 - 1) * 2 + 3 - 0 - 1 = 14 1 cell cropped: the odd one off the back" in text["Sizes"]
    assert "each 0, 2, 4, ... 0, 2 x[n]*w[0] + x[n-1]*w[2]" in text["Phases"]
    assert (
        "An even layer with the same sizes: keras.layers.Conv2DTranspose(128, 4, strides=2, "
        'padding="same").' in text["Coverage"]
    )
    assert "295,040 parameters" in text["Cost"]
    assert "PyTorch exact with a crop" in text["The same layer elsewhere"]
    verdicts = {entry.framework: entry.verdict for entry in found.elsewhere}
    assert verdicts["Keras"] == verdicts["TensorFlow"] == "exact"


def test_parameters_are_those_of_the_framework() -> None:
    torch = pytest.importorskip("torch", reason="counts the parameters of PyTorch's own layer")
    for text in (
        "ConvTranspose2d(8, 4, 3)",
        "ConvTranspose2d(8, 4, 3, groups=2)",
        "ConvTranspose1d(3, 5, 2, bias=False)",
    ):
        call = parse(f"torch.nn.{text}")
        size = (4,) * (call.rank or 1)
        found = explain(call.at(size)).cost
        layer = eval(f"torch.nn.{text}", {"torch": torch})  # noqa: S307  the list above
        assert found is not None
        assert found.parameters + found.bias == sum(entry.numel() for entry in layer.parameters())


def test_a_number_that_a_common_counter_reports_is_told_apart() -> None:
    found = cost(geometry((64, 64), 2, strides=2), 1, 1)
    assert (found.multiply_adds, found.naive, found.excess) == (64 * 64 * 4, 128 * 128 * 4, 4.0)


def test_axes_too_long_are_refused() -> None:
    for name, where in (
        ("kernel", geometry(3, LARGEST_AXIS + 1)),
        ("strides", geometry(3, 3, strides=2**40)),
    ):
        with pytest.raises(
            ValueError, match=rf"`{name}` .* must be at most {LARGEST_AXIS} on each axis"
        ):
            _ = axes(where)


def test_the_definition_has_as_many_products() -> None:
    where = geometry((3, 4), (3, 2), strides=(2, 1), padding=[(1, 0), (0, -1)])
    ones = reference.conv_transpose(np.ones((1, 3, 4, 1), int), np.ones((3, 2, 1, 1), int), where)
    assert cost(where, 1, 1).multiply_adds == ones.sum()
