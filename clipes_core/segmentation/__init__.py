"""Extensions of MMSegmentation. Importing this package registers each extension under its class name.

The import raises a ConfigError if MMSegmentation, which is an extra of clipes, is not installed.
"""

import warnings
from contextlib import redirect_stdout

from clipes_core.config.extras import TRAIN

with warnings.catch_warnings(), redirect_stdout(None):  # silences reports of missing packages that clipes does not need
    TRAIN.check("the segmenter", alternative="")
    warnings.filterwarnings("ignore", message="Fail to import", category=UserWarning)
    import mmseg.datasets
    import mmseg.models  # noqa: F401

from clipes_core.segmentation.caffe_resnet import CaffeResNet
from clipes_core.segmentation.confidence_guided_loss import ConfidenceGuidedLoss
from clipes_core.segmentation.confidence_hand_over import ConfidenceHook, register_confidence_hooks
from clipes_core.segmentation.confidence_transforms import PackConfidence, PadWithConfidence
from clipes_core.segmentation.deeplabv2_head import DeepLabV2Head
from clipes_core.segmentation.multi_scale import MultiScaleEncoderDecoder

__all__ = [
    "CaffeResNet",
    "ConfidenceGuidedLoss",
    "ConfidenceHook",
    "DeepLabV2Head",
    "MultiScaleEncoderDecoder",
    "PackConfidence",
    "PadWithConfidence",
    "register_confidence_hooks",
]
