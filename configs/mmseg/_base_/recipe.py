"""The training recipe of CLIP-ES for VOC12: like kazuto1011/deeplab-pytorch, but with a different learning rate.

One iteration processes one batch. A step of deeplab-pytorch processes 2 batches of 5 photos, so 20 000 steps of
deeplab-pytorch are 40 000 iterations here.
"""

default_scope = "mmseg"
custom_imports = dict(imports=["clipes_core.segmentation"])
custom_hooks = [dict(type="ConfidenceHook")]

train_pipeline = [
    dict(
        type="RandomChoice",
        transforms=[[dict(type="Resize", scale_factor=factor)] for factor in (0.5, 0.75, 1.0, 1.25, 1.5)],
    ),
    dict(type="RandomCrop", crop_size=(321, 321)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackConfidence"),
]
train_batch_size = 5

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=2e-4, momentum=0.9, weight_decay=5e-4),
    accumulative_counts=2,
    paramwise_cfg=dict(
        custom_keys={
            "decode_head": dict(lr_mult=10),
            "decode_head.branches.0.bias": dict(lr_mult=20, decay_mult=0),
            "decode_head.branches.1.bias": dict(lr_mult=20, decay_mult=0),
            "decode_head.branches.2.bias": dict(lr_mult=20, decay_mult=0),
            "decode_head.branches.3.bias": dict(lr_mult=20, decay_mult=0),
        }
    ),
)
param_scheduler = [dict(type="PolyLR", power=0.9, eta_min=0, begin=0, end=2 * 20_000, by_epoch=False)]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=2 * 20_000)
