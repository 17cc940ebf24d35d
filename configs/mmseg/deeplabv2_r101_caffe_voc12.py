"""VOC12 from Caffe's ImageNet weights: their stride and pooling, and the photo as BGR in 0-255 minus the mean.

`train.init` names the file; its tensors have torchvision's names.
"""

_base_ = ["deeplabv2_r101_voc12.py"]

model = dict(
    data_preprocessor=dict(mean=[104.008, 116.669, 122.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    backbone=dict(type="CaffeResNet", init_cfg=dict(checkpoint="resnet101_caffe.pth")),
)
