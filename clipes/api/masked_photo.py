"""The result of a masker for one photo."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from clipes.api.drawing import Panel, draw_panels, heat_panel, level_panel, mask_panel, png_bytes
from clipes_core.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False, repr=False)
class MaskedPhoto:
    """The mask of one photo. In a notebook, it is displayed as the photo with its mask.

    Attributes:
        mask: (H, W) uint8 class ids at the size of the photo; 0 is background.
        confidence: (H, W) float32, how sure the method is of the id of each pixel, in [0, 1].
        cams: name of each label -> (H, W) float32 refined CAM, in [0, 1].
        class_ids: name of each label -> its id in `mask`.
        photo: the photo in RGB as clipes read it, whose longer side is at most `dataset.max_side`.
        vocabulary: classes of the masker.
        notes: remarks about the photo, such as the conversions that were applied.
    """

    mask: np.ndarray
    confidence: np.ndarray
    cams: Mapping[str, np.ndarray]
    class_ids: Mapping[str, int]
    photo: Image.Image
    vocabulary: Vocabulary
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        height, width = self.mask.shape
        return f"MaskedPhoto({width}x{height}, labels={list(self.class_ids)}, foreground={self.foreground_share:.0%})"

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes that the photo was said to show."""
        return tuple(self.class_ids)

    @property
    def foreground_share(self) -> float:
        """The share of the pixels that are not background, in [0, 1]."""
        return float((self.mask != 0).mean())

    @property
    def overlay(self) -> Image.Image:
        """The photo with its mask drawn over it, as an image of the size of `photo`."""
        return Image.fromarray(self._mask_panel.pixels)

    def show(self) -> None:
        """Draw the mask, the confidence and the CAMs with matplotlib, and display the figure."""
        draw_panels((self._mask_panel, level_panel("Confidence", self.confidence), *self._cam_panels()))

    def _repr_png_(self) -> bytes:
        return png_bytes(self._mask_panel.pixels)

    @cached_property
    def _mask_panel(self) -> Panel:
        return mask_panel(np.asarray(self.photo), self.mask, self.vocabulary)

    def _cam_panels(self) -> list[Panel]:
        return [heat_panel(f"CAM of {name}", np.asarray(self.photo), cam) for name, cam in self.cams.items()]
