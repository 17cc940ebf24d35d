"""VOC12 with the recipe's loss at scales 1, 0.75, 0.5 and on their maximum; takes about twice the time and memory."""

_base_ = ["deeplabv2_r101_voc12.py"]

model = dict(type="MultiScaleEncoderDecoder", scales=(1.0, 0.75, 0.5))
