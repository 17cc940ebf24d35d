"""The dense CRF of the package pydensecrf."""

import numpy as np
from pydensecrf.densecrf import DenseCRF2D

from clipes_core.config.crf import DenseCrfConfig


def infer(unary: np.ndarray, image: np.ndarray, config: DenseCrfConfig) -> np.ndarray:
    """Run mean-field inference.

    Args:
        unary: (1 + K, H, W) float32, C order.
        image: (H, W, 3) uint8 in C order. It must be writable, because pydensecrf refuses a read-only array.
        config: kernels and number of iterations.

    Returns:
        (1 + K, H, W) float32 posterior, in [0, 1]; the channels add up to 1.

    Source: Krähenbühl and Koltun 2011.
    """
    labels, height, width = unary.shape
    crf = DenseCRF2D(width, height, labels)
    crf.setUnaryEnergy(unary.reshape(labels, -1))
    _add_kernels(crf, image, config)
    posterior = np.array(crf.inference(config.iter_max), dtype=np.float32)
    return posterior.reshape(unary.shape)


def _add_kernels(crf: DenseCRF2D, image: np.ndarray, config: DenseCrfConfig) -> None:
    # A kernel of weight 0 has no effect, but building its lattice would take a quarter of the CRF's running time.
    if config.pos_w:
        crf.addPairwiseGaussian(sxy=config.pos_xy_std, compat=config.pos_w)
    if config.bi_w:
        crf.addPairwiseBilateral(sxy=config.bi_xy_std, srgb=config.bi_rgb_std, rgbim=image, compat=config.bi_w)
