"""The shipped DeepLabV2 with crops small enough to train on two cores."""

_base_ = "../../../configs/mmseg/deeplabv2_r101_voc12.py"

model = dict(data_preprocessor=dict(size=(65, 65)))
train_pipeline = [
    dict(type="RandomResize", scale=(128, 128), ratio_range=(0.5, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=(65, 65)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackConfidence"),
]
train_batch_size = 2
