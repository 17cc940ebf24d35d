"""Draw CAMs and masks over photos."""

import cv2
import numpy as np

from clipes_core.errors import ShapeError
from clipes_core.pseudo_mask import resize_cams

HEAT_OPACITY = 0.75  # opacity of the colour at pixels where the CAM is 1
HEAT_MAP = cv2.COLORMAP_INFERNO
IDS_OPACITY = 0.7


def heat_on_photo(image_rgb: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """Draw the values of a CAM over a photo in colours: violet for low values, then red and orange, light yellow for 1.

    Args:
        image_rgb: (H, W, 3) uint8 RGB, [0, 255].
        cam: (h, w) float, in [0, 1], of any size; the function resizes the CAM bilinearly to (H, W).

    Returns:
        (H, W, 3) uint8 RGB: the photo in grey, covered by the colours of the CAM. They are those of OpenCV's colour map
        inferno, whose lightness grows with the value. The opacity of the colour at a pixel is `HEAT_OPACITY` times the
        CAM's value.

    Raises:
        ShapeError: `image_rgb` is not (H, W, 3) uint8, or `cam` does not have two axes.
    """
    _check_photo(image_rgb)
    if cam.ndim != 2:
        raise ShapeError(f"cam must be (h, w), got {cam.shape}")
    height, width, _ = image_rgb.shape
    (heat,) = np.clip(resize_cams(cam[None], (height, width)), 0, 1)
    colours = cv2.applyColorMap(np.rint(255 * heat).astype(np.uint8), HEAT_MAP)[..., ::-1]
    return _mixed(image_rgb.mean(axis=2, keepdims=True), colours, HEAT_OPACITY * heat[..., None])


def heat_palette(levels: int) -> np.ndarray:
    """Return the colours that `heat_on_photo` draws over a photo, with their opacity.

    Args:
        levels: number of colours, at least 2.

    Returns:
        (levels, 4) uint8 RGB and opacity. The first colour belongs to the value 0, the last to 1.
    """
    values = np.linspace(0, 1, levels)
    colours = cv2.applyColorMap(np.rint(255 * values).astype(np.uint8)[None], HEAT_MAP)[0, :, ::-1]
    opacity = np.rint(255 * HEAT_OPACITY * values).astype(np.uint8)
    return np.concatenate([colours, opacity[:, None]], axis=1)


def ids_on_photo(image_rgb: np.ndarray, ids: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Draw a map of class ids over a photo, in one colour per id. Background pixels stay unchanged.

    Args:
        image_rgb: (H, W, 3) uint8 RGB, [0, 255].
        ids: (H, W) uint8 class ids; 0 is background.
        palette: (256, 3) uint8 RGB, one colour per id.

    Returns:
        (H, W, 3) uint8 RGB: the photo. Each pixel whose id is not 0 is covered by the colour of the id, with the
        opacity `IDS_OPACITY`.

    Raises:
        ShapeError: `image_rgb` is not (H, W, 3) uint8, or `ids` is not (H, W).
    """
    _check_photo(image_rgb)
    if ids.shape != image_rgb.shape[:2]:
        raise ShapeError(f"ids must be {image_rgb.shape[:2]} like the photo, got {ids.shape}")
    return _mixed(image_rgb, palette[ids], IDS_OPACITY * (ids != 0)[..., None])


def _mixed(below: np.ndarray, above: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    return np.rint(below * (1 - opacity) + above * opacity).astype(np.uint8)


def _check_photo(image_rgb: np.ndarray) -> None:
    if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8:
        raise ShapeError(f"photo must be (H, W, 3) uint8, got {image_rgb.shape} {image_rgb.dtype}")
