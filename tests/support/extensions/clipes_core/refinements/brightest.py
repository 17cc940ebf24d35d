"""A refinement that weights each patch of a CAM by the brightness of the photo."""

import numpy as np
import torch

from clipes_core.config.pseudo_masks import CamConfig


def brightest(cams: torch.Tensor, attention: None, photo_rgb: np.ndarray, config: CamConfig) -> torch.Tensor:
    """Weight (K, h, w) CAMs by the mean brightness of the photo's patches."""
    _, height, width = cams.shape
    rows, columns = photo_rgb.shape[0] // height, photo_rgb.shape[1] // width
    patches = photo_rgb.mean(axis=2).reshape(height, rows, width, columns).mean(axis=(1, 3)) / 255
    return cams * torch.from_numpy(patches).float().to(cams.device)
