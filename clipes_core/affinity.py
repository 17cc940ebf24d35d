"""Spread CAMs along CLIP's attention by one of two methods: CAA or MHSA.

CAA is class-aware attention-based affinity: it spreads a CAM only from the patches inside boxes around the CAM's high
values. MHSA is the baseline that the paper compares with CAA: it spreads a CAM from all patches.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from clipes_core.config.pseudo_masks import CamConfig
from clipes_core.device import upload
from clipes_core.errors import ShapeError
from clipes_core.flattened import by_photo
from clipes_core.gradcam import normalise_cam


def sinkhorn(attn_weights: torch.Tensor, rounds: int) -> torch.Tensor:
    """Scale the rows and columns of attention matrices, so that they become nearly doubly stochastic.

    Args:
        attn_weights: (..., n, n) float, at least 0, rows are queries.
        rounds: number of rounds. Each round divides each column by its sum, and then each row by its sum.

    Returns:
        (..., n, n), the matrices D of eq. (6), in the dtype of `attn_weights`. The rows sum to 1 if there is at least
        one round. A row or column of zeros, which a very peaked softmax can produce, stays zero.

    Source: CLIP-ES sec. 3.3, eq. (6).
    """
    rows = attn_weights.new_ones((*attn_weights.shape[:-1], 1))
    columns = torch.ones_like(rows)
    tiny = torch.finfo(attn_weights.dtype).tiny
    for _ in range(rounds):
        columns = 1 / (attn_weights.mT @ rows).clamp_min(tiny)
        rows = 1 / (attn_weights @ columns).clamp_min(tiny)
    return (attn_weights * columns.mT).mul_(rows)


class Attention:
    """The attention of a batch of photos in one view, along which CAMs spread.

    The object caches the doubly stochastic form of the attention, because all templates need this form. It takes
    8 B n^2 bytes for B photos of n patches, and twice that while it is computed. On a GPU, a batch has at most 2048
    patches per GiB of free memory, so this is at most n / 320 percent of the memory: 3 % for a photo of 500x500 pixels.

    Args:
        weights: (B, n, n) float, at least 0, rows are queries; on a device that supports float64.
        counts: B numbers of CAMs, one per photo.
    """

    def __init__(self, weights: torch.Tensor, counts: Sequence[int]) -> None:
        self._weights, self._counts = weights, counts
        self._balanced: dict[int, torch.Tensor] = {}

    def spread(self, sources: np.ndarray, rounds: int, power: int) -> torch.Tensor:
        """Spread maps along the affinity of their photos.

        The computation uses float64, because the values of a nearly uniform attention can differ by less than the
        rounding error of float32.

        Args:
            sources: (Q, h, w) float32, CAMs of all photos of the batch, photo by photo, with zeros where a CAM does not
                spread from.
            rounds: number of rounds of `sinkhorn`.
            power: t, number of times that the affinity A = (D + D^T) / 2 is applied.

        Returns:
            (Q, h, w) float32 in [0, 1], min-max normalised, on the device of the attention; all zero for a map of
            zeros.

        Raises:
            ShapeError: the maps and the attention have different numbers of patches.

        Source: CLIP-ES eq. (7). Differs from the reference: the function computes A^t (B * cam) as t products of A and
        a vector, and does not compute the matrix A^t. The result is the same.
        """
        if (patches := sources[0].size) != self._weights.shape[-1]:
            raise ShapeError(f"attention must be ({patches}, {patches}), got {tuple(self._weights.shape[1:])}")
        balanced = self._balance(rounds)

        def apply(photos: slice, maps: torch.Tensor) -> torch.Tensor:
            """Apply the affinity to the (b, K, n) maps of some photos."""
            for _ in range(power):
                maps = (maps @ balanced[photos].mT + maps @ balanced[photos]) / 2
            return maps

        given = upload(sources, self._weights.device)
        spread = by_photo(given.double().flatten(1), self._counts, apply)
        return normalise_cam(spread.view_as(given)).float()

    def _balance(self, rounds: int) -> torch.Tensor:
        """Return the result of `sinkhorn` in float64. The result is cached for each `rounds`."""
        if rounds not in self._balanced:
            self._balanced[rounds] = sinkhorn(self._weights.double(), rounds)
        return self._balanced[rounds]


def mhsa(cams: np.ndarray, attention: Attention, photos_rgb: Sequence[np.ndarray], config: CamConfig) -> torch.Tensor:
    """Spread each CAM along the attention, from all patches. This method is the paper's baseline for CAA.

    Args:
        cams: (Q, h, w) float32 in [0, 1], the CAMs of all photos of a batch.
        attention: attention of the photos.
        photos_rgb: not read.
        config: section `cam`. The function reads sinkhorn_rounds and power.

    Returns:
        (Q, h, w) float32 in [0, 1].

    Raises:
        ShapeError: `attention` and `cams` have different numbers of patches.

    Source: CLIP-ES sec. 3.3.
    """
    return attention.spread(cams, config.sinkhorn_rounds, config.power)


def caa(cams: np.ndarray, attention: Attention, photos_rgb: Sequence[np.ndarray], config: CamConfig) -> torch.Tensor:
    """Spread each CAM along the attention, but only from the patches inside boxes around the CAM's high values.

    Args:
        cams: (Q, h, w) float32 in [0, 1], the CAMs of all photos of a batch.
        attention: attention of the photos.
        photos_rgb: not read.
        config: section `cam`. The function reads sinkhorn_rounds, box_threshold and power.

    Returns:
        (Q, h, w) float32 in [0, 1]; all zero for a CAM without boxes.

    Raises:
        ShapeError: `attention` and `cams` have different numbers of patches.

    Source: CLIP-ES sec. 3.3, eq. (6), (7).
    """
    boxes = np.stack([box_mask(cam, config.box_threshold) for cam in cams])
    return attention.spread(cams * boxes, config.sinkhorn_rounds, config.power)


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
