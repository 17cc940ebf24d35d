"""Number the vertices of a lattice in the order of their first use. Number 0 means no vertex."""

import numpy as np

from clipes_core.crf_backends.lattice.compilation import kernel
from clipes_core.crf_backends.lattice.scratch import scratch

HASH = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio
AXIS = np.uint32(7)  # the bits of an axis in an order
GROUP = 4  # pixels that pydensecrf processes together
NO_KEY = np.int64(2**63 - 1)


def number_vertices(
    first_keys: np.ndarray, orders: np.ndarray, moves: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give equal vertices of all simplices one number.

    pydensecrf processes pixels in groups of four, and fills up the last group with pixels whose features are all 0. The
    vertices around such a pixel exist although no pixel of the photo uses them, and the blur passes through them. They
    therefore get numbers here as well.

    Args:
        first_keys: (W, H) int64, the key of the vertex X of each pixel's simplex.
        orders: (W, H) int32, the axes of the moves from vertex to vertex, 3 bits each.
        moves: (d + 1,) int64, the change of the key by a move along each axis.

    Returns:
        (W, d + 1, H) uint32 numbers of the vertices of each pixel, from 1 on; (1 + M,) int64 keys of the vertices; the
        hash table, which holds the numbers of the vertices.
    """
    width, height = first_keys.shape
    in_column = len(moves) * height
    numbers = scratch(f"numbers {len(moves)}", (width, len(moves), height), np.uint32)
    keys = scratch(
        "keys", 1 + numbers.size + len(moves), np.int64
    )  # the system provides the memory of the part that is written
    keys[0] = NO_KEY
    slots = 1 << (2 * max(width * height, 2 * in_column) - 1).bit_length()
    column, misses = scratch("column", in_column, np.int64), scratch("misses", in_column + 1, np.int64)
    x, used = 0, 1
    while x < width:
        table = scratch("table", slots, np.uint32)
        table[:] = 0
        _fill(table, keys[:used])
        x, used = _number_columns(first_keys, orders, moves, x, used, column, misses, numbers, keys, table)
        slots *= 2
    if width * height % GROUP:
        used = _number_origin(moves, used, keys, table)
    return numbers, keys[:used], table


@kernel
def _number_columns(
    first_keys: np.ndarray,
    orders: np.ndarray,
    moves: np.ndarray,
    x: int,
    used: int,
    column: np.ndarray,
    misses: np.ndarray,
    numbers: np.ndarray,
    keys: np.ndarray,
    table: np.ndarray,
) -> tuple[int, int]:
    """Number vertices from column x on, until the table is half full; return the next column and the next number."""
    shift, mask = _hash_shift(table), np.uint64(len(table) - 1)
    while x < len(first_keys) and 2 * (used + len(column)) <= len(table):
        _column_keys(first_keys[x], orders[x], moves, column)
        flat = numbers[x].reshape(-1)
        missed = _look_up(column, shift, keys, table, flat, misses)
        for miss in range(missed):
            i = misses[miss]
            key = column[i]
            slot = (np.uint64(key) * HASH) >> shift
            while True:
                number = table[slot]
                if keys[number] == key:
                    break
                if number == 0:
                    number = np.uint32(used)
                    table[slot] = number
                    keys[used] = key
                    used += 1
                    break
                slot = (slot + np.uint64(1)) & mask
            flat[i] = number
        x += 1
    return x, used


@kernel
def _column_keys(first_keys: np.ndarray, orders: np.ndarray, moves: np.ndarray, column: np.ndarray) -> None:
    """Compute the keys of all vertices of a column of pixels: first those of all vertices X, and so on."""
    height = len(first_keys)
    column[:height] = first_keys
    for k in range(len(moves) - 1):
        here, after = column[k * height :], column[(k + 1) * height :]
        shift = np.uint32(3 * k)
        for y in range(height):
            after[y] = here[y] + moves[(np.uint32(orders[y]) >> shift) & AXIS]


@kernel
def _look_up(
    column: np.ndarray,
    shift: np.uint64,
    keys: np.ndarray,
    table: np.ndarray,
    numbers: np.ndarray,
    misses: np.ndarray,
) -> np.int64:
    """Look at the first slot of each key; list the keys that are elsewhere or nowhere, and return their count.

    The loop has no branch, because a processor could not predict it and would wait for the memory.
    """
    missed = np.int64(0)
    for i in range(len(column)):
        number = table[(np.uint64(column[i]) * HASH) >> shift]
        numbers[i] = number
        misses[missed] = i
        missed += np.int64(keys[number] != column[i])
    return missed


@kernel
def _number_origin(moves: np.ndarray, used: int, keys: np.ndarray, table: np.ndarray) -> int:
    """Number the vertices around a pixel whose features are all 0; return the next number."""
    shift, mask = _hash_shift(table), np.uint64(len(table) - 1)
    key = np.int64(0)
    for axis in range(len(moves) - 1, -1, -1):  # all remainders are equal, so the highest index comes first
        slot = (np.uint64(key) * HASH) >> shift
        while table[slot] != 0 and keys[table[slot]] != key:
            slot = (slot + np.uint64(1)) & mask
        if table[slot] == 0:
            table[slot] = used
            keys[used] = key
            used += 1
        key += moves[axis]
    return used


@kernel
def _fill(table: np.ndarray, keys: np.ndarray) -> None:
    """Enter vertices into an empty table."""
    shift, mask = _hash_shift(table), np.uint64(len(table) - 1)
    for number in range(1, len(keys)):
        slot = (np.uint64(keys[number]) * HASH) >> shift
        while table[slot] != 0:
            slot = (slot + np.uint64(1)) & mask
        table[slot] = number


@kernel
def _hash_shift(table: np.ndarray) -> np.uint64:
    """Return the shift of a 64-bit hash that leaves the bits of a slot."""
    shift, slots = 64, len(table)
    while slots > 1:
        slots >>= 1
        shift -= 1
    return np.uint64(shift)
