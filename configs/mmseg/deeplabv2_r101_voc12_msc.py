"""DeepLabV2 for VOC12, trained at several scales as in kazuto1011/deeplab-pytorch.

The loss is the sum of the losses at the scales 1, 0.75 and 0.5, and of a loss for the pixel-wise maximum of their
logits. The training takes about twice the time and the memory of `deeplabv2_r101_voc12`.
"""

_base_ = ["deeplabv2_r101_voc12.py"]

model = dict(type="MultiScaleEncoderDecoder", scales=(1.0, 0.75, 0.5))
