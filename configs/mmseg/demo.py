"""The demo's scenes: a small network from nothing, in minutes on two cores.

Group norm stands in for batch norm: no statistics of small batches, and the same training on any number of devices.
"""

_base_ = ["_base_/deeplabv2_r101.py", "_base_/recipe.py"]

model = dict(
    data_preprocessor=dict(size=(96, 96)),
    backbone=dict(
        depth=18,
        base_channels=32,
        stem_channels=32,
        norm_cfg=dict(_delete_=True, type="GN", num_groups=8),
        norm_eval=False,
        init_cfg=None,
    ),
    decode_head=dict(in_channels=256, num_classes=9, dilations=(1, 2, 3, 4)),
)

train_pipeline = [
    dict(type="RandomResize", scale=(96, 96), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=(96, 96)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackConfidence"),
]
train_batch_size = 8
optim_wrapper = dict(_delete_=True, type="OptimWrapper", optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.01))
param_scheduler = [dict(type="PolyLR", power=0.9, eta_min=0, begin=0, end=600, by_epoch=False)]
train_cfg = dict(max_iters=600)
