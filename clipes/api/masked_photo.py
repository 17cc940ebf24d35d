"""The result of a masker for one photo."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from clipes.api.drawing import MaskView
from clipes_core.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False, repr=False)
class MaskedPhoto(MaskView):
    """A photo and its mask. A notebook displays the photo with the mask drawn over it.

    Attributes:
        mask: (H, W) uint8 class ids at the size of the photo; 0 is background.
        confidence: (H, W) float32, the confidence of each pixel in [0, 1].
        cams: name of each label -> (H, W) float32 refined CAM, in [0, 1].
        class_ids: name of each label -> its id in `mask`.
        image: the photo in RGB as clipes read it, whose longer side is at most `dataset.max_side`.
        vocabulary: classes of the masker.
        notes: remarks about the photo, such as the conversions that were applied.
    """

    mask: np.ndarray
    confidence: np.ndarray
    cams: Mapping[str, np.ndarray]
    class_ids: Mapping[str, int]
    image: Image.Image
    vocabulary: Vocabulary
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        height, width = self.mask.shape
        return f"MaskedPhoto({width}x{height}, labels={list(self.class_ids)}, foreground={self.foreground:.0%})"

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes that the photo was said to show."""
        return tuple(self.class_ids)

    @property
    def foreground(self) -> float:
        """The share of the pixels that are not background, in [0, 1]."""
        return float((self.mask != 0).mean())
