"""Find the neighbours of each vertex along each axis of a lattice."""

import numpy as np

from clipes_core.crf_backends.lattice.compilation import kernel

FREE = np.uint32(2**32 - 1)  # a slot of the hash table without a vertex
HASH = np.uint64(0x9E3779B97F4A7C15)
AXIS = np.uint32(7)
FILTER_BITS = 22  # size of the bitmap that rejects most keys without a vertex: 512 KiB


def find_neighbours(
    numbers: np.ndarray, orders: np.ndarray, keys: np.ndarray, table: np.ndarray, moves: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find the next and the previous vertex of each vertex along each axis.

    Args:
        numbers: (W, d + 1, H) uint32 vertices of each pixel, in the order of the moves.
        orders: (W, H) int32, the axes of the moves, 3 bits each.
        keys: (M,) int64 key of each vertex.
        table: hash table of the keys.
        moves: (d + 1,) int64, the change of the key by a move along each axis.

    Returns:
        Two (d + 1, M + 1) uint32 arrays, the next and the previous vertex. A missing vertex has the number M. The
        neighbours of M are M.
    """
    count = len(keys)
    following = np.full((len(moves), count + 1), count, np.uint32)
    preceding = np.full((len(moves), count + 1), count, np.uint32)
    bitmap = np.zeros(2 ** (FILTER_BITS - 6), np.uint64)
    _link_simplices(numbers, orders, following)
    _mark(keys, bitmap)
    _link_others(keys, table, moves, bitmap, np.empty(count + 1, np.uint32), following)
    _invert(following, preceding)
    return following, preceding


@kernel
def _link_simplices(numbers, orders, following):
    """Link the vertices of each simplex. The last move leads back to the first vertex."""
    width, vertices, height = numbers.shape
    for x in range(width):
        for y in range(height):
            order = np.uint32(orders[x, y])
            number = numbers[x, 0, y]
            for k in range(1, vertices):
                after = numbers[x, k, y]
                following[order & AXIS, number] = after
                number = after
                order >>= np.uint32(3)
            following[order & AXIS, number] = numbers[x, 0, y]


@kernel
def _mark(keys, bitmap):
    for key in keys:
        bit = (np.uint64(key) * HASH) >> np.uint64(64 - FILTER_BITS)
        bitmap[bit >> np.uint64(6)] |= np.uint64(1) << (bit & np.uint64(63))


@kernel
def _link_others(keys, table, moves, bitmap, candidates, following):
    """Look for the next vertices that belong to no common simplex."""
    shift = np.uint64(64)
    slots = len(table)
    while slots > 1:
        slots >>= 1
        shift -= np.uint64(1)
    mask = np.uint64(len(table) - 1)
    count = len(keys)
    for axis in range(len(moves)):
        found = 0
        for number in range(count):  # without a branch, because nothing predicts where it goes
            bit = (np.uint64(keys[number] + moves[axis]) * HASH) >> np.uint64(64 - FILTER_BITS)
            marked = (bitmap[bit >> np.uint64(6)] >> (bit & np.uint64(63))) & np.uint64(1)
            candidates[found] = number
            found += np.int64(marked) & np.int64(following[axis, number] == count)
        for candidate in range(found):
            number = candidates[candidate]
            key = keys[number] + moves[axis]
            slot = (np.uint64(key) * HASH) >> shift
            while True:
                other = table[slot]
                if other == FREE:
                    break
                if keys[other] == key:
                    following[axis, number] = other
                    break
                slot = (slot + np.uint64(1)) & mask


@kernel
def _invert(following, preceding):
    axes, count = following.shape
    for axis in range(axes):
        for number in range(count - 1):
            preceding[axis, following[axis, number]] = number
        preceding[axis, count - 1] = count - 1
