"""The decorators that compile the kernels of this package, the functions that numba turns into machine code.

Numba keeps the machine code of a kernel in a folder, so that the next process need not compile it again. Numba compiles
a kernel again if the file of the kernel has changed. It does not notice a change in another file. A kernel therefore
calls only functions of its own file, which `tests/clipes_core/crf_backends/lattice/test_compilation.py` checks.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

KERNELS: list[Any] = []


def kernel(function: Kernel) -> Kernel:
    """Compile a function; its additions may be reordered and merged with multiplications."""
    return _compiled(function, fastmath=True)


def exact_kernel(function: Kernel) -> Kernel:
    """Compile a function, and round each operation as written."""
    return _compiled(function, fastmath=False)


def _compiled(function: Kernel, fastmath: bool) -> Kernel:
    compiled = numba.njit(function, fastmath=fastmath, error_model="numpy", nogil=True)
    try:
        compiled.enable_caching()
    except RuntimeError:  # numba found no folder that it may write; `prepare` warns
        compiled.stays_in_memory = True
    KERNELS.append(compiled)
    return compiled
