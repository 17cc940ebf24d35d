"""A refinement that weights each patch of a CAM by the brightness of the photo."""

from collections.abc import Sequence

import numpy as np
import torch

from clipes_core.config.pseudo_masks import CamConfig


def brightest(cams: np.ndarray, attention: None, photos_rgb: Sequence[np.ndarray], config: CamConfig) -> torch.Tensor:
    """Weight (Q, h, w) CAMs by the mean brightness of the patches of their photos."""
    _, height, width = cams.shape
    weights = []
    for photo_rgb in photos_rgb:
        rows, columns = photo_rgb.shape[0] // height, photo_rgb.shape[1] // width
        weights.append(photo_rgb.mean(axis=2).reshape(height, rows, width, columns).mean(axis=(1, 3)) / 255)
    return torch.from_numpy(cams * np.stack(weights).astype(np.float32))
