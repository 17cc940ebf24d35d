"""Small segmenters built from MMSegmentation's modules, and batches for them."""

import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import register_all_modules

CLASSES = 3
LOSS = {"type": "ConfidenceGuidedLoss", "mu": 0.5}
BATCH_NORM = {"type": "BN"}
RESNET = {
    "type": "ResNet",
    "depth": 50,
    "base_channels": 4,
    "stem_channels": 8,
    "strides": (1, 2, 1, 1),
    "dilations": (1, 1, 2, 4),
    "norm_cfg": BATCH_NORM,
}


def head(kind: str, **settings) -> dict:
    return {"type": kind, "num_classes": CLASSES, "loss_decode": LOSS, **settings}


FCN = head("FCNHead", in_channels=64, in_index=2, channels=4, num_convs=1, norm_cfg=BATCH_NORM)
SEGMENTORS = {
    "deeplabv2": {"backbone": RESNET, "decode_head": head("DeepLabV2Head", in_channels=128), "auxiliary_head": FCN},
    "deeplabv3plus": {
        "backbone": RESNET,
        "decode_head": head(
            "DepthwiseSeparableASPPHead",
            in_channels=128,
            channels=8,
            dilations=(1, 2),
            c1_in_channels=16,
            c1_channels=4,
            norm_cfg=BATCH_NORM,
        ),
        "auxiliary_head": [FCN, FCN],
    },
    "segformer": {
        "backbone": {
            "type": "MixVisionTransformer",
            "embed_dims": 4,
            "num_layers": [1, 1, 1, 1],
            "num_heads": [1, 1, 1, 1],
        },
        "decode_head": head(
            "SegformerHead", in_channels=[4, 4, 4, 4], in_index=[0, 1, 2, 3], channels=8, norm_cfg=BATCH_NORM
        ),
    },
}


def segmentor(name: str, kind: str = "EncoderDecoder", **settings) -> torch.nn.Module:
    """Build a segmenter with random weights and without dropout, so that a batch always gives the same loss."""
    register_all_modules()
    torch.manual_seed(0)
    parts = SEGMENTORS[name] | settings
    preprocessor = {"type": "SegDataPreProcessor", "size": (48, 40), "pad_val": 0, "seg_pad_val": 255}
    model = MODELS.build({"type": kind, **parts, "data_preprocessor": preprocessor})
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout | torch.nn.Dropout2d):
            module.p = 0.0
    return model


def sample(height: int, width: int, level: int | None) -> SegDataSample:
    """Return random labels with the confidence `level` everywhere; None: without confidence."""
    one = SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, CLASSES, (1, height, width))))
    if level is not None:
        one.gt_confidence = PixelData(data=torch.full((1, height, width), level, dtype=torch.uint8))
    return one


def batch(*levels: int | None, size: tuple[int, int] = (48, 40)) -> dict:
    """Return a batch as a data loader makes it, with one photo and one sample per confidence level."""
    torch.manual_seed(1)
    photos = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for _ in levels]
    return {"inputs": photos, "data_samples": [sample(*size, level) for level in levels]}


def losses(model: torch.nn.Module, data: dict) -> dict[str, float]:
    """Return the losses of a forward pass in training mode."""
    given = model.data_preprocessor(data, training=True)
    return {name: value.item() for name, value in model(**given, mode="loss").items() if "loss" in name}
