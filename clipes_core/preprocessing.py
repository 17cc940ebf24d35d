"""Prepare photos for CLIP: limit their size, and resize them to whole patches."""

import math

from PIL import Image


def limit_side(image: Image.Image, max_side: int | None) -> Image.Image:
    """Reduce a photo so that no side exceeds `max_side`, and keep its aspect ratio.

    Args:
        image: any PIL image.
        max_side: largest permitted side [px]; None for no limit.

    Returns:
        `image` itself if no side exceeds `max_side`, otherwise a new image (PIL bicubic). The longer side of the new
        image is `max_side`. Its shorter side is rounded, and is at least 1 px.
    """
    size = limited_size(image.size, max_side)
    return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)


def limited_size(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """Compute the size of a photo after `limit_side`.

    Args:
        size: width and height [px].
        max_side: largest permitted side [px]; None for no limit.
    """
    longer = max(size)
    if max_side is None or longer <= max_side:
        return size
    width, height = (max(1, round(side * max_side / longer)) for side in size)
    return width, height


def patch_grid(size_hw: tuple[int, int], patch_size: int, scale: float = 1.0) -> tuple[int, int]:
    """Compute how many rows and columns of patches cover a photo.

    Args:
        size_hw: height and width [px].
        patch_size: side of a patch [px].
        scale: factor by which both sides are multiplied before the division into patches.

    Returns:
        (h, w): the scaled height and width, each divided by `patch_size` and rounded up.

    Source: the published program, which rounds both sides up to whole patches.
    """
    height, width = size_hw
    return math.ceil(scale * height / patch_size), math.ceil(scale * width / patch_size)


def resize_to_patches(image: Image.Image, patch_size: int, scale: float = 1.0) -> Image.Image:
    """Resize a photo so that both sides are multiples of the patch size, without cropping.

    Args:
        image: any PIL image.
        patch_size: side of a patch [px].
        scale: factor by which both sides are multiplied before they are rounded up to multiples of the patch size.

    Returns:
        `image` itself if it already has the resulting size, otherwise a new image (PIL bicubic).
    """
    h, w = patch_grid((image.height, image.width), patch_size, scale)
    size = (w * patch_size, h * patch_size)
    return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)
