"""VOC12 from a DeepLab's weights that were trained on COCO, as CLIP-ES's second row: Caffe's kind, at a lower rate."""

_base_ = ["deeplabv2_r101_caffe_voc12.py"]

model = dict(backbone=dict(init_cfg=dict(checkpoint="deeplabv1_resnet101-coco.pth")))
optim_wrapper = dict(optimizer=dict(lr=2.5e-5))
