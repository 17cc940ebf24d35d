"""No refinement: the refined CAMs equal the initial CAMs."""

import numpy as np
import torch

from clipes_core.config.pseudo_masks import CamConfig


def none(cams: torch.Tensor, attention: None, photo_rgb: np.ndarray, config: CamConfig) -> torch.Tensor:
    """Return a copy of the CAMs.

    Args:
        cams: (K, h, w) float32 in [0, 1].
        attention: not read.
        photo_rgb: not read.
        config: not read.

    Returns:
        (K, h, w) float32 in [0, 1].
    """
    return cams.clone()
