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
        PhotoError: MISSING, UNREADABLE (`uri` is a folder, or access is denied), TIMEOUT or NETWORK.
    """
    try:
        with translate_photo_errors(uri):
            return read_file(uri)
    except TransientError as exc:
        slow = isinstance(exc.__cause__, TimeoutError)
        raise PhotoError(ErrorKind.TIMEOUT if slow else ErrorKind.NETWORK, str(exc)) from exc


@contextmanager
def translate_photo_errors(uri: str) -> Iterator[None]:
    """Turn a FileNotFoundError or StorageError that the `with` block raises into a PhotoError.

    Raises:
        PhotoError: MISSING, or UNREADABLE (`uri` is a folder, or access is denied).
    """
    try:
        yield
    except FileNotFoundError as exc:
        raise PhotoError(ErrorKind.MISSING, f"{uri} does not exist") from exc
    except StorageError as exc:
        raise PhotoError(ErrorKind.UNREADABLE, str(exc)) from exc


@contextmanager
def open_image(uri: str, data: bytes) -> Iterator[Image.Image]:
    """Open an image, and turn the errors that PIL raises, here or in the `with` block, into a PhotoError.

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
    """Return the image formats that clipes accepts. PIL recognises them by a file's content, not by its suffix."""
    Image.init()
    return tuple(name for name in Image.ID if name not in REFUSED_FORMATS)
