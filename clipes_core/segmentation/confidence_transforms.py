"""The last steps of a training pipeline, for photos whose pseudo mask has a confidence map.

MMSegmentation's transforms carry all maps that `results["seg_fields"]` lists. These two are for where it
has labels only.
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
    """MMCV's Pad, with a confidence of 0 beside it: at the right and bottom, photo and labels with `pad_val`.

    MMSegmentation's SegDataPreProcessor pads a batch, too, and after the photo's normalisation. A pipeline needs this
    one only if photos have to have their size before, such as for a mosaic.
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
    """MMSegmentation's PackSegInputs, with the confidence map as `gt_confidence` of the data sample."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack photo, labels and confidence.

        Args:
            results: `img` (H, W, 3) uint8 BGR, `gt_seg_map` and `gt_confidence` (H, W) uint8; and meta information.

        Returns:
            `inputs`, (3, H, W) uint8 BGR, and `data_samples`, with `gt_sem_seg` (1, H, W) int64 and `gt_confidence`
            (1, H, W) uint8.

        Raises:
            ConfigError: there is no confidence.
            ShapeError: confidence and labels differ in size.
        """
        if "gt_confidence" not in results:
            raise ConfigError(
                "PackConfidence found no gt_confidence: the data set has to give it; pack truth with PackSegInputs"
            )
        confidence, labels = results["gt_confidence"], results["gt_seg_map"]
        if confidence.shape != labels.shape:
            raise ShapeError(
                f"gt_confidence is {confidence.shape} and gt_seg_map {labels.shape}: results['seg_fields'] has to list "
                "both; and PadWithConfidence stands in for Pad, which knows labels only"
            )
        packed = super().transform(results)
        packed["data_samples"].gt_confidence = PixelData(data=torch.from_numpy(confidence.copy())[None])
        return packed
