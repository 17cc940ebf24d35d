"""Compute pseudo masks and confidence maps from CAMs, as training data for a segmentation network."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from clipes_core.confidence import (
    confidence_from_cams,
    confidence_from_posterior,
    lowest_kept_level,
    quantise,
)
from clipes_core.config.pseudo_masks import ConfidenceConfig, CrfConfig
from clipes_core.dense_crf import dense_crfs
from clipes_core.device import Job, finish
from clipes_core.errors import ShapeError
from clipes_core.finite import OF_CLIP, check_finite

IGNORE_INDEX = 255  # as in VOC, COCO-Stuff and MMSegmentation: such pixels are excluded from loss and mIoU


@dataclass(frozen=True, eq=False)
class PseudoMask:
    """The pseudo mask of one photo and its confidence.

    Attributes:
        mask: (H, W) uint8, 0 for background, otherwise one of the photo's class ids; never IGNORE_INDEX.
        confidence: (H, W) uint8, round(255 c), where c in [0, 1] is the confidence of the pixel.
        crf_changed: share of the pixels whose id the CRF changed, in [0, 1]; None if there was no CRF, or if the photo
            has no classes.
    """

    mask: np.ndarray
    confidence: np.ndarray
    crf_changed: float | None = None


def pseudo_mask(
    image_rgb: np.ndarray,
    refined_cam: np.ndarray,
    class_ids: np.ndarray,
    crf: CrfConfig,
    confidence: ConfidenceConfig,
) -> PseudoMask:
    """Label each pixel of a photo with background or one of the photo's classes.

    Args:
        image_rgb: (H, W, 3) uint8 RGB, [0, 255].
        refined_cam: (K, h, w) float on the patch grid, in [0, 1].
        class_ids: (K,) int, class ids in [1, 254], in the order of `refined_cam`; may be empty.
        crf: settings of the CRF. If `enabled` is false, the mask is the argmax over the background score and the CAMs.
        confidence: settings of the confidence. If `source` is `crf`, a pixel's confidence is its largest CRF posterior,
            or its largest score if the CRF is disabled. If `source` is `cam`, the confidence follows eq. (8).

    Returns:
        Mask and confidence at the photo's size. If several labels share the highest score of a pixel, background
        has priority over classes, and classes have priority in the order of `class_ids`. If the photo has no classes,
        every pixel is background with confidence 1, and the CRF is skipped.

    Raises:
        ShapeError: `class_ids` has the wrong length or an id outside [1, 254]; `refined_cam` is not (K, h, w) with
            h, w >= 1; or the CRF is enabled and `image_rgb` is not (H, W, 3) uint8.
        PhotoError: NOT_FINITE if a CAM or the posterior of the CRF contains NaN or infinity; TOO_LARGE if the photo is
            too large for the standard deviations of the CRF.

    Source: CLIP-ES sec. 3.4, eq. (8); eval_cam_with_crf.py of the published program.
    Differs from the reference: this function gets CAMs on the patch grid and resizes them to the photo's size. The
    reference reads CAMs that were stored at the photo's size, rounded to float16.
    """
    (made,) = finish(pseudo_masks([(image_rgb, refined_cam, class_ids)], crf, confidence))
    return made


def pseudo_masks(
    photos: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    crf: CrfConfig,
    confidence: ConfidenceConfig,
    device: str | None = None,
) -> Job[list[PseudoMask]]:
    """Label each pixel of several photos with background or one of the classes of its photo.

    Args:
        photos: `image_rgb`, `refined_cam` and `class_ids` of each photo; see `pseudo_mask`.
        crf: settings of the CRF; see `pseudo_mask`.
        confidence: settings of the confidence; see `pseudo_mask`.
        device: torch device that computes the CRF; the backend of the CRF must support devices. If it is None, the
            processor computes the CRF of one photo after the other.

    Yields:
        None, whenever it would wait for the device.

    Returns:
        Mask and confidence of each photo; see `pseudo_mask`.

    Raises:
        ShapeError, PhotoError: in the cases in which `pseudo_mask` raises them. The error does not name the photo.
    """
    for _, refined_cam, class_ids in photos:
        _check_ids(class_ids, len(refined_cam))
        check_finite(refined_cam, "a CAM", OF_CLIP)
    with_classes = [photo for photo in photos if len(photo[2])]
    images = [image_rgb for image_rgb, _, _ in with_classes]
    cams = [resize_cams(refined_cam, image_rgb.shape[:2]) for image_rgb, refined_cam, _ in with_classes]
    probs = [scores_with_background(each, crf.background_power) for each in cams]
    before: list[np.ndarray | None] = [None] * len(probs)
    if crf.enabled:
        before = [each.argmax(axis=0) for each in probs]
        probs = yield from dense_crfs(images, probs, crf, device, crf.image)
    ids = [class_ids for _, _, class_ids in with_classes]
    made = (_label(*each, confidence) for each in zip(ids, cams, probs, before, strict=True))
    return [next(made) if len(class_ids) else _background(image_rgb) for image_rgb, _, class_ids in photos]


def _label(
    class_ids: np.ndarray,
    cams: np.ndarray,
    probs: np.ndarray,
    before_crf: np.ndarray | None,
    confidence: ConfidenceConfig,
) -> PseudoMask:
    """Make a mask from (1 + K, H, W) probabilities; `before_crf` has the channel of each pixel before the CRF."""
    sure = confidence_from_cams(cams) if confidence.source == "cam" else confidence_from_posterior(probs)
    ids = np.concatenate([[0], class_ids]).astype(np.uint8)
    channels = probs.argmax(axis=0)
    changed = None if before_crf is None else float((channels != before_crf).mean())
    return PseudoMask(ids[channels], quantise(sure), changed)


def _background(image_rgb: np.ndarray) -> PseudoMask:
    """Return the mask of a photo without classes."""
    size = image_rgb.shape[:2]
    return PseudoMask(np.zeros(size, np.uint8), np.full(size, 255, np.uint8))


def _check_ids(class_ids: np.ndarray, count: int) -> None:
    if class_ids.shape != (count,):
        raise ShapeError(f"class_ids must be ({count},) for {count} CAMs, got {class_ids.shape}")
    if not all(1 <= class_id < IGNORE_INDEX for class_id in class_ids.tolist()):
        raise ShapeError(f"class_ids must be in [1, {IGNORE_INDEX - 1}], got {class_ids.tolist()}")


def resize_cams(cams: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Resize CAMs bilinearly, for example from the patch grid to the photo's size.

    Args:
        cams: (K, h, w) float, in [0, 1]; K may be 0.
        size_hw: height and width of the result [px].

    Returns:
        (K, H, W) float32, in [0, 1].

    Raises:
        ShapeError: `cams` does not have three axes, or h or w is 0.

    Source: the published program, which uses cv2.INTER_LINEAR.
    """
    if cams.ndim != 3 or 0 in cams.shape[1:]:
        raise ShapeError(f"cams must be (K, h, w) with h, w >= 1, got {cams.shape}")
    height, width = size_hw
    resized = np.empty((len(cams), height, width), np.float32)
    # Each CAM is resized on its own, because cv2 expects the channels last and accepts at most 512 of them.
    for cam, target in zip(cams.astype(np.float32), resized, strict=True):
        target[:] = cv2.resize(cam, (width, height), interpolation=cv2.INTER_LINEAR)
    return resized


