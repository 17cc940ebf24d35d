"""Photos: as the pipeline lists them, and their pixels."""

import io
import posixpath
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, UnidentifiedImageError

from clipes.tasks.storage.files import read_file
from clipes_core.config.run import DatasetConfig
from clipes_core.errors import ErrorKind, PhotoError, StorageError, TransientError
from clipes_core.photo import reduce_to, to_rgb

# PIL runs Ghostscript on EPS; it takes half of all broken files for SPIDER and falls over them
NO_PHOTOS = ("EPS", "SPIDER")
SAME_SUFFIX = {"JPEG": ("MPO",), "BMP": ("DIB",)}
LOAD_THREADS = 4
PHOTOS_AHEAD = 8


@dataclass(frozen=True)
class Photo:
    """One photo of a data set, listed but not opened.

    Attributes:
        image_id: unique in the data set; for lists the path relative to root without extension.
        uri: absolute path or URI of the file.
        size_bytes: of the file.
        fingerprint: changes when the file's content does: ETag, or size and mtime.
        class_ids: data set ids 1..K of its labels, unique, in order of first appearance.
        truth_uri: of the true mask, None where there is none.
        truth_fingerprint: of the true mask's file, None where there is none.
        stated_size: width and height [px] that its labels state, None where they state none.
    """

    image_id: str
    uri: str
    size_bytes: int
    fingerprint: str
    class_ids: tuple[int, ...]
    truth_uri: str | None = None
    truth_fingerprint: str | None = None
    stated_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Reject:
    """A photo that a stage could not use, and why."""

    image_id: str
    uri: str
    stage: str
    kind: ErrorKind
    reason: str


@dataclass(frozen=True)
class LoadedPhoto:
    """A photo's pixels, ready for CAM and CRF.

    Attributes:
        image: RGB, its longer side at most max_side.
        size_hw: height and width of the photo itself [px].
        notes: what had to be converted, in plain words.
    """

    image: Image.Image
    size_hw: tuple[int, int]
    notes: tuple[str, ...]


def load_photo(photo: Photo, config: DatasetConfig) -> LoadedPhoto:
    """Read and decode a photo, convert it to RGB and reduce it to max_side.

    Raises:
        PhotoError: missing, unreadable, undecodable or too small; says which file and why.
    """
    with decoded(photo.uri, read_bytes(photo.uri)) as encoded:
        image, converted = to_rgb(encoded, config.exif)
        notes = (*_wrong_suffix(photo.uri, encoded), *converted, *_other_size(photo, encoded, image))
    reduced = reduce_to(image, config.max_side)
    if reduced is not image:
        notes = (*notes, f"reduced from {_size(image.size)} to {_size(reduced.size)}")
    return LoadedPhoto(reduced, (image.height, image.width), notes)


def load_photos(photos: Iterable[Photo], config: DatasetConfig) -> Iterator[tuple[Photo, LoadedPhoto | PhotoError]]:
    """Load photos in order, a few ahead, so that reading and decoding hide behind the work.

    Yields:
        Each photo with its pixels, or with what is wrong with it.
    """

    def load(photo: Photo) -> LoadedPhoto | PhotoError:
        try:
            return load_photo(photo, config)
        except PhotoError as error:
            return error

    with ThreadPoolExecutor(LOAD_THREADS, thread_name_prefix="photos") as threads:
        ahead: deque[tuple[Photo, Future[LoadedPhoto | PhotoError]]] = deque()
        for photo in photos:
            ahead.append((photo, threads.submit(load, photo)))
            if len(ahead) > PHOTOS_AHEAD:
                yield _result(ahead.popleft())
        while ahead:
            yield _result(ahead.popleft())


