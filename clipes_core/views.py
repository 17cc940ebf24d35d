"""Compute the views of a photo (scaled or mirrored copies), and average the maps computed from several views."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product

import numpy as np
from PIL import Image

from clipes_core.config.pseudo_masks import CamConfig
from clipes_core.preprocessing import resize_to_patches


@dataclass(frozen=True)
class View:
    """How the network sees a photo: at which scale, and mirrored or not.

    Attributes:
        scale: factor by which both sides of the photo are multiplied.
        flip: if true, the photo is mirrored left to right.
    """

    scale: float
    flip: bool

    def show(self, image: Image.Image, patch_size: int) -> Image.Image:
        """Return this view of a photo: mirrored if `flip` is true, and resized by `scale` to whole patches.

        Args:
            image: RGB photo.
            patch_size: side of a patch [px].

        Returns:
            RGB photo; `image` itself if nothing needs to change.
        """
        mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.flip else image
        return resize_to_patches(mirrored, patch_size, self.scale)

    def to_grid(self, maps: np.ndarray, grid_hw: tuple[int, int]) -> np.ndarray:
        """Undo the mirroring of maps that were computed from this view, and resize the maps to a grid.

        Args:
            maps: (K, h, w) float32.
            grid_hw: height and width of the result [patches].

        Returns:
            (K, *grid_hw) float32, resized bilinearly with align_corners=False.
        """
        upright = np.flip(maps, axis=-1).copy() if self.flip else maps
        if maps.shape[-2:] == grid_hw:
            return upright
        import torch  # slow, and stages without a network do not need it
        import torch.nn.functional as F

        resized = F.interpolate(torch.from_numpy(upright)[None], grid_hw, mode="bilinear", align_corners=False)
        return resized[0].numpy()


@dataclass(frozen=True)
class PhotoViews:
    """The views of a photo, ready for the network.

    Attributes:
        size_hw: height and width of the photo itself [px].
        views: one (H', W', 3) uint8 RGB array per view, [0, 255]; H' and W' are multiples of the patch size.
    """

    size_hw: tuple[int, int]
    views: tuple[np.ndarray, ...]

    @property
    def height(self) -> int:
        """The height of the photo itself [px]."""
        return self.size_hw[0]

    @property
    def width(self) -> int:
        """The width of the photo itself [px]."""
        return self.size_hw[1]

    @property
    def nbytes(self) -> int:
        """The memory of all views [bytes]."""
        return sum(view.nbytes for view in self.views)


@dataclass(frozen=True)
class Viewer:
    """Makes the views of photos. A GPU should not wait for this, so threads that load photos do it.

    Attributes:
        views: the views to make.
        patch_size: side of a patch [px].
    """

    views: tuple[View, ...]
    patch_size: int

    def show(self, image: Image.Image) -> PhotoViews:
        """Make the views of an RGB photo."""
        shown = tuple(np.asarray(view.show(image, self.patch_size)) for view in self.views)
        return PhotoViews((image.height, image.width), shown)

    def needed_bytes(self, size: tuple[int, int]) -> int:
        """Estimate how much memory `show` needs for a photo, with the photo and the result [bytes].

        PIL stores a pixel in four bytes. The largest view needs a mirrored copy of the photo, a copy of which one side
        has been resized, a copy of the view, and the array twice.

        Args:
            size: width and height of the photo [px].
        """
        pixels = [size[0] * size[1] * view.scale**2 for view in self.views]
        return int(8 * size[0] * size[1] + 3 * sum(pixels) + (4 + 4 + 3) * max(*pixels, size[0] * size[1]))


def list_views(config: CamConfig) -> tuple[View, ...]:
    """List the configured views: for each scale, the unmirrored view and, if `flip` is true, the mirrored view."""
    return tuple(View(*each) for each in product(config.scales, (False, True) if config.flip else (False,)))


def average_maps(maps: Sequence[np.ndarray], views: Sequence[View], grid_hw: tuple[int, int]) -> np.ndarray:
    """Average the maps that were computed from several views of a photo.

    Args:
        maps: one (K, h, w) float32 array per view; h and w may differ between views.
        views: the views, at least one, in the order of `maps`.
        grid_hw: height and width of the result [patches].

    Returns:
        (K, *grid_hw) float32, a new array.
    """
    return average([view.to_grid(of_view, grid_hw) for of_view, view in zip(maps, views, strict=True)])


def average(values: Sequence[np.ndarray]) -> np.ndarray:
    """Compute the mean of arrays of the same shape.

    Args:
        values: one or more float32 arrays.

    Returns:
        The mean of the arrays, as a new float32 array.
    """
    return reduce(np.add, values) / len(values)