def background_score(peak: np.ndarray, power: float) -> np.ndarray:
    """Compute the background's score at each pixel from the highest CAM value at the pixel.

    Args:
        peak: float array of any shape, the highest CAM value at each pixel, in [0, 1].
        power: exponent p > 0. A larger exponent gives a lower score.

    Returns:
        (1 - peak)^p, same shape and dtype, in [0, 1].

    Source: the published program. It uses p = 1 for pseudo masks. To evaluate CAMs, it tries several exponents and
    reports the best result.
    """
    return np.clip(1 - peak, 0, 1) ** power


def scores_with_background(cams: np.ndarray, power: float) -> np.ndarray:
    """Prepend the background's score to the CAMs of the classes.

    Args:
        cams: (K, H, W) float, in [0, 1]; K may be 0.
        power: exponent p > 0 of the background score (1 - max CAM)^p.

    Returns:
        (1 + K, H, W), dtype of `cams`, in [0, 1]; the channels need not add up to 1.

    Raises:
        ShapeError: `cams` does not have three axes.
    """
    if cams.ndim != 3:
        raise ShapeError(f"cams must be (K, H, W), got {cams.shape}")
    peak = cams.max(axis=0, initial=0)
    return np.concatenate([background_score(peak, power)[None], cams])


def ignore_unsure(mask: np.ndarray, confidence_u8: np.ndarray, mu: float) -> np.ndarray:
    """Copy a mask, and set the pixels of low confidence to IGNORE_INDEX in the copy.

    Args:
        mask: (H, W) uint8.
        confidence_u8: (H, W) uint8, round(255 c), where c in [0, 1] is the confidence of the pixel.
        mu: threshold of the confidence, in [0, 1]. A pixel is ignored if confidence_u8 / 255 < mu. If mu is 0.95, for
            example, pixels with a `confidence_u8` from 0 to 242 are ignored.

    Returns:
        (H, W) uint8, a copy of `mask` with IGNORE_INDEX at the ignored pixels.

    Raises:
        ShapeError: `mask` and `confidence_u8` differ in shape, or one of them is not uint8.

    Source: CLIP-ES sec. 3.4, eq. (9).
    """
    if mask.shape != confidence_u8.shape or mask.dtype != np.uint8 or confidence_u8.dtype != np.uint8:
        raise ShapeError(
            "mask and confidence must be uint8 arrays of the same shape (H, W), "
            f"got {mask.shape} {mask.dtype} and {confidence_u8.shape} {confidence_u8.dtype}"
        )
    return np.where(confidence_u8 < lowest_kept_level(mu), np.uint8(IGNORE_INDEX), mask)
