"""Train on several scales of each photo in one iteration, as kazuto1011/deeplab-pytorch does."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from torch import Tensor, nn

from clipes_core.errors import ShapeError


@MODELS.register_module()
class MultiScaleEncoderDecoder(EncoderDecoder):
    """An EncoderDecoder with one loss per scale of the photo, and one more loss for the maximum over all scales.

    The maximum is the largest logit of each pixel and class, at the size of the logits of the first scale. Each loss is
    computed at the size of its logits, and the labels are resized to this size by nearest neighbour. All heads of the
    model, including auxiliary heads, must return a single map of logits. Prediction uses one scale, as in
    EncoderDecoder.

    Args:
        *args: positional arguments of EncoderDecoder.
        scales: factors by which the sides of the photo are multiplied.
        **kwargs: keyword arguments of EncoderDecoder.

    Source: kazuto1011/deeplab-pytorch, on which the training of CLIP-ES is based. That repository adds up four cross
    entropies: one at each of the scales 1, 0.75 and 0.5, and one for the maximum.
    """

    def __init__(self, *args: Any, scales: Sequence[float] = (1.0, 0.75, 0.5), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scales = tuple(scales)

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Compute the loss at each scale, and the loss for the maximum of the logits of all scales.

        Args:
            inputs: (B, 3, H, W) float.
            data_samples: B samples with `gt_sem_seg` (1, H, W).

        Returns:
            The losses of the heads, under names such as `decode_0.75.loss_cgl` and `aux_max.loss_cgl`. MMEngine adds up
            the losses.

        Raises:
            ShapeError: a head does not return exactly one map of logits.
        """
        pyramid = [self.extract_feat(_scaled(inputs, scale)) for scale in self.scales]
        losses: dict[str, Tensor] = {}
        for name, head in self._heads():
            logits = [_checked(head.forward(features), head) for features in pyramid]
            for scale, each in zip((*self.scales, "max"), (*logits, _maximum(logits)), strict=True):
                reduced = _reduced(data_samples, each.shape[2:])
                losses |= add_prefix(head.loss_by_feat(each, reduced), f"{name}_{scale}")
        return losses

    def _heads(self) -> Iterator[tuple[str, BaseDecodeHead]]:
        yield "decode", self.decode_head
        if self.with_auxiliary_head:
            several = isinstance(self.auxiliary_head, nn.ModuleList)
            heads = self.auxiliary_head if several else [self.auxiliary_head]
            yield from ((f"aux_{index}" if several else "aux", head) for index, head in enumerate(heads))


def _scaled(inputs: Tensor, scale: float) -> Tensor:
    size = [int(scale * side) for side in inputs.shape[2:]]
    return F.interpolate(inputs, size=size, mode="bilinear", align_corners=False)


def _checked(logits: Any, head: BaseDecodeHead) -> Tensor:
    if not isinstance(logits, Tensor):
        raise ShapeError(
            f"MultiScaleEncoderDecoder needs heads that return one map of logits, but {type(head).__name__} returns "
            f"{type(logits).__name__}: use EncoderDecoder instead"
        )
    return logits


def _maximum(logits: Sequence[Tensor]) -> Tensor:
    size = logits[0].shape[2:]
    return torch.stack([F.interpolate(each, size=size, mode="bilinear", align_corners=False) for each in logits]).amax(
        0
    )


def _reduced(data_samples: Sequence[SegDataSample], size: torch.Size) -> list[SegDataSample]:
    """Return new samples with labels of size (1, h, w), resized in the way in which the loss resizes the confidence."""
    labels = torch.stack([sample.gt_sem_seg.data for sample in data_samples])
    labels = F.interpolate(labels.float(), size=size, mode="nearest-exact").to(labels.dtype)
    return [SegDataSample(gt_sem_seg=PixelData(data=each)) for each in labels]
