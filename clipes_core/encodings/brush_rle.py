"""The encoding of brush strokes in Label Studio: run lengths of an RGBA image, packed into bits."""

from collections.abc import Iterator
from itertools import cycle

import numpy as np

from clipes_core.encodings.run_lengths import run_lengths
from clipes_core.errors import ShapeError

CHANNELS = 4  # a stroke is an RGBA image, in which all channels of a pixel are equal
VALUE_BITS = 8
LENGTH_BITS = (3, 4, 8, 16)  # sizes of the field for a length; two bits in front of it say which one is used
LONGEST = 1 << LENGTH_BITS[-1]


def brush_rle(mask: np.ndarray) -> list[int]:
    """Encode a binary mask as Label Studio encodes the strokes of a brush (`"format": "rle"`).

    Args:
        mask: (H, W) bool, fewer than 2^30 pixels.

    Returns:
        The bytes of the encoding, as numbers from 0 to 255.

    Raises:
        ShapeError: `mask` is not (H, W) bool, or is too large.

    Source: the format that label-studio-converter reads. A header states the number of values (32 bits), the size of a
    value (5 bits, minus 1) and the four sizes of a length (4 bits each, minus 1). Each run follows as the bit 1, the
    index of the size of its length (2 bits), its length minus 1, and its value.
    """
    if mask.ndim != 2 or mask.dtype != bool or mask.size * CHANNELS >= 1 << 32:
        raise ShapeError(f"mask must be (H, W) bool with fewer than 2^30 pixels, got {mask.shape} {mask.dtype}")
    header = f"{mask.size * CHANNELS:032b}{VALUE_BITS - 1:05b}" + "".join(f"{size - 1:04b}" for size in LENGTH_BITS)
    bits = header + "".join(_encoded_runs(run_lengths(mask.ravel()) * CHANNELS))
    bits += "0" * (-len(bits) % 8)
    return list(int(bits, 2).to_bytes(len(bits) // 8, "big"))


def _encoded_runs(lengths: np.ndarray) -> Iterator[str]:
    """Yield the bits of runs that alternate between the values 0 and 255."""
    for length, value in zip(lengths.tolist(), cycle(("0" * VALUE_BITS, "1" * VALUE_BITS)), strict=False):
        for start in range(0, length, LONGEST):
            part = min(length - start, LONGEST) - 1
            index = next(index for index, size in enumerate(LENGTH_BITS) if part < 1 << size)
            yield f"1{index:02b}{part:0{LENGTH_BITS[index]}b}{value}"
