"""The baseline that all predictions are compared with: a mask that depends only on a photo's labels and size."""

import numpy as np


def centre_box(size_hw: tuple[int, int], class_ids: np.ndarray) -> np.ndarray:
    """Draw a mask whose classes lie side by side in a box in the middle of the photo.

    Args:
        size_hw: height and width [px].
        class_ids: (K,) int, class ids of the photo's labels, in [1, 254], in the order of the labels; may be empty.

    Returns:
        (H, W) uint8: a centred box, half as high and half as wide as the photo (rounded down). From left to right, the
        box has one vertical strip per class id. The widths of the strips differ by at most one pixel. All other pixels
        are 0.
    """
    mask = np.zeros(size_hw, np.uint8)
    height, width = (side // 2 for side in size_hw)
    top, left = ((side - box) // 2 for side, box in zip(size_hw, (height, width), strict=True))
    edges = [left + width * strip // max(1, len(class_ids)) for strip in range(len(class_ids) + 1)]
    for class_id, start, end in zip(class_ids.tolist(), edges[:-1], edges[1:], strict=True):
        mask[top : top + height, start:end] = class_id
    return mask
