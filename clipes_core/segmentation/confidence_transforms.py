"""Replacements for the transforms Pad and PackSegInputs, for photos that have confidence maps.

Most transforms of MMSegmentation apply to all maps that `results["seg_fields"]` lists. Pad and PackSegInputs are
exceptions: of these maps, they process only the labels. The transforms in this module also process the confidence.
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
    """MMCV's Pad, extended to also pad the confidence: with 0, on the right and at the bottom.

    A pipeline needs this transform only if photos must have a fixed size before they are batched, for example because a
    later transform combines several photos into a mosaic. Otherwise, MMSegmentation's SegDataPreProcessor pads the
    photos of a batch.
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
    """MMSegmentation's PackSegInputs, extended to also pack the confidence, as `gt_confidence` of the data sample."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack the photo, its labels and its confidence for the network.

        Args:
            results: dict with the metadata of the photo, `img` ((H, W, 3) uint8 BGR), `gt_seg_map` ((H, W) uint8) and
                `gt_confidence` ((H, W) uint8).

        Returns:
            dict with two entries. `inputs` is (3, H, W) uint8 BGR. `data_samples` is one data sample, with `gt_sem_seg`
            ((1, H, W) int64) and `gt_confidence` ((1, H, W) uint8).

        Raises:
            ConfigError: `results` has no `gt_confidence`.
            ShapeError: confidence and labels differ in size.
        """
        if "gt_confidence" not in results:
            raise ConfigError(
                "PackConfidence found no gt_confidence: use a data set that returns it; if the masks have no "
                "confidence, use PackSegInputs instead of PackConfidence"
            )
        confidence, labels = results["gt_confidence"], results["gt_seg_map"]
        if confidence.shape != labels.shape:
            raise ShapeError(
                f"gt_confidence is {confidence.shape}, but gt_seg_map is {labels.shape}: list both in "
                "results['seg_fields'], and use PadWithConfidence instead of Pad, which pads only the labels"
            )
        packed = super().transform(results)
        packed["data_samples"].gt_confidence = PixelData(data=torch.from_numpy(confidence.copy())[None])
        return packed
