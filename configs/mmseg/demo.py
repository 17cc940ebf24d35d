"""The demo's segmenter: a small DeepLabV2. Training it from random weights takes minutes on two cores."""

_base_ = ["_base_/deeplabv2_r101.py", "_base_/recipe.py"]

model = dict(
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[64.0, 64.0, 64.0], size=(112, 112)),
    backbone=dict(
        depth=18,
        base_channels=16,
        stem_channels=16,
        norm_cfg=dict(requires_grad=True),
        norm_eval=False,
        init_cfg=None,
    ),
    decode_head=dict(in_channels=128, num_classes=9, dilations=(1, 2, 4, 6)),
)

train_pipeline = [
    dict(type="RandomResize", scale=(160, 160), ratio_range=(0.5, 1.4), keep_ratio=True),
    dict(type="RandomCrop", crop_size=(112, 112)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackConfidence"),
]
train_batch_size = 8
optim_wrapper = dict(_delete_=True, type="OptimWrapper", optimizer=dict(type="AdamW", lr=3e-3, weight_decay=0.01))
param_scheduler = [dict(type="PolyLR", power=0.9, eta_min=0, begin=0, end=2200, by_epoch=False)]
train_cfg = dict(max_iters=2200)
