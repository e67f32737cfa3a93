"""Arrays of any library become NumPy here, and results go back: the same kind, dtype and device.

No library is imported: one whose array was given is already loaded. On the CPU the way in shares
memory where the library can (DLPack, the buffer protocol). bfloat16 travels as float32, which holds
each of its values, because NumPy has no bfloat16 of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeAlias, TypeGuard, cast

import array_api_compat as compat
import numpy as np

from backstride.layout import AnyArray

ForeignArray: TypeAlias = Any
"""An array of any library, none of which is imported for its type.

Or what was given in its place.
"""
DTYPES = (
    *("float32", "float64", "float16", "bfloat16", "complex64", "complex128"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
NEAREST_DTYPES = {
    "bool": "uint8",
    "float8": "float16",
    "float128": "float64",
    "complex256": "complex128",
}
LIBRARIES = {
    "torch": "torch",
    "jax": "jax",
    "jaxlib": "jax",
    "tensorflow": "tensorflow",
    "cupy": "cupy",
}


def library_of(name: str, array: ForeignArray) -> str:
    """The name of the library that an array comes from.

    >>> library_of("x", np.ones(3))
    'numpy'
    """
    if isinstance(array, np.ma.MaskedArray):
        message = (
            f"`{name}` is a masked array, whose mask would be lost; the nearest legal call is "
            f"{name}.filled(0)"
        )
        raise TypeError(message)
    if isinstance(array, np.ndarray | np.generic):
        return "numpy"
    if hasattr(array, "shape") and hasattr(array, "dtype"):
        modules = [kind.__module__.partition(".")[0] for kind in type(array).__mro__]
        for module in modules:  # a subclass counts as what it derives from
            if module in LIBRARIES:
                return LIBRARIES[module]
        if hasattr(array, "__array_namespace__") or hasattr(array, "__dlpack__"):
            return modules[0]
    message = f"`{name}` (={_show(array)}) must be an array, not {type(array).__name__}"
    if isinstance(array, list | tuple) or hasattr(array, "__array__"):
        message += f"; the nearest legal call is numpy.asarray({name})"
    raise TypeError(message)


def same_library(**arrays: object) -> str:
    """The library that all given arrays come from; mixed ones are refused."""
    libraries = {
        name: library_of(name, array) for name, array in arrays.items() if array is not None
    }
    (first, library), *others = libraries.items()
    for name, other in others:
        if other != library:
            message = (
                f"`{name}` (an array of {other}) must come from the library of `{first}`, which is "
                f"{library}; convert one of them"
            )
            raise TypeError(message)
    return library


def dtype_name(name: str, array: ForeignArray) -> str:
    """The dtype of any library's array as one of `DTYPES`; others are refused."""
    _ = library_of(name, array)
    dtype = array.dtype
    text = str(getattr(dtype, "name", dtype)).rpartition(".")[2]
    if text not in DTYPES:
        message = f"`{name}` has dtype {text}; legal are {', '.join(DTYPES)}"
        if text == "object":
            message += "; for exact arithmetic on objects use backstride.reference"
        for start, nearest in NEAREST_DTYPES.items():
            message += f"; the nearest of these is {nearest}" if text.startswith(start) else ""
        raise TypeError(message)
    return text


def to_numpy(name: str, array: ForeignArray) -> AnyArray:
    """The array as NumPy, sharing memory where that is possible; bfloat16 as float32."""
    kind = dtype_name(name, array)
    match library_of(name, array):
        case "numpy":
            result = np.asarray(array)
            native = result.dtype.isnative and result.flags.aligned
            result = result if native else result.astype(result.dtype.newbyteorder("="))
        case "torch":
            result = _torch_to_numpy(name, array, kind)
        case "jax":
            if isinstance(array, sys.modules["jax"].core.Tracer):
                _refuse_traced(name, "jax.jit")
            result = np.asarray(array)
        case "tensorflow":
            if isinstance(array, sys.modules["tensorflow"].Variable):
                array = array.value()
            if not hasattr(array, "numpy"):
                _refuse_traced(name, "tf.function")
            result = array.numpy()
        case "cupy":
            result = array.get()
        case _:
            result = np.from_dlpack(compat.to_device(array, "cpu") if _elsewhere(array) else array)
    return result.astype(np.float32) if kind == "bfloat16" else result


