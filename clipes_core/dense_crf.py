"""The dense CRF that fits class scores to the photo's edges."""

from pkgutil import resolve_name
from typing import Literal

import numpy as np

from clipes_core.config.crf import DenseCrfConfig
from clipes_core.crf_backends import CRF_BACKENDS
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
        config: backend, kernels and iterations.
        image: the image that the bilateral kernel compares, see `crf_image`.

    Returns:
        (1 + K, H, W) float32 posterior, in [0, 1], adding up to 1 over the channels.

    Raises:
        ShapeError: `image_rgb` is not (H, W, 3) uint8, or `probs` has no channel or a different size.

    Source: Krähenbühl and Koltun 2011; CLIP-ES sec. 3.4; the published program's unary: -log of the scores clipped
        to [1e-5, 1], not renormalised.
    """
    _check_image(image_rgb)
    if probs.ndim != 3 or len(probs) == 0 or probs.shape[1:] != image_rgb.shape[:2]:
        height, width = image_rgb.shape[:2]
        raise ShapeError(f"probs must be (1 + K, {height}, {width}), got {probs.shape}")
    infer = resolve_name(CRF_BACKENDS[config.backend].function)
    return infer(_unary(probs), crf_image(image_rgb, image), config)


def _unary(probs: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(-np.log(probs.astype(np.float32).clip(LOWEST_PROB, 1)))


def crf_image(image_rgb: np.ndarray, mode: Literal["rgb", "reference"]) -> np.ndarray:
    """Make the image whose colours the bilateral kernel compares.

    Args:
        image_rgb: (H, W, 3) uint8 RGB, [0, 255].
        mode: `rgb` for the unchanged photo; `reference` for the published program's image: BGR minus MEAN_BGR,
            truncated toward zero, then modulo 256 (-0.5 becomes 0, -1.5 becomes 255).

    Returns:
        (H, W, 3) uint8, a new contiguous array; RGB or BGR by `mode`.

    Raises:
        ShapeError: `image_rgb` is not (H, W, 3) uint8.

    Source: the published program's input to pydensecrf.
    Differs from the reference: its cast of negative floats to uint8 depends on the platform; here the wrap-around is
        explicit, and the default mode does not change the photo.
    """
    _check_image(image_rgb)
    if mode == "rgb":
        return np.array(image_rgb, order="C")  # a copy: pydensecrf refuses read-only arrays, such as a PIL image's
    difference = np.trunc(image_rgb[..., ::-1] - np.array(MEAN_BGR))
    return np.ascontiguousarray(difference.astype(np.int16) % 256, dtype=np.uint8)


def _check_image(image_rgb: np.ndarray) -> None:
    if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8:
        raise ShapeError(f"image_rgb must be (H, W, 3) uint8, got {image_rgb.shape} {image_rgb.dtype}")
