"""From photos with image-level labels to segmentation masks with a frozen CLIP."""

__version__ = "0.1.0"
