"""What the method adds to MMSegmentation: importing this package registers its modules by their class names."""

from clipes_core.segmentation.deeplabv2_head import DeepLabV2Head

__all__ = ["DeepLabV2Head"]
