"""Find the chains of neighbouring vertices along each axis of a lattice."""

import math
from dataclasses import dataclass

import numpy as np

from clipes_core.crf_backends.lattice.compilation import kernel
from clipes_core.crf_backends.lattice.scratch import scratch

HASH = np.uint64(0x9E3779B97F4A7C15)  # as in vertices.py
AXIS = np.uint32(7)  # the bits of an axis in an order
BITMAP_BITS = 22  # logarithm of the number of bits of the bitmap that rejects most keys without a vertex


@dataclass(frozen=True, eq=False)
class Chains:
    """The longest sequences of neighbouring vertices along each axis. Vertices without a neighbour belong to no chain.

    Attributes:
        vertices: uint32 numbers of the vertices, chain after chain; the chains of an axis are sorted by length.
        runs: (runs, 2) int64; each row is a length and the number of successive chains of this length.
    """

    vertices: np.ndarray
    runs: np.ndarray


def find_chains(
    numbers: np.ndarray, orders: np.ndarray, keys: np.ndarray, table: np.ndarray, moves: np.ndarray
) -> Chains:
    """Find the chains along each axis.

    Args:
        numbers: (W, d + 1, H) uint32 vertices of each pixel, in the order of the moves.
        orders: (W, H) int32, the axes of the moves, 3 bits each.
        keys: (1 + M,) int64 key of each vertex.
        table: hash table of the vertices.
        moves: (d + 1,) int64, the change of the key by a move along each axis.
    """
    count = len(keys)
    following = scratch("following", (len(moves), count), np.uint32)
    following[:] = 0
    _link_simplices(numbers, orders, following)
    bitmap = scratch("bitmap", 2 ** (BITMAP_BITS - 6), np.uint64)
    bitmap[:] = 0
    _mark(keys, bitmap)
    candidates = scratch("candidates", count + 1, np.uint32)
    _link_others(keys, table, moves, bitmap, candidates, following)
    vertices = scratch(f"chains {len(moves)}", len(moves) * count, np.uint32)
    runs = np.empty((len(moves) * (math.isqrt(2 * count) + 1), 2), np.int64)
    begun = scratch("begun", count, np.uint8)
    heads, ends, ended = (scratch(name, count + 1, np.uint32) for name in ("heads", "ends", "ended"))
    used, run = _list_chains(following, begun, heads, ends, ended, vertices, runs)
    return Chains(vertices[:used], runs[:run])


@kernel
def _link_simplices(numbers: np.ndarray, orders: np.ndarray, following: np.ndarray) -> None:
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
def _mark(keys: np.ndarray, bitmap: np.ndarray) -> None:
    """Set the bit of each key in the bitmap."""
    for key in keys:
        bit = (np.uint64(key) * HASH) >> np.uint64(64 - BITMAP_BITS)
        bitmap[bit >> np.uint64(6)] |= np.uint64(1) << (bit & np.uint64(63))


@kernel
def _link_others(
    keys: np.ndarray,
    table: np.ndarray,
    moves: np.ndarray,
    bitmap: np.ndarray,
    candidates: np.ndarray,
    following: np.ndarray,
) -> None:
    """Look for the next vertices that belong to no common simplex."""
    shift, slots = 64, len(table)
    while slots > 1:
        slots >>= 1
        shift -= 1
    mask = np.uint64(len(table) - 1)
    for axis in range(len(moves)):
        found = np.int64(0)
        for number in range(1, len(keys)):  # without a branch, because nothing predicts where it goes
            bit = (np.uint64(keys[number] + moves[axis]) * HASH) >> np.uint64(64 - BITMAP_BITS)
            marked = (bitmap[bit >> np.uint64(6)] >> (bit & np.uint64(63))) & np.uint64(1)
            candidates[found] = number
            found += np.int64(marked) & np.int64(following[axis, number] == 0)
        for candidate in range(found):
            number = candidates[candidate]
            key = keys[number] + moves[axis]
            slot = (np.uint64(key) * HASH) >> np.uint64(shift)
            while True:
                other = table[slot]
                if keys[other] == key or other == 0:
                    following[axis, number] = other
                    break
                slot = (slot + np.uint64(1)) & mask


@kernel
def _list_chains(
    following: np.ndarray,
    begun: np.ndarray,
    heads: np.ndarray,
    ends: np.ndarray,
    ended: np.ndarray,
    vertices: np.ndarray,
    runs: np.ndarray,
) -> tuple[int, int]:
    """List the chains of each axis by length; return the numbers of listed vertices and of runs.

    The loops have no branch that depends on a chain, because nothing predicts how long a chain is. All open chains grow
    by one vertex at a time. Those that end are listed, and the others stay open.
    """
    used = run = 0
    for axis in range(len(following)):
        after = following[axis]
        begun[:] = 0
        for number in range(1, len(after)):
            begun[after[number]] = 1
        opened = np.int64(0)
        for number in range(1, len(after)):
            heads[opened] = number
            ends[opened] = after[number]
            opened += np.int64(begun[number] == 0) & np.int64(after[number] != 0)
        length = 2
        while opened:
            kept = finished = np.int64(0)
            for chain in range(opened):
                head, end = heads[chain], after[ends[chain]]
                ended[finished] = head
                heads[kept] = head
                ends[kept] = end
                finished += np.int64(end == 0)
                kept += np.int64(end != 0)
            for chain in range(finished):
                number = ended[chain]
                for _ in range(length):
                    vertices[used] = number
                    number = after[number]
                    used += 1
            if finished:
                runs[run, 0], runs[run, 1] = length, finished
                run += 1
            opened = kept
            length += 1
    return used, run
