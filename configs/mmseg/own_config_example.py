"""An example of a custom config: MMSegmentation's DeepLabV3+ with the confidence-guided loss.

The numbered comments mark the changes to a stock config. MMSegmentation's own tools need these changes to train on the
pseudo masks of a finished run. If clipes trains with your config (`train.mmseg_config`), the config needs neither these
changes nor a data set, because clipes adds the changes and the data set.
"""

default_scope = "mmseg"
custom_imports = dict(
    imports=["clipes_core.segmentation", "clipes.tasks.training.data.dataset", "clipes.tasks.training.data.sampler"]
)  # 1: register the loss, the hook, the transforms, the data set and the sampler
custom_hooks = [dict(type="ConfidenceHook")]  # 2: pass the confidence of each batch to the losses

loss = dict(type="ConfidenceGuidedLoss", mu=0.95)  # 3: use the loss in the unchanged heads of MMSegmentation
crop_size = (512, 512)
norm_cfg = dict(type="BN", requires_grad=True)
num_classes = 21

model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=crop_size,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type="ResNetV1c",
        depth=50,
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        norm_cfg=norm_cfg,
        contract_dilation=True,
    ),
    decode_head=dict(
        type="DepthwiseSeparableASPPHead",
        in_channels=2048,
        channels=512,
        dilations=(1, 12, 24, 36),
        c1_in_channels=256,
        c1_channels=48,
        norm_cfg=norm_cfg,
        num_classes=num_classes,
        loss_decode=loss,
    ),
    auxiliary_head=dict(
        type="FCNHead",
        in_channels=1024,
        in_index=2,
        channels=256,
        num_convs=1,
        norm_cfg=norm_cfg,
        num_classes=num_classes,
        loss_decode=dict(loss_weight=0.4, **loss),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)

train_pipeline = [
    dict(type="RandomResize", scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackConfidence"),  # 4: replaces PackSegInputs; if you need Pad, use PadWithConfidence instead
]
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DrawSampler"),
    dataset=dict(  # 5: use the photos, pseudo masks and confidence maps of the run `voc12`
        type="PseudoMaskDataset", training_set=dict(store="./clipes-store", run="voc12"), pipeline=train_pipeline
    ),
)

optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=5e-4))
param_scheduler = [dict(type="PolyLR", power=0.9, eta_min=1e-4, begin=0, end=20_000, by_epoch=False)]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=20_000)
