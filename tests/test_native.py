"""What the compiled kernels promise beside right results: bits, threads, forks, and no hidden
reads.
"""

from __future__ import annotations

import ast
import multiprocessing
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backstride as bs
from backstride import native, reference
from backstride.engine import IMPLEMENTATIONS
from backstride.implementation import Implementation
from backstride.layout import AnyArray, kernel_view
from implementations import COMPILED

pytestmark = pytest.mark.skipif(not COMPILED, reason="this installation is pure Python")


def layer(
    small: int = 40, big: int = 70, size: int = 17, dtype: str = "float32"
) -> tuple[AnyArray, AnyArray]:
    random = np.random.default_rng(7)
    x = random.standard_normal((3, size, size, small)).astype(dtype)
    return x, random.standard_normal((4, 4, big, small)).astype(dtype)


def everything(x: AnyArray, kernel: AnyArray) -> tuple[AnyArray, AnyArray, AnyArray]:
    y = bs.conv_transpose(x, kernel, strides=2, padding=1, activation="relu")
    back = bs.conv(y, kernel, strides=2, padding=1)
    return y, back, bs.conv_kernel_gradient(y, x, kernel.shape, strides=2, padding=1)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_bits_for_any_number_of_threads(dtype: str) -> None:
    x, kernel = layer(dtype=dtype)
    bs.set_num_threads(1)
    expected = everything(x, kernel)
    for threads in (2, 3, 8):
        bs.set_num_threads(threads)
        assert bs.get_num_threads() == threads
        for one, other in zip(expected, everything(x, kernel), strict=True):
            assert one.tobytes() == other.tobytes()


@pytest.mark.usefixtures("target")
def test_rows_do_not_depend_on_their_neighbours() -> None:
    """A tile's rows are summed alike: an image gives the same bits alone and in a batch."""
    x, kernel = layer()
    together = bs.conv_transpose(x, kernel, strides=2)
    alone = np.concatenate(
        [bs.conv_transpose(x[n : n + 1], kernel, strides=2) for n in range(len(x))]
    )
    assert together.tobytes() == alone.tobytes()


@pytest.mark.usefixtures("target")
def test_rounding_stays_within_the_bound_of_direct_summation() -> None:
    """|error| <= 4 units in the last place * sqrt(terms) of sum |x||w|, against exact products in
    float64.
    """
    x, kernel = layer(small=160, size=5)
    y = bs.conv_transpose(x, kernel, strides=2)
    exact = bs.conv_transpose(x.astype("float64"), kernel.astype("float64"), strides=2)
    magnitude = bs.conv_transpose(
        np.abs(x).astype("float64"), np.abs(kernel).astype("float64"), strides=2
    )
    terms = 2 * 2 * 160
    assert (np.abs(y - exact) <= 4 * np.finfo(np.float32).eps * np.sqrt(terms) * magnitude).all()


@pytest.mark.usefixtures("target")
def test_many_python_threads_at_once() -> None:
    x, kernel = layer()
    expected = [array.tobytes() for array in everything(x, kernel)]
    bs.set_num_threads(2)
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(everything, x, kernel) for _ in range(24)]
    assert all([array.tobytes() for array in job.result()] == expected for job in jobs)


def child(queue: Any, x: AnyArray, kernel: AnyArray) -> None:
    queue.put([array.tobytes() for array in everything(x, kernel)])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_computes_in_parallel_too(target: str) -> None:
    """The parent's pool has threads that the child does not have: it must not wait for them."""
    assert target
    x, kernel = layer()
    bs.set_num_threads(2)
    expected = [array.tobytes() for array in everything(x, kernel)]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue, x, kernel))
    process.start()
    assert queue.get(timeout=60) == expected
    process.join(timeout=60)
    assert process.exitcode == 0
    assert [array.tobytes() for array in everything(x, kernel)] == expected


