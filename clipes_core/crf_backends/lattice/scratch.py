"""Memory that is reused from photo to photo, because fresh memory costs the operating system several milliseconds."""

import math
import threading

import numpy as np
from numpy.typing import DTypeLike

MOST_KEPT = 2**25  # a larger array is not kept


class _Blocks(threading.local):
    """The memory that a thread keeps, by name."""

    def __init__(self) -> None:
        self.by_name: dict[str, np.ndarray] = {}


_BLOCKS = _Blocks()


def scratch(name: str, shape: tuple[int, ...] | int, dtype: DTypeLike) -> np.ndarray:
    """Return an array with arbitrary content.

    Args:
        name: purpose of the array. The next call with this name in the same thread may return the same memory.
        shape: shape of the array.
        dtype: type of the elements.

    Returns:
        A writable array in C order.
    """
    element = np.dtype(dtype)
    size = math.prod(np.atleast_1d(shape).tolist()) * element.itemsize
    block = _BLOCKS.by_name.get(name)
    if block is None or block.nbytes < size:
        _BLOCKS.by_name.pop(name, None)
        block = np.empty(size, np.uint8)
        if size <= MOST_KEPT:
            _BLOCKS.by_name[name] = block
    return block[:size].view(element).reshape(shape)
