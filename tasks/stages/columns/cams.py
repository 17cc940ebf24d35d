"""CAMs in the rows of the cams artifact; light, for processes without torch."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

STORED_DTYPE = np.dtype("<f2")


def encoded_cams(cams: np.ndarray) -> bytes:
    """CAMs as a column holds them: float16, little-endian, C order."""
    return cams.astype(STORED_DTYPE).tobytes()


def encoded_residual(cams: np.ndarray) -> bytes:
    """What `encoded_cams` rounds away, in the same form.

    Near the peak float16 leaves 1 - max CAM, the background score, uncertain by 2e-4, which the CRF's logarithm turns
    into other confidences.
    """
    return encoded_cams(cams - cams.astype(STORED_DTYPE).astype(np.float32))


def stored_cams(row: Mapping[str, Any], column: Literal["cam", "refined_cam"]) -> np.ndarray:
    """The CAMs of a row.

    Returns:
        (K, grid_h, grid_w) float32 in [0, 1]; K may be 0. Initial CAMs to 5e-4, refined ones to 1e-6.
    """
    cams = _decoded(row, column)
    return cams + _decoded(row, "refined_residual") if column == "refined_cam" else cams


def _decoded(row: Mapping[str, Any], column: str) -> np.ndarray:
    shape = (len(row["class_ids"]), row["grid_h"], row["grid_w"])
    return np.frombuffer(row[column], dtype=STORED_DTYPE).reshape(shape).astype(np.float32)
