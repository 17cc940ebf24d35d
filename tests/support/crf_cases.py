"""Class scores and photos for tests that compare CRF backends."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from clipes_core.crf_backends import CRF_BACKENDS
from clipes_core.pseudo_mask import scores_with_background


def require(backend: str) -> None:
    """Skip the test if the package of a CRF backend is not installed."""
    extra = CRF_BACKENDS[backend].extra
    if extra is not None:
        pytest.importorskip(extra.module)


def voc_photo(voc: Path, image_id: str) -> np.ndarray:
    """Return a photo as a writable (H, W, 3) uint8 array."""
    return np.array(Image.open(voc / "JPEGImages" / f"{image_id}.jpg").convert("RGB"))


def blobs(voc: Path, image_id: str, labels: int) -> np.ndarray:
    """Return (labels, H, W) scores that look like CAMs: shifted, blurred and noisy true masks of a photo.

    If the photo has fewer classes than `labels`, mirrored and shifted masks serve as further classes.
    """
    random = np.random.default_rng(labels)
    truth = np.asarray(Image.open(voc / "SegmentationClass" / f"{image_id}.png"))
    height, width = truth.shape
    present = [label for label in np.unique(truth).tolist() if label not in (0, 255)]
    cams = []
    for channel in range(labels - 1):
        mask = (truth == present[channel % len(present)]).astype(np.float32)
        if channel >= len(present):
            mask = np.roll(mask[:, ::-1], random.integers(0, (height, width)), (0, 1))
        mask = cv2.GaussianBlur(np.roll(mask, random.integers(-12, 13, 2), (0, 1)), (0, 0), 10)
        coarse = random.normal(0, 0.12, (height // 16 + 1, width // 16 + 1)).astype(np.float32)
        mask = np.clip(mask + cv2.resize(coarse, (width, height)), 0, None)
        cams.append(mask / mask.max() * random.uniform(0.7, 1))
    return scores_with_background(np.array(cams, np.float32), 1)


def random_scores(labels: int, height: int, width: int) -> np.ndarray:
    """Return (labels, H, W) scores without any structure."""
    return np.random.default_rng(labels).random((labels, height, width))


def smooth_scores(labels: int, height: int, width: int) -> np.ndarray:
    """Return (labels, H, W) random scores that change slowly from pixel to pixel."""
    coarse = random_scores(labels, height // 16 + 2, width // 16 + 2)
    return np.stack([cv2.resize(channel, (width, height)) for channel in coarse])


def random_image(height: int, width: int) -> np.ndarray:
    """Return an (H, W, 3) uint8 image of independent random values."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
