"""The two forms in which a gallery shows its pictures: as layers for the report, or drawn over the photo."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from clipes.tasks.report.gallery.pictures import LONGER_SIDE, SMALL_SIDE, Picture, Pictures, small_ids, small_levels
from clipes_core.pictures.class_colours import ClassStyle
from clipes_core.pictures.overlay import heat_on_photo, heat_palette, ids_on_photo
from clipes_core.pseudo_mask import IGNORE_INDEX

IGNORED_COLOUR = (150, 150, 150, 110)  # RGB and opacity
MASK_OPACITY = 170
HEAT_LEVELS = 64
NO_COLOUR = (0, 0, 0, 0)


class _Form:
    """Makes the pictures that are the same in both forms.

    In all methods, `image` is the reduced photo, (H, W, 3) uint8 RGB. Maps of any size are resized to it.
    """

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    def photo(self, image: np.ndarray) -> Picture:
        """Return the photo."""
        return self._pictures.encoded("Photo", image, "photo")

    def levels(self, image: np.ndarray, levels: np.ndarray) -> Picture:
        """Return the confidence map; `levels` is (h, w) uint8."""
        return self._pictures.encoded("Confidence", small_levels(levels, image.shape[:2]), "confidence")


class Layers(_Form):
    """Makes pictures that the report's page puts on top of each other. The photo is stored only once."""

    longer_side = LONGER_SIDE

    def ids(
        self, title: str, role: str, image: np.ndarray, ids: np.ndarray, styles: Mapping[int, ClassStyle]
    ) -> Picture:
        """Return a map of class ids on a transparent background.

        Args:
            title: title of the picture.
            role: role of the picture.
            image: the photo.
            ids: (h, w) uint8; 0 is background, 255 is ignored.
            styles: class id -> look, for all other ids.
        """
        shown, indices = np.unique(small_ids(ids, image.shape[:2]), return_inverse=True)
        colours = {class_id: (*style.colour, MASK_OPACITY) for class_id, style in styles.items()}
        colours |= {0: NO_COLOUR, IGNORE_INDEX: IGNORED_COLOUR}
        class_ids = tuple(shown.tolist())
        palette = np.array([colours[class_id] for class_id in class_ids], np.uint8)
        picture = self._pictures.indexed(title, indices.reshape(image.shape[:2]).astype(np.uint8), palette, role)
        return _of(picture, image, class_ids)

    def cam(self, title: str, image: np.ndarray, cam: np.ndarray) -> Picture:
        """Return a CAM, (h, w) float in [0, 1], at its own size. Low values are transparent. The page enlarges it."""
        levels = np.rint(np.clip(cam, 0, 1) * (HEAT_LEVELS - 1)).astype(np.uint8)
        return _of(self._pictures.indexed(title, levels, heat_palette(HEAT_LEVELS), "cam"), image)


class Drawings(_Form):
    """Makes pictures that need no page: CAMs and masks are drawn over the photo."""

    longer_side = SMALL_SIDE

    def ids(
        self, title: str, role: str, image: np.ndarray, ids: np.ndarray, styles: Mapping[int, ClassStyle]
    ) -> Picture:
        """Return the photo, covered by the colours of the classes. The arguments are those of `Layers.ids`."""
        palette = np.zeros((256, 3), np.uint8)
        palette[IGNORE_INDEX] = IGNORED_COLOUR[:3]
        for class_id, style in styles.items():
            palette[class_id] = style.colour
        drawn = ids_on_photo(image, small_ids(ids, image.shape[:2]), palette)
        return self._pictures.encoded(title, drawn, role)

    def cam(self, title: str, image: np.ndarray, cam: np.ndarray) -> Picture:
        """Return the photo in grey, covered by the colours of a CAM, (h, w) float in [0, 1]."""
        return self._pictures.encoded(title, heat_on_photo(image, cam), "cam")


GalleryForm = Layers | Drawings


def _of(picture: Picture, image: np.ndarray, class_ids: tuple[int, ...] = ()) -> Picture:
    """Return a picture that the page shows at the size of the photo."""
    return replace(picture, size_hw=(image.shape[0], image.shape[1]), class_ids=class_ids)
