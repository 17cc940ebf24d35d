"""The dense CRF, which fits class scores to a photo's edges. It refines pseudo masks and segmenter predictions."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from clipes_core.config.crf import DenseCrfConfig
from clipes_core.crf_backends import CRF_BACKENDS
from clipes_core.device import Job
from clipes_core.errors import ShapeError
from clipes_core.finite import OF_CRF, check_finite

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
        probs: (1 + K, H, W) float scores, in [0, 1]; channel 0 is background. The channels need not add up to 1.
        config: backend, kernels and iterations.
        image: selects the image whose colours the bilateral kernel compares; see `mode` of `crf_image`.

    Returns:
        (1 + K, H, W) float32 posterior, in [0, 1]; the channels add up to 1.

    Raises:
        ShapeError: `image_rgb` is not (H, W, 3) uint8, or `probs` is not (1 + K, H, W) of the photo's size.
        PhotoError: NOT_FINITE if the posterior contains NaN or infinity; TOO_LARGE if the backend cannot handle a photo
            of this size with these standard deviations.

    Source: Krähenbühl and Koltun 2011; CLIP-ES sec. 3.4; the published program. As in the published program, the
        scores are clipped to [1e-5, 1] without renormalisation, and the unary is -log of the clipped scores.
    """
    _check_shapes(image_rgb, probs)
    infer = CRF_BACKENDS[config.backend].load()
    posterior: np.ndarray = infer(_unary(probs), crf_image(image_rgb, image), config)
    check_finite(posterior, "the posterior of the CRF", OF_CRF)
    return posterior


def check_crf(config: DenseCrfConfig, section: str) -> None:
    """Check that the package of the backend is installed.

    Args:
        config: names the backend.
        section: config key of `config`, for the error message.

    Raises:
        ConfigError: the backend needs an extra of clipes that is not installed.
    """
    extra = CRF_BACKENDS[config.backend].extra
    if extra is not None:
        extra.check(f"{section}.backend={config.backend}")


def with_installed_backend(config: DenseCrfConfig) -> DenseCrfConfig:
    """Return settings with the default backend if the package of an exact backend is not installed.

    The labels stay the same, because the default backend is exact as well.

    Args:
        config: settings of the CRF, for example of a run that was made on another installation.
    """
    backend = CRF_BACKENDS[config.backend]
    if backend.extra is None or backend.extra.installed or not backend.exact:
        return config
    return config.model_copy(update={"backend": DenseCrfConfig().backend})


def dense_crfs(
    images_rgb: Sequence[np.ndarray],
    probs: Sequence[np.ndarray],
    config: DenseCrfConfig,
    device: str | None,
    image: Literal["rgb", "reference"] = "rgb",
) -> Job[list[np.ndarray]]:
    """Run mean-field inference on the class scores of several photos.

    On a device, photos of one size and with the same number of labels are computed together. The result for a photo
    does not depend on the other photos.

    Args:
        images_rgb: the photos; see `dense_crf`.
        probs: the scores of each photo; see `dense_crf`.
        config: backend, kernels and iterations.
        device: torch device that computes; the backend must support devices. If it is None, the processor computes one
            photo after the other, as `dense_crf` does.
        image: selects the image whose colours the bilateral kernel compares; see `mode` of `crf_image`.

    Yields:
        None, before it waits for the device, so that the caller can queue other work.

    Returns:
        The posterior of each photo, as `dense_crf` returns it. On a device, it can differ by rounding.

    Raises:
        ShapeError, PhotoError: in the cases in which `dense_crf` raises them. The error does not name the photo.
    """
    if device is None:
        return [dense_crf(*photo, config, image) for photo in zip(images_rgb, probs, strict=True)]
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, (image_rgb, scores) in enumerate(zip(images_rgb, probs, strict=True)):
        _check_shapes(image_rgb, scores)
        groups[scores.shape].append(place)
    on_devices = CRF_BACKENDS[config.backend].on_devices
    assert on_devices is not None  # `crf.device` is checked with the configuration
    infer_batch, queued = on_devices.load(), []
    for places in groups.values():
        unaries = np.stack([_unary(probs[place]) for place in places])
        images = np.stack([crf_image(images_rgb[place], image) for place in places])
        queued.append((places, infer_batch(unaries, images, config, device)))
    yield
    posteriors = {place: posterior for places, get in queued for place, posterior in zip(places, get(), strict=True)}
    for posterior in posteriors.values():
        check_finite(posterior, "the posterior of the CRF", OF_CRF)
    return [posteriors[place] for place in range(len(images_rgb))]


def prepare_crf(config: DenseCrfConfig, inform: Callable[[str], None], warn: Callable[[str], None]) -> None:
    """Do what the backend needs before several processes use it on this host, such as a compilation.

    Args:
        config: names the backend.
        inform: called with a message before work that takes long.
        warn: called with a message if the preparation will not help other processes.
    """
    preparation = CRF_BACKENDS[config.backend].preparation
    if preparation is not None:
        preparation.load()(inform, warn)


def _unary(probs: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(-np.log(probs.astype(np.float32).clip(LOWEST_PROB, 1)))


def crf_image(image_rgb: np.ndarray, mode: Literal["rgb", "reference"]) -> np.ndarray:
    """Compute the image whose colours the bilateral kernel compares.

    Args:
        image_rgb: (H, W, 3) uint8 RGB, [0, 255].
        mode: `rgb` for the unchanged photo; `reference` for the published program's image, which is BGR minus
            MEAN_BGR, truncated toward zero, then taken modulo 256 (-0.5 becomes 0, -1.5 becomes 255).

    Returns:
        (H, W, 3) uint8, a new contiguous array; RGB in mode `rgb`, BGR in mode `reference`.

    Raises:
        ShapeError: `image_rgb` is not (H, W, 3) uint8.

    Source: the image that the published program gives to pydensecrf.
    Differs from the published program: mode `rgb` does not change the photo. In mode `reference`, the modulo is
        explicit. The published program casts negative floats to uint8, which gives other results on some platforms.
    """
    _check_image(image_rgb)
    if mode == "rgb":
        return np.array(image_rgb, order="C")  # a copy, because pydensecrf refuses read-only arrays
    difference = np.trunc(image_rgb[..., ::-1] - np.array(MEAN_BGR))
    return np.ascontiguousarray(difference.astype(np.int16) % 256, dtype=np.uint8)


def _check_shapes(image_rgb: np.ndarray, probs: np.ndarray) -> None:
    _check_image(image_rgb)
    if probs.ndim != 3 or len(probs) == 0 or probs.shape[1:] != image_rgb.shape[:2]:
        height, width = image_rgb.shape[:2]
        raise ShapeError(f"probs must be (1 + K, {height}, {width}), got {probs.shape}")


def _check_image(image_rgb: np.ndarray) -> None:
    if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8:
        raise ShapeError(f"image_rgb must be (H, W, 3) uint8, got {image_rgb.shape} {image_rgb.dtype}")
