"""DeepLabV2 for COCO14. The backbone starts from torchvision's ImageNet weights.

The paper states neither the learning rate nor the number of steps for COCO. This config uses the learning rate for
VOC12, and trains for 100 000 steps, as kazuto1011/deeplab-pytorch does on COCO-Stuff.
"""

_base_ = ["deeplabv2_r101_voc12.py"]

model = dict(decode_head=dict(num_classes=81))
param_scheduler = [dict(type="PolyLR", power=0.9, eta_min=0, begin=0, end=2 * 100_000, by_epoch=False)]
train_cfg = dict(max_iters=2 * 100_000)
