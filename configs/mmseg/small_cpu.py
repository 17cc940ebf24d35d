"""A light segmenter for small sets of real photos. Training it from random weights takes minutes on two cores."""

_base_ = ["_base_/deeplabv2_r101.py", "_base_/recipe.py"]

model = dict(
    data_preprocessor=dict(size=(160, 160)),
    backbone=dict(
        depth=18,
        base_channels=24,
        stem_channels=24,
        norm_cfg=dict(requires_grad=True),
        norm_eval=False,
        init_cfg=None,
    ),
    decode_head=dict(in_channels=192, dilations=(1, 2, 4, 6)),
)

train_pipeline = [
    dict(type="RandomResize", scale=(256, 256), ratio_range=(0.6, 1.4), keep_ratio=True),
    dict(type="RandomCrop", crop_size=(160, 160), cat_max_ratio=0.9),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackConfidence"),
]
train_batch_size = 8
optim_wrapper = dict(_delete_=True, type="OptimWrapper", optimizer=dict(type="AdamW", lr=3e-3, weight_decay=0.01))
param_scheduler = [dict(type="PolyLR", power=0.9, eta_min=0, begin=0, end=400, by_epoch=False)]
train_cfg = dict(max_iters=400)
