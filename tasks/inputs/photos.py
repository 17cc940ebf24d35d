"""Photos: as the pipeline lists them, and as it loads them."""

import posixpath
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from clipes.tasks.inputs.images import open_image, read_bytes
from clipes_core.config.run import DatasetConfig
from clipes_core.errors import ErrorKind, PhotoError
from clipes_core.photo import reduce_to, to_rgb

SAME_SUFFIX = {"JPEG": ("MPO",), "BMP": ("DIB",)}  # format of a suffix -> formats that share the suffix
LOAD_THREADS = 4
PHOTOS_AHEAD = 8


@dataclass(frozen=True)
class Photo:
    """One photo of a data set, listed but not opened.

    Attributes:
        image_id: unique in the data set; in a list the path relative to root without extension.
        uri: absolute path or URI of the file.
        size_bytes: of the file.
        fingerprint: changes when the content of the file changes: ETag, or size and mtime.
        class_ids: data set ids 1..K of its labels, unique, in order of first appearance.
        truth_uri: of the true mask, None if it has none.
        truth_fingerprint: of the true mask's file, None if it has none.
        stated_size: width and height [px] that its labels state, None if they state none.
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
    """A photo that a stage could not use, and the reason."""

    image_id: str
    uri: str
    stage: str
    kind: ErrorKind
    reason: str


@dataclass(frozen=True)
class LoadedPhoto:
    """The pixels of a photo, ready for CAM and CRF.

    Attributes:
        image: RGB, its longer side at most max_side.
        size_hw: height and width of the photo itself [px].
        notes: what was converted, in plain words.
    """

    image: Image.Image
    size_hw: tuple[int, int]
    notes: tuple[str, ...]


def load_photo(photo: Photo, config: DatasetConfig) -> LoadedPhoto:
    """Read and decode a photo, convert it to RGB and reduce it to max_side.

    Raises:
        PhotoError: missing, unreadable, undecodable or too small; names the file and the reason.
    """
    with open_image(photo.uri, read_bytes(photo.uri)) as encoded:
        image, converted = to_rgb(encoded, config.exif)
        notes = (*_note_suffix(photo.uri, encoded), *converted, *_note_stated_size(photo, encoded, image))
    reduced = reduce_to(image, config.max_side)
    if reduced is not image:
        notes = (*notes, f"reduced from {_format_size(image.size)} to {_format_size(reduced.size)}")
    return LoadedPhoto(reduced, (image.height, image.width), notes)


def load_photos(photos: Iterable[Photo], config: DatasetConfig) -> Iterator[tuple[Photo, LoadedPhoto | PhotoError]]:
    """Load photos in order, a few ahead, so that the caller does not wait for reading and decoding.

    Yields:
        Each photo with its pixels, or with the error that says why it cannot be used.
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
                yield _wait_for(ahead.popleft())
        while ahead:
            yield _wait_for(ahead.popleft())


def _wait_for(pending: tuple[Photo, Future[LoadedPhoto | PhotoError]]) -> tuple[Photo, LoadedPhoto | PhotoError]:
    photo, future = pending
    return photo, future.result()


def _note_suffix(uri: str, encoded: Image.Image) -> tuple[str, ...]:
    """Return a note if the suffix of a file names another format than its content has."""
    suffix = posixpath.splitext(uri)[1].lower()
    named, found = Image.registered_extensions().get(suffix), encoded.format
    if named is None or found in (named, *SAME_SUFFIX.get(named, ())):
        return ()
    return (f"content is {found}, the name says {suffix}",)


def _note_stated_size(photo: Photo, encoded: Image.Image, image: Image.Image) -> tuple[str, ...]:
    """Return a note if the labels state another size than the photo has before and after EXIF rotation."""
    if photo.stated_size in (None, encoded.size, image.size):
        return ()
    return (f"labels state {_format_size(photo.stated_size)}, the photo has {_format_size(image.size)}",)


def _format_size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
