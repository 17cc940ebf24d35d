"""Draw photos with their masks, confidences and CAMs, for notebooks and interactive sessions."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from PIL import Image

from clipes.tasks.inputs.pngs import resized_ids
from clipes_core.pictures.overlay import heat_on_photo, ids_on_photo
from clipes_core.vocabulary import Vocabulary

PANEL_INCHES = 4.0
MOST_COLUMNS = 4


class HasMask(Protocol):
    """A photo with its mask; see `MaskedPhoto` for the attributes."""

    @property
    def image(self) -> Image.Image: ...  # noqa: D102
    @property
    def mask(self) -> np.ndarray: ...  # noqa: D102
    @property
    def confidence(self) -> np.ndarray: ...  # noqa: D102
    @property
    def cams(self) -> Mapping[str, np.ndarray]: ...  # noqa: D102
    @property
    def vocabulary(self) -> Vocabulary: ...  # noqa: D102


class MaskView:
    """The pictures of a photo with its mask. A notebook displays the photo with the mask drawn over it."""

    @property
    def overlay(self: HasMask) -> Image.Image:
        """The photo with its mask drawn over it, as an image of the size of `image`."""
        return Image.fromarray(mask_panel(self).pixels)

    def show(self: HasMask) -> None:
        """Draw the mask, the confidence and the CAMs with matplotlib, and display the figure."""
        photo = np.asarray(self.image)
        heat = [Panel(f"CAM of {name}", heat_on_photo(photo, cam)) for name, cam in self.cams.items()]
        draw_panels((mask_panel(self), Panel("Confidence", self.confidence), *heat))

    def _repr_png_(self: HasMask) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(mask_panel(self).pixels).save(buffer, "PNG")
        return buffer.getvalue()


@dataclass(frozen=True)
class Panel:
    """One picture of a figure.

    Attributes:
        title: text above the picture.
        pixels: (H, W, 3) uint8 RGB, or (H, W) float32 in [0, 1], which is drawn in grey.
        colours: name -> RGB colour of each entry of the legend.
    """

    title: str
    pixels: np.ndarray
    colours: dict[str, tuple[int, int, int]] = field(default_factory=dict)


def mask_panel(photo: HasMask) -> Panel:
    """Return the panel of a mask drawn over its photo, with a legend of the classes in the mask."""
    image_rgb, mask, vocabulary = np.asarray(photo.image), photo.mask, photo.vocabulary
    pixels = ids_on_photo(image_rgb, resized_ids(mask, image_rgb.shape[:2]), np.asarray(vocabulary.palette, np.uint8))
    present = np.unique(mask).tolist()
    colours = {name: vocabulary.palette[each] for name, each in vocabulary.ids.items() if each in present}
    return Panel("Mask", pixels, colours)


def draw_panels(panels: Sequence[Panel]) -> None:
    """Draw panels next to each other with matplotlib, and display the figure."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    columns = min(len(panels), MOST_COLUMNS)
    rows = -(-len(panels) // columns)
    size = (PANEL_INCHES * columns, PANEL_INCHES * rows)
    _, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for each in axes.flat:
        each.axis("off")
    for panel, each in zip(panels, axes.flat, strict=False):
        each.imshow(panel.pixels, cmap="gray", vmin=0, vmax=1)
        each.set_title(panel.title)
        if panel.colours:
            colours = panel.colours.items()
            patches = [Patch(color=(r / 255, g / 255, b / 255), label=name) for name, (r, g, b) in colours]
            each.legend(handles=patches, loc="lower right", framealpha=0.8)
    plt.show()
