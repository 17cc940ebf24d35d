"""Spread CAMs along CLIP's attention by one of two methods: CAA or MHSA.

CAA is class-aware attention-based affinity: it spreads a CAM only from the patches inside boxes around the CAM's high
values. MHSA is the baseline that the paper compares with CAA: it spreads a CAM from all patches.
"""

import cv2
import numpy as np
import torch

from clipes_core.config.pseudo_masks import CamConfig
from clipes_core.errors import ShapeError
from clipes_core.gradcam import normalise_cam


def sinkhorn(attn_weights: torch.Tensor, rounds: int) -> torch.Tensor:
    """Scale the rows and columns of an attention matrix, so that it becomes nearly doubly stochastic.

    Args:
        attn_weights: (n, n) float, at least 0, rows are queries.
        rounds: number of rounds. Each round divides each column by its sum, and then each row by its sum.

    Returns:
        (n, n), the matrix D of eq. (6), in the dtype of `attn_weights`. The rows sum to 1 if there is at least one
        round. A row or column of zeros, which a very peaked softmax can produce, stays zero.

    Source: CLIP-ES sec. 3.3, eq. (6).
    """
    columns = attn_weights.new_ones(attn_weights.shape[1])
    rows = attn_weights.new_ones(attn_weights.shape[0])
    tiny = torch.finfo(attn_weights.dtype).tiny
    for _ in range(rounds):
        columns = 1 / (attn_weights.T @ rows).clamp_min(tiny)
        rows = 1 / (attn_weights @ columns).clamp_min(tiny)
    return attn_weights * columns * rows[:, None]


class Attention:
    """The attention of one photo in one view.

    The object caches the doubly stochastic form of the attention, because all CAMs of the photo need this form.

    Args:
        weights: (hw, hw) float, at least 0, rows are queries.

    Attributes:
        weights: the given tensor.
    """

    def __init__(self, weights: torch.Tensor) -> None:
        self.weights = weights
        self._balanced: dict[int, torch.Tensor] = {}

    def balanced(self, rounds: int) -> torch.Tensor:
        """Convert the weights to float64, and return the result of `sinkhorn`. The result is cached for each `rounds`.

        Args:
            rounds: number of rounds, as for `sinkhorn`.

        Returns:
            (hw, hw) float64, the matrix D of eq. (6).
        """
        if rounds not in self._balanced:
            self._balanced[rounds] = sinkhorn(self.weights.double(), rounds)
        return self._balanced[rounds]


def mhsa(cams: torch.Tensor, attention: Attention, photo_rgb: np.ndarray, config: CamConfig) -> torch.Tensor:
    """Spread each CAM along the attention, from all patches. This method is the paper's baseline for CAA.

    Args:
        cams: (K, h, w) float32 in [0, 1].
        attention: attention between the h x w patches.
        photo_rgb: not read.
        config: section `cam`. The function reads sinkhorn_rounds and power.

    Returns:
        (K, h, w) float32 in [0, 1].

    Raises:
        ShapeError: `attention` and `cams` have different numbers of patches.

    Source: CLIP-ES sec. 3.3.
    """
    everywhere = torch.ones_like(cams, dtype=torch.bool)
    return refine_cams(cams, attention.balanced(config.sinkhorn_rounds), everywhere, config.power)


def caa(cams: torch.Tensor, attention: Attention, photo_rgb: np.ndarray, config: CamConfig) -> torch.Tensor:
    """Spread each CAM along the attention, but only from the patches inside boxes around the CAM's high values.

    Args:
        cams: (K, h, w) float32 in [0, 1].
        attention: attention between the h x w patches.
        photo_rgb: not read.
        config: section `cam`. The function reads sinkhorn_rounds, box_threshold and power.

    Returns:
        (K, h, w) float32 in [0, 1].

    Raises:
        ShapeError: `attention` and `cams` have different numbers of patches.

    Source: CLIP-ES sec. 3.3, eq. (6), (7).
    """
    boxes = np.stack([box_mask(cam, config.box_threshold) for cam in cams.cpu().numpy()])
    masks = torch.from_numpy(boxes).to(cams.device)
    return refine_cams(cams, attention.balanced(config.sinkhorn_rounds), masks, config.power)


def box_mask(cam: np.ndarray, threshold: float) -> np.ndarray:
    """Draw boxes around the regions of a CAM that exceed a given share of the CAM's peak.

    Args:
        cam: (h, w) float in [0, 1].
        threshold: lambda in [0, 1), the share of the peak.

    Returns:
        (h, w) bool, the mask B_c of eq. (7): True inside the axis-aligned boxes around the 8-connected regions; all
        False if the CAM is all zero. As in the published program, a box ends before its right column and before its
        bottom row, which are at most w - 1 and h - 1. Therefore no box covers the last column or row.

    Source: CLIP-ES sec. 3.3, eq. (7). Same result as the reference.
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
    """Spread CAMs along the affinity, from given source patches.

    Args:
        cams: (K, h, w) float32 in [0, 1].
        balanced: (hw, hw) float64, the matrix D of eq. (6), which `sinkhorn` computes from the photo's attention.
            float64 is needed because the values of a nearly uniform attention can differ by less than the rounding
            error of float32.
        masks: (K, h, w) bool, true at the source patches of each CAM. If all values are true, the result is that of
            MHSA.
        power: t, number of times that the affinity A = (D + D^T) / 2 is applied.

    Returns:
        (K, h, w) float32 in [0, 1], min-max normalised; all zero for a CAM without source patches.

    Raises:
        ShapeError: `balanced` is not (hw, hw).

    Source: CLIP-ES eq. (7). Differs from the reference: the function computes A^t (B * cam) as t products
    of A and a vector, and does not compute the matrix A^t. The result is the same.
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
