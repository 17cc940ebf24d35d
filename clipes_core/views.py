"""The views of a photo: its scales and its mirror image, and the average of what was made of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from clipes_core.config.run import CamConfig
from clipes_core.photo import resize_to_patches


@dataclass(frozen=True)
class View:
    """One way to show a photo to the network.

    Attributes:
        scale: of both sides.
        flip: whether the photo is mirrored left to right.
    """

    scale: float
    flip: bool

    def show(self, image: Image.Image, patch_size: int) -> Image.Image:
        """Mirror a photo if the view does, and resize it to the view's scale, up to whole patches.

        Args:
            image: RGB.
            patch_size: side of a patch [px].

        Returns:
            RGB; `image` itself if nothing is to be done.
        """
        mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.flip else image
        return resize_to_patches(mirrored, patch_size, self.scale)

    def to_grid(self, maps: np.ndarray, grid_hw: tuple[int, int]) -> np.ndarray:
        """Turn maps made in this view upright and resize them to a grid.

        Args:
            maps: (K, h, w) float32.
            grid_hw: height and width wanted [patches].

        Returns:
            (K, *grid_hw) float32; bilinear, align_corners=False.
        """
        upright = np.flip(maps, axis=-1).copy() if self.flip else maps
        if maps.shape[-2:] == grid_hw:
            return upright
        resized = F.interpolate(torch.from_numpy(upright)[None], grid_hw, mode="bilinear", align_corners=False)
        return resized[0].numpy()


def list_views(config: CamConfig) -> tuple[View, ...]:
    """List the views that a configuration asks for: each scale, and after it its mirror image with `flip`."""
    return tuple(View(*each) for each in product(config.scales, (False, True) if config.flip else (False,)))


def average_maps(maps: Sequence[np.ndarray], views: Sequence[View], grid_hw: tuple[int, int]) -> np.ndarray:
    """Average the maps that were made in several views.

    Args:
        maps: per view (K, h, w) float32, h and w its own.
        views: at least one.
        grid_hw: height and width of the result [patches].

    Returns:
        (K, *grid_hw) float32, a new array.
    """
    return average([view.to_grid(of_view, grid_hw) for of_view, view in zip(maps, views, strict=True)])


def average(values: Sequence[np.ndarray]) -> np.ndarray:
    """Average arrays of one shape.

    Args:
        values: at least one, float32.

    Returns:
        Their mean, a new float32 array.
    """
    return reduce(np.add, values) / len(values)
