"""The trace is the definition: the same meetings, and the same sums."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given

from backstride import reference
from backstride.explain import trace
from backstride.explain.trace import LARGEST_TRACE, cells, flat
from backstride.geometry import Geometry, geometry
from strategies import geometries


@given(geometries())
def test_kept_meetings_are_those_of_the_definition(where: Geometry) -> None:
    found = [(m.input, m.tap, m.output) for m in trace(where).meetings if m.output is not None]
    assert found == list(reference.meetings(where))


@given(geometries())
def test_cropped_meetings_lie_outside_the_output(where: Geometry) -> None:
    for meeting in trace(where).meetings:
        place = tuple(q - before for q, (before, _) in zip(meeting.full, where.crop, strict=True))
        inside = all(0 <= p < size for p, size in zip(place, where.output, strict=True))
        assert (meeting.output is not None) == inside
        assert all(0 <= q < size for q, size in zip(meeting.full, where.full, strict=True))


@given(geometries())
def test_gathering_and_scattering_are_one_sum(where: Geometry) -> None:
    random = np.random.default_rng(0)
    x, w = random.integers(-9, 10, where.input), random.integers(-9, 10, where.kernel)
    found = trace(where)
    gathered = [
        sum(int(x[m.input] * w[m.tap]) for m in meetings) for meetings in found.by_output().values()
    ]
    exact = reference.conv_transpose(x[None, ..., None], w[..., None, None], where)
    assert gathered == exact.ravel().tolist()
    scattered = dict.fromkeys(cells(where.output), 0)
    for meetings in found.by_input().values():
        for m in meetings:
            if m.output is not None:
                scattered[m.output] += int(x[m.input] * w[m.tap])
    assert list(scattered.values()) == gathered


@given(geometries())
def test_data_name_cells_by_their_place_in_row_order(where: Geometry) -> None:
    data = trace(where).as_data()
    meetings = data["meetings"]
    assert isinstance(meetings, list)
    assert meetings == [
        (
            int(np.ravel_multi_index(m.input, where.input)),
            int(np.ravel_multi_index(m.tap, where.kernel)),
            None if m.output is None else int(np.ravel_multi_index(m.output, where.output)),
        )
        for m in trace(where).meetings
    ]
    inputs = [flat(m.input, where.input) for m in trace(where).meetings]
    assert all(before <= after for before, after in pairwise(inputs))


def test_a_call_too_large_to_trace_is_refused() -> None:
    with pytest.raises(
        ValueError, match=f"at most {LARGEST_TRACE} can be traced; --json gives the explanation"
    ):
        _ = trace(geometry((100, 100), 3, strides=2))
