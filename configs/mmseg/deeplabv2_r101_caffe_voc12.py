"""DeepLabV2 for VOC12. The backbone starts from Caffe's ImageNet weights.

The backbone has the strides, the pooling and the input of Caffe's ResNet. The input is BGR in [0, 255], minus the mean.
"""

_base_ = ["deeplabv2_r101_voc12.py"]

checkpoint = "https://mmassets.onedl.ai/pretrain/third_party/resnet101_msra-6cc46731.pth"
model = dict(
    data_preprocessor=dict(mean=[104.008, 116.669, 122.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    backbone=dict(type="CaffeResNet", init_cfg=dict(checkpoint=checkpoint)),
)
