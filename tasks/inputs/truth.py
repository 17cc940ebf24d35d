"""Read the true masks of photos."""

import numpy as np

from clipes.tasks.inputs.decoding import open_image, read_bytes
from clipes.tasks.inputs.photos import Photo
from clipes.tasks.inputs.sources.source import ABSENT, UNKNOWN
from clipes_core.errors import ErrorKind, PhotoError


def load_truth(photo: Photo, size_hw: tuple[int, int]) -> np.ndarray:
    """Read the true mask of a photo.

    Args:
        photo: photo with a `truth_uri`.
        size_hw: height and width of the photo [px].

    Returns:
        (H, W) uint8 ids.

    Raises:
        PhotoError: an error of `load_ids`, or BAD_TRUTH if the mask and the photo differ in size.
    """
    truth = load_ids(str(photo.truth_uri), photo.truth_fingerprint or ABSENT)
    if truth.shape != size_hw:
        raise PhotoError(
            ErrorKind.BAD_TRUTH,
            f"the true mask is {truth.shape[1]}x{truth.shape[0]} and the photo is {size_hw[1]}x{size_hw[0]}: "
            "they must have the same size",
        )
    return truth


def load_ids(uri: str, fingerprint: str = UNKNOWN) -> np.ndarray:
    """Read an image whose pixel values are ids, such as a true mask.

    Args:
        uri: URI of the image.
        fingerprint: fingerprint of the image when it was listed, as for `read_listed`.

    Returns:
        (H, W) uint8 ids.

    Raises:
        PhotoError: MISSING, CHANGED, UNREADABLE, UNDECODABLE, TIMEOUT or NETWORK; BAD_TRUTH if the file is a JPEG, or
            is neither a palette image nor a grey image.
    """
    with open_image(uri, read_bytes(uri, fingerprint)) as image:
        if image.mode not in ("P", "L"):
            raise PhotoError(
                ErrorKind.BAD_TRUTH,
                f"the true mask has mode {image.mode}: it must be a palette or grey PNG of ids",
            )
        if image.format == "JPEG":
            raise PhotoError(ErrorKind.BAD_TRUTH, "the true mask is a JPEG, whose compression changes ids: use a PNG")
        return np.array(image)
