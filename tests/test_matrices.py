"""bfloat16 in matrix registers (AMX), where there are some; the laws hold for whatever computes
bfloat16.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import backstride as bs
from backstride.machine import features
from backstride.native import has_matrices

BRAIN = np.dtype(ml_dtypes.bfloat16)
# A signal's handler with little room, as `signal` and crash reporters set up: Linux then refuses
# matrix registers.
SMALL_STACK = """
import ctypes
class Stack(ctypes.Structure):
    _fields_ = [("at", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
room = ctypes.create_string_buffer(4096)
assert ctypes.CDLL(None).sigaltstack(ctypes.byref(Stack(ctypes.addressof(room), 0, 4096)), None) == 0
"""  # noqa: E501
COMPUTE = """
import ml_dtypes, numpy as np, os, backstride as bs
from backstride.machine import features
from backstride.native import has_matrices
x = (np.arange(2 * 9 * 7 * 40) % 11 - 5).reshape(2, 9, 7, 40).astype(ml_dtypes.bfloat16)
kernel = (np.arange(4 * 4 * 24 * 40) % 7 - 3).reshape(4, 4, 24, 40).astype(ml_dtypes.bfloat16)
def compute(): return bs.conv_transpose(x, kernel, strides=2, padding=1).astype(np.float32)
def expected():
    wide = (array.astype(np.float64) for array in (x, kernel))
    return bs.conv_transpose(*wide, strides=2, padding=1).astype(ml_dtypes.bfloat16).astype(np.float32)
"""  # noqa: E501


@pytest.fixture(autouse=True)
def default_threads() -> Iterator[None]:
    yield
    bs.set_num_threads(0)


def whole(rng: np.random.Generator, *shape: int) -> Any:
    """Whole numbers, whose sums are exact in any order."""
    return rng.integers(-3, 4, shape).astype(BRAIN)


@pytest.mark.parametrize("seed", range(40))
def test_sums_of_whole_numbers_are_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rank, batch = int(rng.integers(1, 4)), int(rng.choice([1, 2, 17]))
    small, big = (int(rng.choice([8, 9, 15, 16, 17, 31, 33, 48, 64, 70, 130])) for _ in range(2))
    size = tuple(int(rng.integers(1, (90, 14, 5)[rank - 1])) for _ in range(rank))
    stride, dilation = (int(rng.choice([1, 1, 2, 3])) for _ in range(2))
    taps = tuple(int(rng.integers(stride, stride + 4)) for _ in range(rank))
    options: dict[str, Any] = {
        "strides": stride,
        "dilation": dilation,
        "activation": str(rng.choice(["relu", "relu6"])),
    }
    if rng.integers(2):
        options["padding"] = "same"
    x, kernel, bias = (
        whole(rng, batch, *size, small),
        whole(rng, *taps, big, small),
        whole(rng, big),
    )
    wide = [array.astype(np.float64) for array in (x, kernel, bias)]
    expected: Any = bs.conv_transpose(*wide, **options).astype(BRAIN)
    for data_format in ("channels_last", "channels_first"):
        given = [x, kernel, bias]
        if data_format == "channels_first":
            given = [
                np.moveaxis(x, -1, 1).copy(),
                np.moveaxis(kernel, (-1, -2), (0, 1)).copy(),
                bias,
            ]
        found: Any = bs.conv_transpose(*given, data_format=data_format, **options)
        last: Any = np.moveaxis(found, 1, -1) if data_format == "channels_first" else found
        np.testing.assert_array_equal(last.astype(np.float32), expected.astype(np.float32))
    y = whole(rng, *expected.shape)
    options.pop("activation")
    down: Any = bs.conv(y, kernel, **options)
    exact: Any = bs.conv(y.astype(np.float64), wide[1], **options).astype(BRAIN)
    np.testing.assert_array_equal(down.astype(np.float32), exact.astype(np.float32))


@pytest.mark.parametrize(
    ("size", "small", "big"), [((40, 60), 72, 40), ((4, 4), 512, 96), ((3000,), 20, 3)]
)
def test_bits_are_those_of_any_number_of_threads(
    size: tuple[int, ...], small: int, big: int
) -> None:
    rng = np.random.default_rng(small)
    x, kernel = (
        rng.standard_normal(shape).astype(BRAIN)
        for shape in ((2, *size, small), (*(4,) * len(size), big, small))
    )
    plan = bs.plan(kernel, strides=2, padding=1)
    bits: list[Any] = []
    for threads in (1, 2, 3, 7):
        bs.set_num_threads(threads)
        y: Any = plan(x)
        bits.append(y.view(np.uint16))
    assert all(np.array_equal(one, bits[0]) for one in bits)


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("channels", [8, 18, 33])
def test_infinity_stays_where_the_definition_sends_it(value: float, channels: int) -> None:
    rng = np.random.default_rng(channels)
    x, kernel = whole(rng, 2, 9, 21, channels), np.ones((3, 4, 5, channels), BRAIN)
    x[1, 3, 20, channels - 1] = x[0, 8, 0, 0] = value
    found: Any = bs.conv_transpose(x, kernel, strides=2, padding=1).astype(np.float64)
    exact: Any = bs.conv_transpose(
        x.astype(np.float64), kernel.astype(np.float64), strides=2, padding=1
    )
    assert np.array_equal(np.isfinite(found), np.isfinite(exact))


def test_what_the_system_refuses_is_not_used() -> None:
    says = (
        "assert not has_matrices() and 'amx_bf16' not in features()\nassert "
        "np.array_equal(compute(), expected())"
    )
    code = SMALL_STACK + COMPUTE + (says if "amx_bf16" in features() else "")
    _ = subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_forked_child_computes_the_same() -> None:
    code = COMPUTE + "before = compute()\nchild = os.fork()\n"
    code += "if not child: os._exit(not np.array_equal(compute(), before))\n"
    code += "assert os.waitpid(child, 0)[1] == 0 and np.array_equal(before, expected())"
    _ = subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_processor_with_matrix_registers_has_products_in_them() -> None:
    usable = {row.name for row in bs.implementations() if row.obstacle is None}
    assert has_matrices() == ("amx_bf16" in features() and "avx512" in usable)
