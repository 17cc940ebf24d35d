"""DeepLabV2 for VOC12, from the Caffe weights of a DeepLab that was trained on COCO.

The learning rate is lower than with ImageNet weights. This is the second row in the table of CLIP-ES's results.
"""

_base_ = ["deeplabv2_r101_caffe_voc12.py"]

model = dict(backbone=dict(init_cfg=dict(checkpoint="deeplabv1_resnet101-coco.pth")))
optim_wrapper = dict(optimizer=dict(lr=2.5e-5))
