"""Number the vertices of a lattice in the order of their first use."""

import numpy as np

from clipes_core.crf_backends.lattice.compilation import kernel

FREE = np.uint32(2**32 - 1)  # a slot of the hash table without a vertex
HASH = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio
AXIS = np.uint32(7)  # the bits of an axis in an order


def number_vertices(
    first_keys: np.ndarray, orders: np.ndarray, moves: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give equal vertices of all simplices one number.

    Args:
        first_keys: (W, H) int64, the key of the vertex X of each pixel's simplex.
        orders: (W, H) int32, the axes of the moves from vertex to vertex, 3 bits each.
        moves: (d + 1,) int64, the change of the key by a move along each axis.

    Returns:
        (W, d + 1, H) uint32 numbers of the vertices of each pixel; (M,) int64 keys of the vertices; the hash table, in
        which `neighbours` looks for further keys.
    """
    width, height = first_keys.shape
    in_column = len(moves) * height
    numbers = np.empty((width, len(moves), height), np.uint32)
    keys = np.empty(numbers.size, np.int64)  # the system provides the memory of the part that is written
    table = _empty_table(2 * max(width * height, 2 * in_column))
    column = np.empty(height, np.int64)
    x = used = 0
    while True:
        x, used = _number_columns(first_keys, orders, moves, x, used, column, numbers, keys, table)
        if x == width:
            return numbers, keys[:used], table
        table = _empty_table(2 * len(table))
        _fill(table, keys[:used])


def _empty_table(slots: int) -> np.ndarray:
    return np.full(1 << (slots - 1).bit_length(), FREE, np.uint32)


@kernel
def _number_columns(first_keys, orders, moves, x, used, column, numbers, keys, table):
    """Number vertices from column x on, until the table is half full; return the next column and the vertex count."""
    width, height = first_keys.shape
    shift, mask = _hash_shift(table), np.uint64(len(table) - 1)
    while x < width and 2 * (used + len(moves) * height) <= len(table):
        column[:] = first_keys[x]
        for k in range(len(moves)):
            previous_key, number = np.int64(2**63 - 1), FREE
            for y in range(height):
                key = column[y]
                if key != previous_key:
                    slot = (np.uint64(key) * HASH) >> shift
                    while True:
                        number = table[slot]
                        if number == FREE:
                            number = np.uint32(used)
                            table[slot] = number
                            keys[used] = key
                            used += 1
                            break
                        if keys[number] == key:
                            break
                        slot = (slot + np.uint64(1)) & mask
                    previous_key = key
                numbers[x, k, y] = number
                column[y] = key + moves[(np.uint32(orders[x, y]) >> np.uint32(3 * k)) & AXIS]
        x += 1
    return x, used


@kernel
def _fill(table, keys):
    shift, mask = _hash_shift(table), np.uint64(len(table) - 1)
    for number in range(len(keys)):
        slot = (np.uint64(keys[number]) * HASH) >> shift
        while table[slot] != FREE:
            slot = (slot + np.uint64(1)) & mask
        table[slot] = number


@kernel
def _hash_shift(table):
    shift = 64
    slots = len(table)
    while slots > 1:
        slots >>= 1
        shift -= 1
    return np.uint64(shift)
