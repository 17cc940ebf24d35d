"""Run a trained segmenter on photos: whole or in crops, at one or more scales, mirrored or not."""

from collections.abc import Iterator
from functools import reduce
from itertools import product
from operator import iadd

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample

from clipes_core.config.segmenter import EvaluationConfig
from clipes_core.dense_crf import dense_crf
from clipes_core.errors import ShapeError
from clipes_core.finite import OF_SEGMENTER, check_finite


def photo_mask(model: BaseSegmentor, image_rgb: np.ndarray, config: EvaluationConfig) -> np.ndarray:
    """Predict the class of each pixel of a photo.

    Args:
        model: as for `photo_probs`.
        image_rgb: (H, W, 3) uint8 RGB, [0, 255].
        config: settings of the prediction and of the dense CRF. If `crf.enabled` is true, the CRF refines the result.

    Returns:
        (H, W) uint8, ids 0..K.

    Raises:
        ShapeError: `image_rgb` is not (H, W, 3) uint8.
        PhotoError: NOT_FINITE if the output of the network contains NaN or infinity.
    """
    probs = photo_probs(model, image_rgb, config)
    if config.crf.enabled:
        return dense_crf(image_rgb, probs.cpu().numpy(), config.crf).argmax(axis=0).astype(np.uint8)
    return probs.argmax(dim=0).to(torch.uint8).cpu().numpy()


@torch.no_grad()
def photo_probs(model: BaseSegmentor, image_rgb: np.ndarray, config: EvaluationConfig) -> torch.Tensor:
    """Predict the class probabilities of each pixel of a photo.

    A view is the photo at one of the scales, mirrored or not. The logits of each view are resized bilinearly to the
    size of the photo. If `merge` is `mean`, the result is the mean of the probabilities of all views. If `merge` is
    `max`, the function takes the maximum of the logits over all views, and returns the softmax of this maximum.

    Args:
        model: any MMSegmentation segmentor that has the method `encode_decode`, in eval mode. The function passes the
            photo as BGR to the model's preprocessor, and ignores the model's `test_cfg`.
        image_rgb: (H, W, 3) uint8 RGB, [0, 255].
        config: section `evaluation`. The function reads the keys mode, crop, stride, scales, flip and merge.

    Returns:
        (1 + K, H, W) float32 on the model's device, in [0, 1]; the channels add up to 1.

    Raises:
        ShapeError: `image_rgb` is not (H, W, 3) uint8.
        PhotoError: NOT_FINITE if the output of the network contains NaN or infinity.

    Source: kazuto1011/deeplab-pytorch, on which the training of CLIP-ES is based. That repository takes the maximum
    over the scales 1, 0.75 and 0.5.
    Differs from the reference: the maximum is taken at the photo's size, not at the size of the logits.
    """
    if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8:
        raise ShapeError(f"image_rgb must be (H, W, 3) uint8, got {image_rgb.shape} {image_rgb.dtype}")
    views = _views(model, image_rgb, config)
    if config.merge == "max":
        return reduce(lambda most, logits: torch.maximum(most, logits, out=most), views).softmax(dim=0)
    total = reduce(iadd, (logits.softmax(dim=0) for logits in views))
    return total.div_(len(config.scales) * (2 if config.flip else 1))


def _views(model: BaseSegmentor, image_rgb: np.ndarray, config: EvaluationConfig) -> Iterator[torch.Tensor]:
    """Yield the logits of each view as a new (1 + K, H, W) float32 tensor, resized to the photo and mirrored back."""
    size_hw = image_rgb.shape[:2]
    for scale in config.scales:
        scaled = _scaled(image_rgb, scale)
        yield _resized(_logits(model, scaled, config), size_hw)
        if config.flip:
            yield _resized(_logits(model, scaled[:, ::-1], config), size_hw).flip(-1)


def _scaled(image_rgb: np.ndarray, scale: float) -> np.ndarray:
    height, width, _ = image_rgb.shape
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    return image_rgb if size == (width, height) else cv2.resize(image_rgb, size, interpolation=cv2.INTER_LINEAR)


def _logits(model: BaseSegmentor, image_rgb: np.ndarray, config: EvaluationConfig) -> torch.Tensor:
    """Return the (1 + K, h, w) float32 logits of a scaled or mirrored photo; average them where crops overlap."""
    height, width, _ = image_rgb.shape
    if config.mode == "whole":
        return _crop_logits(model, image_rgb)
    total: torch.Tensor | None = None
    times = np.zeros((height, width), np.float32)
    for row, column in product(*(_crops(side, config.crop, config.stride) for side in (height, width))):
        logits = _crop_logits(model, image_rgb[row, column])
        if total is None:
            total = logits.new_zeros((len(logits), height, width))
        total[:, row, column] += logits
        times[row, column] += 1
    assert total is not None  # there is at least one crop
    return total / torch.from_numpy(times).to(total.device)


def _crops(side: int, crop: int, stride: int) -> list[slice]:
    """Return the extent of each crop along a side. They start `stride` apart; the last crop ends with the side."""
    last = max(side - crop, 0)
    starts = [*range(0, last, stride), last]
    return [slice(start, min(start + crop, side)) for start in starts]


def _crop_logits(model: BaseSegmentor, image_rgb: np.ndarray) -> torch.Tensor:
    """Return the (1 + K, h, w) float32 logits of a crop, without the padding that the preprocessor adds."""
    height, width, _ = image_rgb.shape
    image = torch.from_numpy(np.ascontiguousarray(image_rgb[..., ::-1].transpose(2, 0, 1)))
    data = {"inputs": [image], "data_samples": [SegDataSample()]}
    inputs = model.data_preprocessor(data, training=False)["inputs"]
    size = inputs.shape[2:]  # MMSegmentation's heads resize their logits to this size
    meta = {"ori_shape": size, "img_shape": size, "pad_shape": size, "padding_size": [0, 0, 0, 0]}
    logits = _resized(model.encode_decode(inputs, [meta])[0].float(), size)
    check_finite(logits, "the output of the segmenter", OF_SEGMENTER)
    return logits[:, :height, :width]


def _resized(logits: torch.Tensor, size_hw: tuple[int, int]) -> torch.Tensor:
    if logits.shape[1:] == size_hw:
        return logits
    return F.interpolate(logits[None], size_hw, mode="bilinear", align_corners=False)[0]