def load_ids(uri: str) -> np.ndarray:
    """Read an image of ids: a true mask.

    Returns:
        (H, W) uint8.

    Raises:
        PhotoError: missing, unreadable, undecodable, or not an image of ids.
    """
    with decoded(uri, read_bytes(uri)) as image:
        if image.mode not in ("P", "L"):
            raise PhotoError(
                ErrorKind.BAD_TRUTH,
                f"{uri} has mode {image.mode}: a true mask must be a palette or grey PNG of ids",
            )
        if image.format == "JPEG":
            raise PhotoError(ErrorKind.BAD_TRUTH, f"{uri} is a JPEG, which changes ids: a true mask must be a PNG")
        return np.array(image)


def read_bytes(uri: str) -> bytes:
    """Read a whole file.

    Raises:
        PhotoError: MISSING, UNREADABLE (a folder, no permission, refused by the server), TIMEOUT or NETWORK.
    """
    try:
        with refusals_of_photo(uri):
            return read_file(uri)
    except TransientError as exc:
        slow = isinstance(exc.__cause__, TimeoutError)
        raise PhotoError(ErrorKind.TIMEOUT if slow else ErrorKind.NETWORK, str(exc)) from exc


@contextmanager
def refusals_of_photo(uri: str) -> Iterator[None]:
    """Turn what reading a photo raises for good into what is wrong with the photo.

    Raises:
        PhotoError: MISSING, or UNREADABLE (a folder, no permission, refused by the server).
    """
    try:
        yield
    except FileNotFoundError as exc:
        raise PhotoError(ErrorKind.MISSING, f"{uri} is not there") from exc
    except StorageError as exc:
        raise PhotoError(ErrorKind.UNREADABLE, str(exc)) from exc


@contextmanager
def decoded(uri: str, data: bytes) -> Iterator[Image.Image]:
    """Open an image; PIL's errors, also those of decoding in the block, tell of the file.

    Raises:
        PhotoError: UNDECODABLE.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            yield image
    except (OSError, SyntaxError, ValueError, RuntimeError, Image.DecompressionBombError) as exc:
        what = "no image of a known format" if isinstance(exc, UnidentifiedImageError) else str(exc)
        raise PhotoError(ErrorKind.UNDECODABLE, f"{uri} ({len(data)} bytes) cannot be decoded: {what}") from exc


def _result(
    pending: tuple[Photo, Future[LoadedPhoto | PhotoError]],
) -> tuple[Photo, LoadedPhoto | PhotoError]:
    photo, future = pending
    return photo, future.result()


@cache
def _formats() -> tuple[str, ...]:
    """The formats that are tried on a file, whatever its name says."""
    Image.init()
    return tuple(name for name in Image.ID if name not in NO_PHOTOS)


def _wrong_suffix(uri: str, encoded: Image.Image) -> tuple[str, ...]:
    suffix = posixpath.splitext(uri)[1].lower()
    meant, found = Image.registered_extensions().get(suffix), encoded.format
    if meant is None or found in (meant, *SAME_SUFFIX.get(meant, ())):
        return ()
    return (f"content is {found}, the name says {suffix}",)


def _other_size(photo: Photo, encoded: Image.Image, image: Image.Image) -> tuple[str, ...]:
    """A note where the labels were made for a picture of another size; turned or not, either will do."""
    if photo.stated_size in (None, encoded.size, image.size):
        return ()
    return (f"labels state {_size(photo.stated_size)}, the photo has {_size(image.size)}",)


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def load_truth(uri: str, size_hw: tuple[int, int]) -> np.ndarray:
    """Read the true mask of a photo.

    Args:
        uri: of the mask.
        size_hw: height and width of the photo [px].

    Returns:
        (H, W) uint8.

    Raises:
        PhotoError: as `load_ids`; BAD_TRUTH where it has not the photo's size.
    """
    truth = load_ids(uri)
    if truth.shape != size_hw:
        reason = f"its truth is {truth.shape[1]}x{truth.shape[0]}, the photo {size_hw[1]}x{size_hw[0]}"
        raise PhotoError(ErrorKind.BAD_TRUTH, reason)
    return truth
