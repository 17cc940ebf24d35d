"""Transforms for photos whose pseudo mask has a confidence map.

MMSegmentation's transforms apply to all maps that `results["seg_fields"]` lists. The exceptions are Pad and
PackSegInputs, which handle labels only. The transforms in this module replace these two.
"""

from typing import Any

import mmcv
import torch
from mmcv.transforms import Pad
from mmengine.structures import PixelData
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

from clipes_core.errors import ConfigError, ShapeError


@TRANSFORMS.register_module()
class PadWithConfidence(Pad):
    """MMCV's Pad, extended to pad the confidence with 0. It pads on the right and at the bottom.

    A pipeline needs this transform only if photos must have a fixed size before batching, for example because a later
    transform makes mosaics of them. Otherwise MMSegmentation's SegDataPreProcessor pads the batch, after it has
    normalised the photos.
    """

    def _pad_seg(self, results: dict[str, Any]) -> None:
        super()._pad_seg(results)
        if "gt_confidence" in results:
            shape = results["pad_shape"][:2]
            results["gt_confidence"] = mmcv.impad(
                results["gt_confidence"], shape=shape, pad_val=0, padding_mode=self.padding_mode
            )


@TRANSFORMS.register_module()
class PackConfidence(PackSegInputs):
    """MMSegmentation's PackSegInputs, extended to pack the confidence map as `gt_confidence` of the data sample."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack photo, labels and confidence.

        Args:
            results: metadata, `img` (H, W, 3) uint8 BGR, and `gt_seg_map` and `gt_confidence`, each (H, W) uint8.

        Returns:
            `inputs`, (3, H, W) uint8 BGR, and `data_samples`, with `gt_sem_seg` (1, H, W) int64 and `gt_confidence`
            (1, H, W) uint8.

        Raises:
            ConfigError: `results` has no `gt_confidence`.
            ShapeError: confidence and labels differ in size.
        """
        if "gt_confidence" not in results:
            raise ConfigError(
                "PackConfidence found no gt_confidence: the data set must return it; use PackSegInputs for truth"
            )
        confidence, labels = results["gt_confidence"], results["gt_seg_map"]
        if confidence.shape != labels.shape:
            raise ShapeError(
                f"gt_confidence is {confidence.shape} and gt_seg_map {labels.shape}: list both in "
                "results['seg_fields'], and use PadWithConfidence instead of Pad, which pads labels only"
            )
        packed = super().transform(results)
        packed["data_samples"].gt_confidence = PixelData(data=torch.from_numpy(confidence.copy())[None])
        return packed
