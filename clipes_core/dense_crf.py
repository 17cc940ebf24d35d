"""The dense CRF that fits class scores to the photo's edges."""

from typing import Literal

import numpy as np
from pydensecrf.densecrf import DenseCRF2D

from clipes_core.config.run import DenseCrfConfig
from clipes_core.errors import ShapeError

LOWEST_PROB = 1e-5  # keeps -log finite
MEAN_BGR = (104.008, 116.669, 122.675)


def dense_crf(
    image_rgb: np.ndarray,
    probs: np.ndarray,
    config: DenseCrfConfig,
    image: Literal["rgb", "reference"] = "rgb",
) -> np.ndarray:
    """Run mean-field inference on a photo's class scores.

    Args:
        image_rgb: (H, W, 3) uint8 RGB, [0, 255].
        probs: (1 + K, H, W) float, in [0, 1]; channel 0 is background. They need not add up to 1.
        config: kernels and iterations.
        image: what the bilateral kernel compares, see `crf_image`.

    Returns:
        (1 + K, H, W) float32 posterior, in [0, 1], adding up to 1 over the channels.

    Raises:
        ShapeError: `image_rgb` is not (H, W, 3) uint8, or `probs` has no channel or another size.

    Source: Krähenbühl and Koltun 2011 through pydensecrf; CLIP-ES sec. 3.4; the published program's
        unary: -log of the scores clipped to [1e-5, 1], not renormalised.
    """
    _check_image(image_rgb)
    if probs.ndim != 3 or len(probs) == 0 or probs.shape[1:] != image_rgb.shape[:2]:
        height, width = image_rgb.shape[:2]
        raise ShapeError(f"probs must be (1 + K, {height}, {width}), got {probs.shape}")
    labels, height, width = probs.shape
    crf = DenseCRF2D(width, height, labels)
    crf.setUnaryEnergy(_unary(probs))
    _add_kernels(crf, crf_image(image_rgb, image), config)
    posterior = np.array(crf.inference(config.iter_max), dtype=np.float32)
    return posterior.reshape(probs.shape)


def _unary(probs: np.ndarray) -> np.ndarray:
    energy = -np.log(probs.astype(np.float32).clip(LOWEST_PROB, 1))
    return np.ascontiguousarray(energy.reshape(len(probs), -1))


def _add_kernels(crf: DenseCRF2D, image: np.ndarray, config: DenseCrfConfig) -> None:
    # A kernel without weight changes nothing, and building its lattice takes a quarter of the time.
    if config.pos_w:
        crf.addPairwiseGaussian(sxy=config.pos_xy_std, compat=config.pos_w)
    if config.bi_w:
        crf.addPairwiseBilateral(sxy=config.bi_xy_std, srgb=config.bi_rgb_std, rgbim=image, compat=config.bi_w)


def crf_image(image_rgb: np.ndarray, mode: Literal["rgb", "reference"]) -> np.ndarray:
    """Make the image whose colours the bilateral kernel compares.

    Args:
        image_rgb: (H, W, 3) uint8 RGB, [0, 255].
        mode: `rgb` for the photo as it is; `reference` for the published program's image: BGR minus MEAN_BGR,
            truncated toward zero, then modulo 256 (-0.5 becomes 0, -1.5 becomes 255).

    Returns:
        (H, W, 3) uint8, a new contiguous array; RGB or BGR by `mode`.

    Raises:
        ShapeError: `image_rgb` is not (H, W, 3) uint8.

    Source: the published program's input to pydensecrf.
    Differs from the reference: its cast of negative floats to uint8 depends on the platform; here the
        wrap-around is spelled out, and the default leaves the photo alone.
    """
    _check_image(image_rgb)
    if mode == "rgb":
        return np.array(image_rgb, order="C")  # pydensecrf takes no read-only arrays, such as a PIL image's
    difference = np.trunc(image_rgb[..., ::-1] - np.array(MEAN_BGR))
    return np.ascontiguousarray(difference.astype(np.int16) % 256, dtype=np.uint8)


def _check_image(image_rgb: np.ndarray) -> None:
    if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8:
        raise ShapeError(f"image_rgb must be (H, W, 3) uint8, got {image_rgb.shape} {image_rgb.dtype}")
