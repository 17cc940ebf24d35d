"""Classes for listed, rejected and loaded photos, and functions that load photos."""

import posixpath
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, overload

from PIL import Image
from typing_extensions import TypeVar

from clipes.tasks.inputs.decoding import decoder_bytes, open_image, read_bytes, translate_decoding_errors
from clipes.tasks.machine.memory_budget import MemoryBudget
from clipes_core.config.dataset import DatasetConfig
from clipes_core.config.execution import DECODE_MEMORY_MIB
from clipes_core.errors import ErrorKind, PhotoError
from clipes_core.photos.rgb_conversion import RgbPhoto, conversion_bytes, reduce_while_decoding, to_rgb
from clipes_core.preprocessing import limited_size

if TYPE_CHECKING:
    from clipes_core.views import PhotoViews, Viewer

SAME_SUFFIX = {"JPEG": ("MPO",), "BMP": ("DIB",)}  # PIL format -> other PIL formats with the same file suffix
MAX_FILE_BYTES = 2 << 30  # the most pixels that PIL decodes, uncompressed in four bands of 16 bits, need 1.4 GB
LOAD_THREADS = 4
PHOTOS_AHEAD = 8

Pixels = TypeVar("Pixels", default=Image.Image)


@dataclass(frozen=True)
class AnnotationSource:
    """An annotation file of COCO, from whose outlines true masks are drawn.

    Attributes:
        uri: path or URI of the file.
        fingerprint: fingerprint of the file when it was listed.
        class_ids: (category id, data set id 1..K) of each category.
    """

    uri: str
    fingerprint: str
    class_ids: tuple[tuple[Any, int], ...]


@dataclass(frozen=True, slots=True)
class Annotations:
    """The annotations from which the true mask of a photo is drawn.

    Attributes:
        source: the file that holds them.
        spans: offset and size [bytes] of each annotation in the file, as pairs of little-endian int64.
        fingerprint: text that changes when the true mask may change.
    """

    source: AnnotationSource
    spans: bytes
    fingerprint: str


@dataclass(frozen=True)
class Photo:
    """One photo of a data set, listed but not opened.

    Attributes:
        image_id: id, unique in the data set. For the data set format `list`, the id is the photo's path relative to
            `dataset.root`, without the extension and without the names of archives.
        uri: absolute path or URI of the file. For a member of an archive, it is the URI of the archive, a slash and the
            name of the member.
        size_bytes: size of the file [bytes].
        fingerprint: ETag of the file, or its size and modification time, or a digest of its content; see
            `clipes.tasks.inputs.sources.table`. It changes when the file changes.
        class_ids: data set ids 1..K of the photo's labels, unique, in order of first appearance.
        truth_uri: URI of the true mask; None if the photo has none. If the true mask is drawn from annotations, it is
            the place of the mask in an artifact (see `clipes.tasks.storage.layout.row_uri`), and None before a run has
            been prepared.
        truth_fingerprint: fingerprint of the file at `truth_uri`, or of the annotations; None if neither exists.
        stated_size: width and height [px] that the label file states for the photo; None if it states no size.
        annotations: annotations from which the true mask is drawn; None if there are none.
    """

    image_id: str
    uri: str
    size_bytes: int
    fingerprint: str
    class_ids: tuple[int, ...]
    truth_uri: str | None = None
    truth_fingerprint: str | None = None
    stated_size: tuple[int, int] | None = None
    annotations: Annotations | None = None

    @property
    def has_truth(self) -> bool:
        """True if the photo has a true mask, or annotations from which it is drawn."""
        return self.truth_uri is not None or self.annotations is not None


@dataclass(frozen=True)
class Reject:
    """A photo for which a stage has no result, and the reason."""

    image_id: str
    uri: str
    stage: str
    kind: ErrorKind
    reason: str


@dataclass(frozen=True)
class LoadedPhoto(Generic[Pixels]):
    """The pixels of a photo, ready for CAM and CRF.

    Attributes:
        image: RGB image whose longer side is at most `dataset.max_side`, or the views of this image for the network.
        size_hw: height and width of the photo before it was reduced to `dataset.max_side` [px].
        notes: remarks about the photo for the user, such as the conversions that were applied.
    """

    image: Pixels
    size_hw: tuple[int, int]
    notes: tuple[str, ...]


def load_photo(photo: Photo, config: DatasetConfig) -> LoadedPhoto:
    """Read and decode a photo, convert it to RGB and reduce it to `max_side`.

    Raises:
        PhotoError: the photo is missing, has changed since it was listed, cannot be read or decoded, or is too small.
    """
    return _decode(photo, _read(photo), config)


def _read(photo: Photo) -> bytes:
    """Read the file of a photo, unless its listed size shows that it is no photo."""
    if photo.size_bytes > MAX_FILE_BYTES:
        raise PhotoError(
            ErrorKind.UNDECODABLE,
            f"{photo.uri} has {photo.size_bytes} bytes and was not read: a photo has at most {MAX_FILE_BYTES} bytes",
        )
    return read_bytes(photo.uri, photo.fingerprint)


def _decode(photo: Photo, data: bytes, config: DatasetConfig) -> LoadedPhoto:
    with open_image(photo.uri, data) as encoded:
        encoded_size = encoded.size
        rgb = to_rgb(encoded, config.exif, config.max_side, draft=config.jpeg_scale == "reduced")
        notes = (*_note_suffix(photo.uri, encoded), *rgb.notes, *_note_stated_size(photo, encoded_size, rgb.size_hw))
    return LoadedPhoto(rgb.image, rgb.size_hw, (*notes, *_note_reduction(rgb)))


