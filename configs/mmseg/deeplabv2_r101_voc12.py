"""DeepLabV2 for VOC12. The backbone starts from torchvision's ImageNet weights."""

_base_ = ["_base_/deeplabv2_r101.py", "_base_/recipe.py"]
