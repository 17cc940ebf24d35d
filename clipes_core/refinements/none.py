"""No refinement: the refined CAMs equal the initial CAMs."""

from collections.abc import Sequence

import numpy as np
import torch

from clipes_core.config.pseudo_masks import CamConfig


def none(cams: np.ndarray, attention: None, photos_rgb: Sequence[np.ndarray], config: CamConfig) -> torch.Tensor:
    """Return a copy of the CAMs.

    Args:
        cams: (Q, h, w) float32 in [0, 1].
        attention: not read.
        photos_rgb: not read.
        config: not read.

    Returns:
        (Q, h, w) float32 in [0, 1].
    """
    return torch.from_numpy(cams.copy())