def converted_image(image: Image.Image, config: DatasetConfig) -> LoadedPhoto:
    """Convert an image in memory to RGB, and reduce it to `max_side`, as `load_photo` does with a file.

    Raises:
        PhotoError: the image cannot be decoded or converted, or is too small.
    """
    with translate_decoding_errors("the image"):
        rgb = to_rgb(image, config.exif, config.max_side)
    return LoadedPhoto(rgb.image, rgb.size_hw, (*rgb.notes, *_note_reduction(rgb)))


def decoding_bytes(photo: Photo, data: bytes, config: DatasetConfig, viewer: "Viewer | None" = None) -> int:
    """Estimate from the header of a photo how much memory its decoding, its conversion and its views need [bytes].

    If the memory that the decoder needs is unknown, the result is larger than any budget.
    """
    with open_image(photo.uri, data) as encoded:
        encoded_size = encoded.size
        decoder = decoder_bytes(encoded)  # a progressive JPEG is decoded from coefficients for its full size
        if config.jpeg_scale == "reduced":
            reduce_while_decoding(encoded, config.max_side)
        needed = conversion_bytes(encoded, config.exif, config.max_side)
    if decoder is None:
        return sys.maxsize
    viewed = 0 if viewer is None else viewer.needed_bytes(limited_size(encoded_size, config.max_side))
    return len(data) + max(decoder + needed, viewed)  # the decoder has ended when the views are made


@overload
def load_photos(
    photos: Iterable[Photo], config: DatasetConfig, memory_mib: int = DECODE_MEMORY_MIB, viewer: None = None
) -> Iterator[tuple[Photo, LoadedPhoto | PhotoError]]: ...


@overload
def load_photos(
    photos: Iterable[Photo], config: DatasetConfig, memory_mib: int, viewer: "Viewer"
) -> "Iterator[tuple[Photo, LoadedPhoto[PhotoViews] | PhotoError]]": ...


def load_photos(
    photos: Iterable[Photo],
    config: DatasetConfig,
    memory_mib: int = DECODE_MEMORY_MIB,
    viewer: "Viewer | None" = None,
) -> Iterator[tuple[Photo, LoadedPhoto[Any] | PhotoError]]:
    """Load photos in the given order. Threads load a few photos in advance, so that the caller seldom waits.

    Args:
        photos: photos to load.
        config: settings for reading the photos.
        memory_mib: memory for decoding [MiB]. Threads decode photos at the same time only if together they need at
            most this much, as estimated from the headers of the files. A photo that needs more is decoded alone; the
            limit of PIL for the number of pixels still applies to it. The files that threads have read, and the photos
            that wait for the caller, need additional memory.
        viewer: makes the views of a photo for the network. If given, the threads do this too, and a loaded photo has
            its views in place of its image.

    Yields:
        Each photo with its pixels, or with an error if the photo cannot be used.
    """
    memory = MemoryBudget(memory_mib << 20)

    def load(photo: Photo) -> LoadedPhoto[Any] | PhotoError:
        try:
            data = _read(photo)
            with memory.reserve(decoding_bytes(photo, data, config, viewer)):
                loaded = _decode(photo, data, config)
                return loaded if viewer is None else _viewed(photo, loaded, viewer)
        except PhotoError as error:
            return PhotoError(error.kind, error.reason)  # the traceback of `error` keeps the decoded pixels alive

    with ThreadPoolExecutor(LOAD_THREADS, thread_name_prefix="photos") as threads:
        ahead: deque[tuple[Photo, Future[LoadedPhoto[Any] | PhotoError]]] = deque()
        for photo in photos:
            ahead.append((photo, threads.submit(load, photo)))
            if len(ahead) > PHOTOS_AHEAD:
                yield _wait_for(*ahead.popleft())
        while ahead:
            yield _wait_for(*ahead.popleft())


def _viewed(photo: Photo, loaded: LoadedPhoto, viewer: "Viewer") -> "LoadedPhoto[PhotoViews]":
    """Return a photo with its views in place of its image.

    Raises:
        PhotoError: OUT_OF_MEMORY if the memory does not suffice.
    """
    try:
        return LoadedPhoto(viewer.show(loaded.image), loaded.size_hw, loaded.notes)
    except MemoryError as exc:
        raise PhotoError(ErrorKind.OUT_OF_MEMORY, f"{photo.uri} is too large to be resized for CLIP") from exc


def _wait_for(
    photo: Photo, future: Future[LoadedPhoto[Any] | PhotoError]
) -> tuple[Photo, LoadedPhoto[Any] | PhotoError]:
    return photo, future.result()


def _note_suffix(uri: str, encoded: Image.Image) -> tuple[str, ...]:
    """Return a note if a file's suffix does not match the format of its content."""
    suffix = posixpath.splitext(uri)[1].lower()
    named, found = Image.registered_extensions().get(suffix), encoded.format
    if named is None or found in (named, *SAME_SUFFIX.get(named, ())):
        return ()
    return (f"the content is {found}, but the file name ends in {suffix}",)


def _note_stated_size(photo: Photo, encoded_size: tuple[int, int], size_hw: tuple[int, int]) -> tuple[str, ...]:
    """Return a note if the label file states a size that the photo has neither before nor after the EXIF rotation."""
    if photo.stated_size in (None, encoded_size, size_hw[::-1]):
        return ()
    width, height = photo.stated_size
    return (f"the label file states {width}x{height}, but the photo has {_format_size(size_hw)}",)


def _note_reduction(rgb: RgbPhoto) -> tuple[str, ...]:
    """Return a note if a photo was reduced to the largest permitted side."""
    if rgb.image.size == rgb.size_hw[::-1]:
        return ()
    return (f"reduced from {_format_size(rgb.size_hw)} to {_format_size(rgb.image.size[::-1])}",)


def _format_size(size_hw: tuple[int, int]) -> str:
    return f"{size_hw[1]}x{size_hw[0]}"
