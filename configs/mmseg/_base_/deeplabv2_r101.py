"""DeepLabV2 on ResNet-101 with output stride 8. The backbone starts from torchvision's ImageNet weights.

Photos are normalised as for the training of these weights: RGB, with the mean and standard deviation of ImageNet.
"""

model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=(321, 321),  # smaller crops are padded on the right and at the bottom with 0, the normalised mean colour
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type="ResNet",
        depth=101,
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        norm_cfg=dict(type="BN", requires_grad=False),
        norm_eval=True,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet101"),
    ),
    decode_head=dict(
        type="DeepLabV2Head",
        in_channels=2048,
        num_classes=21,
        dilations=(6, 12, 18, 24),
        loss_decode=dict(type="ConfidenceGuidedLoss", mu=0.95),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
