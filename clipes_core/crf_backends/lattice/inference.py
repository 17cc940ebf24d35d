"""Mean-field inference of a dense CRF on the permutohedral lattice."""

import numpy as np

from clipes_core.config.crf import DenseCrfConfig
from clipes_core.crf_backends.lattice.filters import channel_type
from clipes_core.crf_backends.lattice.gaussian_kernels import bilateral_kernel, position_kernel
from clipes_core.crf_backends.lattice.mean_field import mean_field


def infer(unary: np.ndarray, image: np.ndarray, config: DenseCrfConfig) -> np.ndarray:
    _, height, width = unary.shape
    kernels = []
    if config.pos_w:
        kernels.append(position_kernel(width, height, config.pos_xy_std, config.pos_w))
    if config.bi_w:
        kernels.append(bilateral_kernel(image, config.bi_xy_std, config.bi_rgb_std, config.bi_w))
    return mean_field(unary, kernels, config.iter_max)
