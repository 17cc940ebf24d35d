"""DeepLabV2 for VOC12, trained at several scales as in kazuto1011/deeplab-pytorch.

The loss is a sum of four losses: one for each of the scales 1, 0.75 and 0.5, and one for the pixel-wise maximum of the
logits at these scales. The training takes about twice as much time and memory as with `deeplabv2_r101_voc12`.
"""

_base_ = ["deeplabv2_r101_voc12.py"]

model = dict(type="MultiScaleEncoderDecoder", scales=(1.0, 0.75, 0.5))
