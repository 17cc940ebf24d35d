"""Encode CAMs for the columns of the stage `cams`, and decode them. This module does not import torch."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

CamColumn = Literal["cam", "refined_cam"]
STORED_DTYPE = np.dtype("<f2")


def encoded_cams(cams: np.ndarray) -> bytes:
    """Return CAMs as the bytes that a column stores: float16, little-endian, C order.

    Args:
        cams: (K, grid_h, grid_w) float32 in [0, 1]; K may be 0.
    """
    return cams.astype(STORED_DTYPE).tobytes()


def encoded_residual(cams: np.ndarray) -> bytes:
    """Return the rounding error of `encoded_cams`, encoded in the same form.

    Without this correction, the background score 1 - max CAM would have an error of up to 2e-4 near the peak of a CAM.
    The logarithm in the CRF would turn this error into wrong confidences.
    """
    return encoded_cams(cams - cams.astype(STORED_DTYPE).astype(np.float32))


def stored_cams(row: Mapping[str, Any], column: CamColumn) -> np.ndarray:
    """Decode the CAMs of a row.

    Returns:
        (K, grid_h, grid_w) float32 in [0, 1]; K may be 0. The rounding error is at most 5e-4 for initial CAMs,
        and 1e-6 for refined CAMs.
    """
    cams = _decoded(row, column)
    return cams + _decoded(row, "refined_residual") if column == "refined_cam" else cams


def _decoded(row: Mapping[str, Any], column: str) -> np.ndarray:
    shape = (len(row["class_ids"]), row["grid_h"], row["grid_w"])
    return np.frombuffer(row[column], dtype=STORED_DTYPE).reshape(shape).astype(np.float32)
