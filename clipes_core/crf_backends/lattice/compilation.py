"""The decorators that compile the kernels of this package, the functions that numba turns into machine code.

Numba stores the machine code in a folder, so that the next process need not compile the kernels again. It compiles a
kernel again if the kernel's file has changed, but it does not notice changes in other files. A kernel therefore uses
only kernels and intrinsics of its own file, and gets all other values as arguments.
"""

import tempfile
from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba.core.event import Event, Listener

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

PROBE = bytes(2**20)  # about as large as all machine code of the package

KERNELS: list[Any] = []  # all kernels
CACHE_FAULTS: list[str] = []  # why numba cannot store machine code; empty if it can


class FirstCompilation(Listener):
    """A listener for numba's event `numba:compile` that calls a function before the first compilation.

    Numba does not compile a kernel whose machine code is stored.

    Args:
        begin: the function; called at most once.
    """

    def __init__(self, begin: Callable[[], None]) -> None:
        self._begin: Callable[[], None] | None = begin

    def on_start(self, event: Event) -> None:
        """Call the function, unless it was called before."""
        begin, self._begin = self._begin, None
        if begin is not None:
            begin()

    def on_end(self, event: Event) -> None:
        """Do nothing."""


def kernel(function: Kernel) -> Kernel:
    """Compile a function. The compiler may reorder its sums, and merge additions with multiplications."""
    return _compile(function, fastmath=True)


def exact_kernel(function: Kernel) -> Kernel:
    """Compile a function, and round the result of each operation as written."""
    return _compile(function, fastmath=False)


def _compile(function: Kernel, fastmath: bool) -> Kernel:
    """Compile a function when it is called first, and store its machine code unless the folder is not writable."""
    options = {"fastmath": fastmath, "error_model": "numpy", "nogil": True}
    compiled: Any = numba.njit(**options)(function)
    if not CACHE_FAULTS:
        try:
            compiled.enable_caching()
            if not KERNELS:
                with tempfile.TemporaryFile(dir=compiled.stats.cache_path) as probe:
                    probe.write(PROBE)
        except (OSError, RuntimeError) as exc:  # a RuntimeError says that numba found no folder
            CACHE_FAULTS.append(str(exc))
            compiled = numba.njit(**options)(function)
    KERNELS.append(compiled)
    return compiled
