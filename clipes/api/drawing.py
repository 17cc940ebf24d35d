"""Draw photos, masks, confidences and CAMs with matplotlib, for notebooks and interactive sessions."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from clipes.tasks.inputs.pngs import resized_ids
from clipes_core.pictures.overlay import heat_on_photo, ids_on_photo
from clipes_core.vocabulary import Vocabulary

PANEL_INCHES = 4.0
MOST_COLUMNS = 4


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


def mask_panel(image_rgb: np.ndarray, mask: np.ndarray, vocabulary: Vocabulary, title: str = "Mask") -> Panel:
    """Return the panel of a mask drawn over a photo, with a legend of its classes.

    Args:
        image_rgb: (h, w, 3) uint8 RGB; decides the size of the picture.
        mask: (H, W) uint8 class ids.
        vocabulary: classes that the ids belong to.
        title: text above the picture.
    """
    palette = np.asarray(vocabulary.palette, np.uint8)
    pixels = ids_on_photo(image_rgb, resized_ids(mask, image_rgb.shape[:2]), palette)
    present = np.unique(mask).tolist()
    colours = {name: vocabulary.palette[each] for name, each in vocabulary.ids.items() if each in present}
    return Panel(title, pixels, colours)


def level_panel(title: str, levels: np.ndarray) -> Panel:
    """Return the panel of a map with values in [0, 1]: black for 0, white for 1."""
    return Panel(title, levels)


def heat_panel(title: str, image_rgb: np.ndarray, cam: np.ndarray) -> Panel:
    """Return the panel of a CAM drawn over a photo; see `heat_on_photo`."""
    return Panel(title, heat_on_photo(image_rgb, cam))


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
            patches = [Patch(color=_hexadecimal(*rgb), label=name) for name, rgb in panel.colours.items()]
            each.legend(handles=patches, loc="lower right", framealpha=0.8)
    plt.show()


def _hexadecimal(red: int, green: int, blue: int) -> str:
    return f"#{red:02x}{green:02x}{blue:02x}"


def png_bytes(pixels: np.ndarray) -> bytes:
    """Encode an (H, W, 3) uint8 RGB image as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
