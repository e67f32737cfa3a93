# What `native/bindings.cpp` gives Python: C-contiguous arrays, written in place, unless it says otherwise.  # noqa: E501
#
# Axes are three integers. `target`, or `name`, is an instruction set, of `instruction_sets()`; `activation` and  # noqa: E501
# `storage` are numbers, as in native.py and implementation.py. Half precision is its bits, uint16.

from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from backstride.layout import AnyArray

_Scalar = TypeVar("_Scalar", np.float32, np.float64)
_Number = TypeVar("_Number", np.float32, np.uint16)

class _Weights(Generic[_Scalar]):  # a packed kernel, which runs in one direction
    def __init__(
        self,
        w: NDArray[_Scalar],
        target: str,
        transpose: bool,
        strides: Sequence[int],
        dilation: Sequence[int],
        groups: int,
        algorithm: str,
        winograd: bool,
    ) -> None: ...
    @property
    def algorithm(self) -> str: ...
    def algorithm_of(self, storage: int) -> str: ...
    @property
    def forced(self) -> bool: ...
    @property
    def dtype(self) -> str: ...
    @property
    def outputs(self) -> int: ...
    def run(
        self,
        source: NDArray[_Scalar],
        bias: NDArray[_Scalar] | None,
        activation: int,
        target: NDArray[_Scalar],
        channels_first: bool,
        before: Sequence[int],
        transpose: bool,
    ) -> None: ...
    def run_half(
        self,
        source: NDArray[np.uint16],
        bias: NDArray[_Scalar] | None,
        activation: int,
        target: NDArray[np.uint16],
        channels_first: bool,
        before: Sequence[int],
        transpose: bool,
        storage: int,
    ) -> None: ...

class Weights32(_Weights[np.float32]): ...
class Weights64(_Weights[np.float64]): ...

class Copy:  # bytes of the caller's memory, and a copy of them
    def __init__(self, address: int, bytes: int) -> None: ...
    def stayed(self) -> bool: ...

class Pages:  # pages of the caller's memory that the system watches
    @staticmethod
    def of(address: int, bytes: int) -> Pages | None: ...
    def stayed(self) -> bool: ...

# The processor. `measure`: hertz, multiply-adds of a vector a second, and bytes a second (read, copy), for each working  # noqa: E501
# set and for memory.
def instruction_sets() -> list[str]: ...
def processor_features() -> list[str]: ...
def has_matrices(name: str) -> bool: ...
def vectors_of(name: str) -> tuple[int, int]: ...
def measure(
    name: str, working_sets: Sequence[int], seconds: float
) -> tuple[float, float, list[tuple[float, float]], tuple[float, float]]: ...

# The choice of an algorithm; `twice` is float64.
def algorithms(
    kernel: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    small: int,
    big: int,
    target: str,
    twice: bool,
) -> list[str]: ...
def nominal_rates(name: str) -> list[float]: ...
def predictions(
    batch: int,
    groups: int,
    small: int,
    big: int,
    input: Sequence[int],
    output: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    before: Sequence[int],
    target: str,
    twice: bool,
    forced: bool,
    rates: Sequence[float],
) -> list[tuple[str, list[float]]]: ...

# The operations: w is (*k, big, groups * small); data with any strides, 1 to 3 spatial axes.
def borrow(
    w: AnyArray,
    target: str,
    strides: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    winograd: bool,
) -> Weights32 | Weights64: ...
def conv(
    source: NDArray[_Scalar],
    w: NDArray[_Scalar],
    bias: NDArray[_Scalar] | None,
    activation: int,
    target: NDArray[_Scalar],
    name: str,
    channels_first: bool,
    strides: Sequence[int],
    dilation: Sequence[int],
    before: Sequence[int],
    groups: int,
    winograd: bool,
) -> None: ...
def conv_half(
    source: NDArray[np.uint16],
    w: NDArray[_Scalar],
    bias: NDArray[_Scalar] | None,
    activation: int,
    target: NDArray[np.uint16],
    name: str,
    channels_first: bool,
    strides: Sequence[int],
    dilation: Sequence[int],
    before: Sequence[int],
    groups: int,
    winograd: bool,
    storage: int,
) -> None: ...
def conv_kernel_gradient(
    x: NDArray[_Scalar],
    y: NDArray[_Scalar],
    w: NDArray[_Scalar],
    name: str,
    channels_first: bool,
    strides: Sequence[int],
    dilation: Sequence[int],
    before: Sequence[int],
    groups: int,
    winograd: bool,
) -> None: ...
def conv_kernel_gradient_half(
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    w: NDArray[np.float32],
    name: str,
    channels_first: bool,
    strides: Sequence[int],
    dilation: Sequence[int],
    before: Sequence[int],
    groups: int,
    winograd: bool,
    storage: int,
) -> None: ...
def axis_convolution(
    weights: Weights32,
    source: NDArray[np.float32],
    source_first: bool,
    target: NDArray[np.float32],
    target_first: bool,
    offset: NDArray[np.float32],
    input: NDArray[np.float32],
    output: NDArray[np.float32],
    before: int,
    count: int,
    dilation: int,
    taps: int,
    plane: Sequence[int],
    target_plane: Sequence[int],
    crop: Sequence[int],
    strip: int,
    name: str,
) -> bool: ...

# The definition as loops: three spatial axes, channels last, a flat w.
def direct_conv_transpose(
    x: NDArray[_Scalar],
    w: NDArray[_Scalar],
    y: NDArray[_Scalar],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    before: Sequence[int],
    groups: int,
) -> None: ...
def direct_conv(
    y: NDArray[_Scalar],
    w: NDArray[_Scalar],
    x: NDArray[_Scalar],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    before: Sequence[int],
    groups: int,
) -> None: ...
def direct_conv_kernel_gradient(
    x: NDArray[_Scalar],
    y: NDArray[_Scalar],
    w: NDArray[_Scalar],
    strides: Sequence[int],
    dilation: Sequence[int],
    before: Sequence[int],
    groups: int,
) -> None: ...

# Arrays in another order or width; `sizes` are input, kernel, strides, dilation and the crop before.  # noqa: E501
def turn(source: NDArray[_Scalar], target: NDArray[_Scalar], name: str) -> None: ...
def turn_taps(
    source: NDArray[_Scalar], target: NDArray[_Scalar], name: str, back: bool
) -> None: ...
def to_columns(
    y: NDArray[_Number], columns: NDArray[_Number], sizes: Sequence[Sequence[int]], last: bool
) -> None: ...
def from_columns(
    columns: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    y: NDArray[np.float32],
    sizes: Sequence[Sequence[int]],
    last: bool,
) -> None: ...
def narrow(
    source: NDArray[np.float32], target: NDArray[np.uint16], name: str, storage: int
) -> None: ...
def same_bytes(a: AnyArray, b: AnyArray) -> bool: ...

# Memory of large results, not initialised.
def empty32(shape: Sequence[int]) -> NDArray[np.float32]: ...
def empty64(shape: Sequence[int]) -> NDArray[np.float64]: ...
def release_results() -> int: ...

# Threads: those of an OpenMP library by the addresses of its functions.
def set_num_threads(count: int) -> None: ...
def get_num_threads() -> int: ...
def share_threads(run: int, most: int) -> None: ...