def bits(name: str, array: ForeignArray) -> AnyArray | None:
    """Half precision of NumPy, or of PyTorch on the CPU, as the uint16 that it shares memory with.

    None for others.

    >>> bits("x", np.ones(2, np.float16))
    array([15360, 15360], dtype=uint16)
    """
    match library_of(name, array):
        case "numpy":
            shared = np.asarray(array)
            return (
                shared.view(np.uint16) if shared.dtype.isnative and shared.flags.aligned else None
            )
        case "torch" if array.device.type == "cpu":
            integers = sys.modules["torch"].int16
            return _torch_dense(name, array).view(integers).numpy().view(np.uint16)
        case _:
            return None


def from_bits(result: AnyArray, model: ForeignArray) -> ForeignArray:
    """What `bits` takes apart, put together.

    Bits as an array of the library and dtype of `model`.
    """
    if library_of("x", model) == "numpy":
        return result.view(model.dtype)
    return sys.modules["torch"].from_numpy(result.view(np.int16)).view(model.dtype)


def back(result: AnyArray, model: ForeignArray) -> ForeignArray:
    """A NumPy result as an array of the library, dtype and device of `model`."""
    match library_of("x", model):
        case "numpy":
            return result.astype(model.dtype, copy=False)
        case "torch":
            return (
                sys.modules["torch"].from_numpy(result).to(device=model.device, dtype=model.dtype)
            )
        case "jax":
            jax = sys.modules["jax"]
            return jax.device_put(jax.numpy.asarray(result, dtype=model.dtype), model.sharding)
        case "tensorflow":
            tensorflow = sys.modules["tensorflow"]
            with tensorflow.device(model.device):
                return tensorflow.cast(tensorflow.convert_to_tensor(result), model.dtype)
        case "cupy":
            with model.device:
                return sys.modules["cupy"].asarray(result, dtype=model.dtype)
        case _:
            return _generic_back(result, model)


def _torch_to_numpy(name: str, tensor: ForeignArray, kind: str) -> AnyArray:
    dense = _torch_dense(name, tensor)
    return (dense.float() if kind == "bfloat16" else dense).numpy()


def _torch_dense(name: str, tensor: ForeignArray) -> ForeignArray:
    if tensor.requires_grad:
        message = (
            f"`{name}` requires grad, which this function would lose; the nearest legal call is "
            f"{name}.detach(), and conv, conv_transpose and conv_kernel_gradient are each other's "
            "derivatives"
        )
        raise TypeError(message)
    if tensor.is_meta:
        message = (
            f"`{name}` is on the meta device and has no values; the nearest legal call gives a "
            "tensor with values"
        )
        raise TypeError(message)
    if str(tensor.layout) != "torch.strided":
        message = (
            f"`{name}` has layout {tensor.layout}; the nearest legal call is {name}.to_dense()"
        )
        raise TypeError(message)
    return tensor.resolve_conj().resolve_neg().cpu()


def _elsewhere(array: ForeignArray) -> bool:
    """Whether an array lives on a device that NumPy cannot read (by DLPack, type 1 is the CPU)."""
    device: Callable[[], tuple[int, int]] | None = getattr(array, "__dlpack_device__", None)
    return device is not None and int(device()[0]) != 1


def _generic_back(result: AnyArray, model: ForeignArray) -> ForeignArray:
    if _speaks_array_api(model):
        namespace = compat.array_namespace(model)
        device = cast("Callable[[ForeignArray], object]", compat.device)
        return namespace.asarray(result, dtype=model.dtype, device=device(model))
    module = sys.modules[type(model).__module__.partition(".")[0]]
    if hasattr(module, "from_dlpack"):
        return module.from_dlpack(result)
    message = (
        f"`x` (an array of {module.__name__}) can be read, but no result can be handed back: no "
        "from_dlpack"
    )
    raise TypeError(message)


def _speaks_array_api(model: object) -> TypeGuard[ForeignArray]:
    return hasattr(model, "__array_namespace__")


def _refuse_traced(name: str, tracer: str) -> None:
    message = (
        f"`{name}` has no values yet: it is traced by {tracer}; the nearest legal call is outside "
        "of it"
    )
    raise TypeError(message)


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