@pytest.mark.usefixtures("target")
def test_other_python_threads_run_meanwhile() -> None:
    x, kernel = layer(small=256, big=256, size=48)
    bs.set_num_threads(1)
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.0005)

    ticker = threading.Thread(target=tick)
    ticker.start()
    run = bs.plan(kernel, strides=2)
    started = time.perf_counter()
    for _ in range(3):
        _ = run(x)
    ended = time.perf_counter()
    stop.set()
    ticker.join()
    assert sum(started < moment < ended for moment in ticks) > 10


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("where", ["x", "kernel"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_go_where_the_definition_sends_them(where: str, value: float) -> None:
    random = np.random.default_rng(1)
    x, kernel = random.integers(1, 5, (2, 4, 5, 3)) * 1.0, random.integers(1, 5, (3, 3, 2, 3)) * 1.0
    (x if where == "x" else kernel)[1, 2, 1, 2] = value
    geometry = bs.geometry((4, 5), (3, 3), strides=2, padding=1)
    image = np.ones((2, *geometry.output, 2))
    if where == "x":
        image[1, 2, 1, 1] = value
    with np.errstate(invalid="ignore"):  # BLAS raises the flag in lanes that it throws away
        expected = (
            reference.conv_transpose(x, kernel, geometry),
            reference.conv(image, kernel, geometry),
        )
    assert np.array_equal(
        bs.conv_transpose(x, kernel, strides=2, padding=1), expected[0], equal_nan=True
    )
    assert np.array_equal(bs.conv(image, kernel, strides=2, padding=1), expected[1], equal_nan=True)


@pytest.mark.usefixtures("target")
def test_strides_far_beyond_the_kernel_fill_the_rest_with_the_bias() -> None:
    x, kernel, bias = np.ones((1, 2, 2, 1)), np.ones((1, 2, 3, 1)), np.array([1.0, -2.0, 3.0])
    y = bs.conv_transpose(x, kernel, bias, strides=(5, 7), padding="same", activation="relu")
    expected = np.maximum(
        reference.conv_transpose(
            x, kernel, bs.geometry((2, 2), (1, 2), strides=(5, 7), padding="same")
        )
        + bias,
        0,
    )
    assert np.array_equal(y, expected)


@pytest.mark.parametrize(
    ("count", "kind", "message"),
    [
        (
            -1,
            ValueError,
            "`count` (=-1) must be at least 0 and below 2**63; the nearest legal value is 0",
        ),
        (
            10**9,
            ValueError,
            "`count` (=1000000000) must be at most 4096; the nearest legal value is 4096",
        ),
        (
            1.5,
            TypeError,
            (
                "`count` (=1.5) must be an integer or a sequence of integers, not float; the "
                "nearest legal value is 2"
            ),
        ),
    ],
)
def test_wrong_thread_counts_say_why(count: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        bs.set_num_threads(count)
    assert str(caught.value) == message


def test_the_binding_refuses_arrays_that_do_not_fit() -> None:
    module: Any = native._native  # pyright: ignore[reportPrivateUsage]  the binding itself is the subject
    x, w, y = np.ones((1, 2, 4)), np.ones((1, 1, 2, 6, 4)), np.ones((1, 4, 6))
    ones, zeros = (1, 1, 1), (0, 0, 0)

    def make(
        kernel: AnyArray = w,
        target: str = COMPILED[-1],
        strides: Any = (1, 1, 2),
        name: str = "automatic",
    ) -> Any:
        return module.Weights64(kernel, target, True, strides, ones, 1, name, True)

    def run(source: AnyArray = x, bias: Any = None, code: int = 0, into: AnyArray = y) -> None:
        make().run(source, bias, code, into, False, zeros, True)

    run()
    for wrong in (
        lambda: make(target="sse9"),
        lambda: make(strides=(1, 1, 0)),
        lambda: make(name="fast"),
        lambda: run(bias=np.ones(5)),
        lambda: run(code=8),
        lambda: run(source=x[:, :, :3]),
        lambda: run(into=y[:, :, :5]),
        lambda: run(source=x[:0]),
        lambda: run(source=x[0]),
    ):
        with pytest.raises(
            ValueError, match=r"fit|size|activation|instruction set|positive|algorithm|spatial"
        ):
            _ = wrong()


@pytest.mark.parametrize("size", [1, 1 << 16, (1 << 20) - 1, 1 << 20, (3 << 20) + 5])
def test_bytes_are_compared_to_the_last(size: int) -> None:
    one = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    other = one.copy()
    assert native.same_bytes(one, other)
    assert not native.same_bytes(one, other[:-1])
    for place in {0, size // 2, (1 << 18) - 1, 1 << 18, size - 1}:
        if place < size:
            other[place] ^= 1
            assert not native.same_bytes(one, other)
            other[place] ^= 1


STUB = Path(str(native.__file__)).with_name("_native.pyi")
Members = dict[
    str, set[tuple[str, ...]] | None
]  # parameters, of each overload; None for what is no function


def stubbed(text: str) -> Members:
    """What a stub describes: functions, and classes with what they and their private bases have."""
    body = ast.parse(text).body
    classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    owners = [("", body)]
    for name, node in classes.items():
        if name[0] != "_":
            bases = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
            found = [node, *(classes[base.id] for base in bases if isinstance(base, ast.Name))]
            owners.append((f"{name}.", [entry for owner in found for entry in owner.body]))
    members: Members = {}
    for owner, entries in owners:
        for entry in entries:
            if isinstance(entry, ast.FunctionDef):
                called = not any(ast.unparse(word) == "property" for word in entry.decorator_list)
                members[owner + entry.name] = (
                    {tuple(word.arg for word in entry.args.args)} if called else None
                )
    return members


def bound(module: Any) -> Members:
    """What the module has."""
    members: Members = {}
    for name in dir(module):
        value = getattr(module, name)
        if isinstance(value, type):
            own = {f"{name}.{entry}": parameters(getattr(value, entry)) for entry in vars(value)}
            members |= {entry: found for entry, found in own.items() if found or "__" not in entry}
        elif name[:2] != "__":
            members[name] = parameters(value)
    return members


def parameters(value: Any) -> set[tuple[str, ...]] | None:
    found: set[tuple[str, ...]] = set()
    for signature, *_ in getattr(value, "__nb_signature__", ()):
        text, count = str(signature), 1
        while count:
            text, count = re.subn(r"\[[^\[\]]*\]", "", text)
        inside = text[text.index("(") + 1 : text.index(")")].split(",")
        found.add(tuple(entry.partition(":")[0].strip() for entry in inside if entry.strip()))
    return found or None


def test_the_stub_describes_the_module() -> None:
    """The same names with the same parameters, both ways."""
    text = STUB.read_text(encoding="utf-8")
    module: Any = native._native  # pyright: ignore[reportPrivateUsage]  the binding itself is the subject
    assert stubbed(text) == bound(module)
    for wrong in (
        text.replace("def narrow(", "def narrower("),
        text.replace("last: bool", "first: bool"),
    ):
        assert stubbed(wrong) != bound(module)


@pytest.mark.parametrize(
    "entry",
    [pytest.param(entry, id=entry.name) for entry in IMPLEMENTATIONS if entry.obstacle() is None],
)
@pytest.mark.parametrize("shape", [(5, 7, 3), (6, 4, 2, 3), (3, 5, 2, 1, 2)])
def test_every_implementation_reorders_weights(
    entry: Implementation, shape: tuple[int, ...]
) -> None:
    kernel = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    assert np.array_equal(entry.channels_last_kernel(kernel), kernel_view(kernel, "channels_first"))
    matrix = kernel.reshape(len(kernel), -1)
    assert np.array_equal(entry.transposed(matrix), matrix.T)
    assert entry.transposed(matrix).flags.c_contiguous
