"""What the method adds to MMSegmentation: importing this package registers its modules by their class names."""

from clipes_core.segmentation.confidence_guided_loss import ConfidenceGuidedLoss
from clipes_core.segmentation.confidence_hand_over import ConfidenceHook, hand_over_confidence
from clipes_core.segmentation.confidence_transforms import PackConfidence, PadWithConfidence
from clipes_core.segmentation.deeplabv2_head import DeepLabV2Head

__all__ = [
    "ConfidenceGuidedLoss",
    "ConfidenceHook",
    "DeepLabV2Head",
    "PackConfidence",
    "PadWithConfidence",
    "hand_over_confidence",
]
