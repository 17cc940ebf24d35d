"""Read and decode the user's image files; raise each failure as a PhotoError that names the file."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from PIL import Image, UnidentifiedImageError

from clipes.tasks.storage.files import read_file
from clipes_core.errors import ErrorKind, PhotoError, StorageError, TransientError

# PIL runs Ghostscript on EPS files. PIL also mistakes many broken files for SPIDER files, and then crashes.
REFUSED_FORMATS = ("EPS", "SPIDER")


def read_bytes(uri: str) -> bytes:
    """Read a whole file.

    Raises:
        PhotoError: MISSING, UNREADABLE (a folder, no permission, refused by the server), TIMEOUT or NETWORK.
    """
    try:
        with translate_photo_errors(uri):
            return read_file(uri)
    except TransientError as exc:
        slow = isinstance(exc.__cause__, TimeoutError)
        raise PhotoError(ErrorKind.TIMEOUT if slow else ErrorKind.NETWORK, str(exc)) from exc


@contextmanager
def translate_photo_errors(uri: str) -> Iterator[None]:
    """Raise a PhotoError in place of a permanent error that the block raises while it reads a file.

    Raises:
        PhotoError: MISSING, or UNREADABLE (a folder, no permission, refused by the server).
    """
    try:
        yield
    except FileNotFoundError as exc:
        raise PhotoError(ErrorKind.MISSING, f"{uri} does not exist") from exc
    except StorageError as exc:
        raise PhotoError(ErrorKind.UNREADABLE, str(exc)) from exc


@contextmanager
def open_image(uri: str, data: bytes) -> Iterator[Image.Image]:
    """Open an image; turn the errors that PIL raises, now or while the block decodes the image, into a PhotoError.

    Args:
        uri: URI of the file, for error messages.
        data: content of the file.

    Raises:
        PhotoError: UNDECODABLE; the content is not an image that PIL can decode.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_accepted_formats()) as image:
            yield image
    except (OSError, SyntaxError, ValueError, RuntimeError, Image.DecompressionBombError) as exc:
        what = "not an image in a known format" if isinstance(exc, UnidentifiedImageError) else str(exc)
        raise PhotoError(ErrorKind.UNDECODABLE, f"{uri} ({len(data)} bytes) cannot be decoded: {what}") from exc


@cache
def _accepted_formats() -> tuple[str, ...]:
    """Return the formats that PIL may recognise in the content of a file. The file's suffix plays no role."""
    Image.init()
    return tuple(name for name in Image.ID if name not in REFUSED_FORMATS)
