"""DeepLabV2 for VOC12. The training starts from the Caffe weights of a DeepLab that was trained on COCO.

The learning rate is lower than in the configs that start from ImageNet weights. The CLIP-ES paper also reports a score
of a training that starts from COCO weights.
"""

_base_ = ["deeplabv2_r101_caffe_voc12.py"]

model = dict(backbone=dict(init_cfg=dict(checkpoint="deeplabv1_resnet101-coco.pth")))
optim_wrapper = dict(optimizer=dict(lr=2.5e-5))
