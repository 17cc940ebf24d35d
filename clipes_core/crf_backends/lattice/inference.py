"""Mean-field inference of a dense CRF on the permutohedral lattice."""

from collections.abc import Callable

import numpy as np
from numba.core.event import install_listener

from clipes_core.config.crf import DenseCrfConfig
from clipes_core.crf_backends.lattice.compilation import CACHE_FAULTS, FirstCompilation
from clipes_core.crf_backends.lattice.gaussian_kernels import bilateral_kernel, position_kernel
from clipes_core.crf_backends.lattice.mean_field import lanes_for, mean_field

LABELS = (2, 3, 4, 6, 10)  # one number of labels for each kind of element and softmax


def infer(unary: np.ndarray, image: np.ndarray, config: DenseCrfConfig) -> np.ndarray:
    """Run mean-field inference.

    Memory, apart from the arguments and the result: at most 620 bytes a pixel, 28 bytes a pixel and lane (of 1, 2, 4 or
    8 lanes), and 12 bytes a pixel and label. That is the need of pure noise, where each pixel has 6 vertices of its
    own; photos need about a third. A process keeps up to 32 MiB of each array for the next photo.

    Args:
        unary: (1 + K, H, W) float32, C order.
        image: (H, W, 3) uint8 in C order.
        config: kernels and number of iterations.

    Returns:
        (1 + K, H, W) float32 posterior, in [0, 1]; the channels add up to 1. It is NaN if a unary is not finite.

    Raises:
        PhotoError: TOO_LARGE if the photo is too large for the standard deviations.

    Source: Krähenbühl and Koltun 2011; Adams, Baek and Davis 2010.
    """
    labels, height, width = unary.shape
    if not np.isfinite(unary).all():
        return np.full_like(unary, np.nan)
    if labels == 1:
        return np.ones_like(unary)
    # the kernels are compiled for writable arrays
    unary, image = (np.require(array, requirements=["C", "W"]) for array in (unary, image))
    kernels = []
    if config.pos_w:
        kernels.append(position_kernel(width, height, lanes_for(labels), config.pos_xy_std, config.pos_w))
    if config.bi_w:
        kernels.append(bilateral_kernel(image, config.bi_xy_std, config.bi_rgb_std, config.bi_w))
    return mean_field(unary, kernels, config.iter_max)


def prepare(inform: Callable[[str], None], warn: Callable[[str], None]) -> None:
    """Compile the kernels, unless their machine code is stored from before. It takes about 20 s of a core.

    Call this before several processes use the backend, because each of them would compile the kernels on its own.

    Args:
        inform: called with a message before a compilation.
        warn: called with a message if the machine code cannot be stored, so that it would be of no use to others.
    """
    if CACHE_FAULTS:
        warn(
            f"numba cannot store the machine code of the CRF ({CACHE_FAULTS[0]}). Each process that computes masks "
            "therefore compiles it again, which takes about 20 s. Set the environment variable NUMBA_CACHE_DIR to a "
            "folder that can be written"
        )
        return
    image = np.zeros((2, 3, 3), np.uint8)
    listener = FirstCompilation(lambda: inform("compiling the CRF, once for this installation (about 20 s)"))
    with install_listener("numba:compile", listener):
        for labels in LABELS:
            for pos_xy_std in (1, 2):
                infer(np.zeros((labels, 2, 3), np.float32), image, DenseCrfConfig(pos_xy_std=pos_xy_std, iter_max=1))
