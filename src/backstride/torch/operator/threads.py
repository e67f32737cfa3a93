"""The engine on PyTorch's own threads.

After each operation, the threads of PyTorch's OpenMP library look for the next one for some
milliseconds, on the very processors that the engine's threads would need: between PyTorch's layers
an engine with threads of its own would run at half of its speed. So from the import of
`backstride.torch` on, the engine hands its tasks to the OpenMP library that PyTorch uses, and takes
as many threads as `torch.set_num_threads` says, unless `backstride.set_num_threads` said otherwise.
Where that library is not found, or is not OpenMP, the engine keeps its own threads.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import torch

from backstride import native

LIBRARY = "libtorch_cpu.so"
NUMBER = "_ZN2at15get_num_threadsEv"
"""at::get_num_threads().

OpenMP's own number is not PyTorch's in a thread in which PyTorch has not computed yet.
"""


def share() -> bool:
    """Have the engine run on PyTorch's threads; whether it does."""
    addresses = _entry_points()
    return addresses is not None and native.share_threads(*addresses)


def _entry_points() -> tuple[int, int] | None:
    """Addresses of GOMP_parallel, as PyTorch's library finds it, and of its own number of threads.

    None without.
    """
    path = Path(torch.__file__).parent / "lib" / LIBRARY
    if (
        sys.platform != "linux"
        or "OpenMP" not in torch.__config__.parallel_info()
        or not path.is_file()
    ):
        return None
    try:
        library = ctypes.CDLL(str(path), mode=os.RTLD_NOW | os.RTLD_NOLOAD)
        names = (library.GOMP_parallel, getattr(library, NUMBER))
    except (OSError, AttributeError):
        return None
    run, most = (ctypes.cast(name, ctypes.c_void_p).value for name in names)
    return None if run is None or most is None else (run, most)
