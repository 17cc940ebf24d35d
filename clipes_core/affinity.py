"""Class-aware attention-based affinity (CAA): spread a CAM along the attention, inside the object's boxes."""

import cv2
import numpy as np
import torch

from clipes_core.errors import ShapeError
from clipes_core.gradcam import normalise_cam


def sinkhorn(attn_weights: torch.Tensor, rounds: int) -> torch.Tensor:
    """Bring attention close to a doubly stochastic matrix.

    Args:
        attn_weights: (n, n) float, at least 0, rows are queries.
        rounds: how often to divide by the column sums, then by the row sums.

    Returns:
        (n, n) D of eq. (6), in the dtype given; rows sum to 1 after one round or more, but a row or column of zeros,
        which a very peaked softmax may leave, stays so.

    Source: CLIP-ES sec. 3.3, eq. (6).
    """
    columns = attn_weights.new_ones(attn_weights.shape[1])
    rows = attn_weights.new_ones(attn_weights.shape[0])
    tiny = torch.finfo(attn_weights.dtype).tiny
    for _ in range(rounds):
        columns = 1 / (attn_weights.T @ rows).clamp_min(tiny)
        rows = 1 / (attn_weights @ columns).clamp_min(tiny)
    return attn_weights * columns * rows[:, None]


def box_mask(cam: np.ndarray, threshold: float) -> np.ndarray:
    """Boxes around the parts of a CAM above a share of its peak.

    Args:
        cam: (h, w) float in [0, 1].
        threshold: lambda in [0, 1), of the peak.

    Returns:
        (h, w) bool B_c of eq. (7): the filled upright boxes of the 8-connected parts, empty
        where the CAM is all zero. As in the program a box's right and bottom end is exclusive
        and clipped to the last column and row, so a box that touches them loses it.

    Source: CLIP-ES sec. 3.3, eq. (7). Differs from the reference: none.
    """
    levels = (cam * 255).astype(np.uint8)
    above = (levels > int(threshold * levels.max())).astype(np.uint8)
    contours, _ = cv2.findContours(above, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    height, width = cam.shape
    inside = np.zeros(cam.shape, dtype=bool)
    for contour in contours:
        x, y, box_width, box_height = cv2.boundingRect(contour)
        inside[y : min(y + box_height, height - 1), x : min(x + box_width, width - 1)] = True
    return inside


def refine_cams(cams: torch.Tensor, balanced: torch.Tensor, masks: torch.Tensor, power: int) -> torch.Tensor:
    """Let each source inside the boxes hand its CAM on along the affinity.

    Args:
        cams: (K, h, w) float32 in [0, 1].
        balanced: (hw, hw) float64 D of eq. (6): what `sinkhorn` makes of a photo's attention, once for all its CAMs.
            In float64: a flat attention leaves differences that drown in the rounding of float32.
        masks: (K, h, w) bool, the sources that count; all true is the paper's MHSA baseline.
        power: t, how often the affinity A = (D + D^T) / 2 is applied.

    Returns:
        (K, h, w) float32 in [0, 1], normalised; all zero where no source counts.

    Raises:
        ShapeError: the attention is not over these h x w patches.

    Source: CLIP-ES eq. (7). Differs from the reference: A^t (B * cam) by matrix-vector
    products, once per photo, instead of a matrix product per class; the same numbers.
    """
    _, height, width = cams.shape
    if balanced.shape != (height * width, height * width):
        raise ShapeError(
            f"attention must be ({height * width}, {height * width}) for a {height} x {width} CAM, "
            f"got {tuple(balanced.shape)}"
        )
    sources = (cams * masks).double().flatten(1).T
    for _ in range(power):
        sources = (balanced @ sources + balanced.T @ sources) / 2
    return normalise_cam(sources.T.unflatten(1, (height, width))).float()
