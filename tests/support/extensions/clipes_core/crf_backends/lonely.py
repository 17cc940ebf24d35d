"""A CRF backend without pairwise terms: it normalises the scores of each pixel."""

import numpy as np

from clipes_core.config.crf import DenseCrfConfig


def infer(unary: np.ndarray, image: np.ndarray, config: DenseCrfConfig) -> np.ndarray:
    """Return the (1 + K, H, W) posterior."""
    probs = np.exp(-unary)
    return probs / probs.sum(axis=0)
