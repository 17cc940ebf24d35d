"""A network for tests that trains in milliseconds per iteration."""

default_scope = "mmseg"
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor", mean=[123.7, 116.3, 103.5], std=[58.4, 57.1, 57.4], bgr_to_rgb=True, size=(48, 48)
    ),
    backbone=dict(
        type="ResNet",
        depth=18,
        base_channels=8,
        num_stages=2,
        strides=(1, 2),
        dilations=(1, 1),
        out_indices=(0, 1),
        norm_cfg=dict(type="BN"),
    ),
    decode_head=dict(
        type="FCNHead", in_channels=16, in_index=1, channels=8, num_convs=1, num_classes=21, dropout_ratio=0.1
    ),
    auxiliary_head=dict(
        type="FCNHead",
        in_channels=8,
        in_index=0,
        channels=8,
        num_convs=1,
        num_classes=21,
        dropout_ratio=0.1,
        loss_decode=dict(type="CrossEntropyLoss", loss_weight=0.4),
    ),
    test_cfg=dict(mode="whole"),
)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(64, 64), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=(48, 48)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.05, momentum=0.9, weight_decay=0.0005))
param_scheduler = [dict(type="PolyLR", power=0.9, begin=0, end=30, eta_min=0.0, by_epoch=False)]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=30)
