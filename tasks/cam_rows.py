"""Reading the CAMs of a row of the cams artifact; light, for processes without torch."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

STORED_DTYPE = np.dtype("<f2")


def stored_cams(row: Mapping[str, Any], column: Literal["cam", "refined_cam"]) -> np.ndarray:
    """The CAMs of a row.

    Returns:
        (K, grid_h, grid_w) float32 in [0, 1]; K may be 0.
    """
    shape = (len(row["class_ids"]), row["grid_h"], row["grid_w"])
    return np.frombuffer(row[column], dtype=STORED_DTYPE).reshape(shape).astype(np.float32)
