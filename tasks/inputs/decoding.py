"""Read and decode the user's image files; raise each failure as a PhotoError that names the file."""

import io
import logging
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from PIL import Image, UnidentifiedImageError

from clipes.tasks.inputs.metadata import without_metadata
from clipes.tasks.inputs.sources.source import UNKNOWN, transient_photo_error
from clipes.tasks.inputs.sources.table import read_listed
from clipes.tasks.inputs.unsupported_formats import psd_refusal, refusal
from clipes_core.errors import ClipesError, ErrorKind, PhotoError, StorageError, TransientError

# PIL runs Ghostscript on EPS files. PIL also mistakes many broken files for SPIDER files, and then crashes.
REFUSED_FORMATS = ("EPS", "SPIDER")
BLOCK_BYTES = 1 << 30  # PIL then allocates an image in one piece, which a thread that frees it returns to the system
# PIL format -> memory that its decoder needs in addition to the decoded image [bytes per pixel and band]: an upper
# bound of measured values
DECODER_BYTES = {
    "AVIF": 4,
    "BMP": 0,
    "GIF": 4,
    "JPEG": 2,
    "JPEG2000": 8,
    "MPO": 2,
    "PNG": 1,
    "PPM": 0,
    "TIFF": 2,
    "WEBP": 4,
}


def read_bytes(uri: str, fingerprint: str = UNKNOWN) -> bytes:
    """Read a whole file.

    Args:
        uri: path or URI of the file.
        fingerprint: fingerprint of the file when it was listed, as for `read_listed`.

    Raises:
        PhotoError: MISSING, UNREADABLE (`uri` is a folder, or access is denied), TIMEOUT, NETWORK, or CHANGED (the file
            has changed since it was listed).
    """
    try:
        with translate_photo_errors(uri):
            return read_listed(uri, fingerprint)
    except TransientError as exc:
        raise transient_photo_error(exc) from exc


@contextmanager
def translate_photo_errors(uri: str) -> Iterator[None]:
    """Turn any error that the `with` block raises while it reads a file into a PhotoError, except other ClipesErrors.

    Raises:
        PhotoError: MISSING, or UNREADABLE (`uri` is a folder, access is denied, or the file system raised any other
            error); OUT_OF_MEMORY if the memory does not suffice.
    """
    try:
        yield
    except FileNotFoundError as exc:
        raise PhotoError(ErrorKind.MISSING, f"{uri} does not exist") from exc
    except StorageError as exc:
        raise PhotoError(ErrorKind.UNREADABLE, str(exc)) from exc
    except ClipesError:
        raise
    except Exception as exc:
        reason = f"{uri} cannot be read: {_described(exc)}"
        raise PhotoError(_kind(exc, ErrorKind.UNREADABLE), reason) from exc


@contextmanager
def open_image(uri: str, data: bytes) -> Iterator[Image.Image]:
    """Open an image. Raise any error, here or in the `with` block, as a PhotoError that names the file.

    PIL sees a PNG or JPEG without the metadata that clipes does not use, so that these cannot cost the photo.
    PIL raises errors of many types for damaged files, so this is the one place that catches them. PIL's warnings are
    hidden, because they name no file.

    Args:
        uri: URI of the file, for error messages.
        data: content of the file.

    Raises:
        PhotoError: UNDECODABLE if the content is not an image that PIL can decode; OUT_OF_MEMORY if the memory does not
            suffice; or a PhotoError of the `with` block, whose reason then starts with the URI.
    """
    _hide_warnings()
    with translate_decoding_errors(uri, data):
        _refuse(refusal(data))
        with Image.open(io.BytesIO(without_metadata(data)), formats=_accepted_formats()) as image:
            _refuse(psd_refusal(image))
            yield image


@contextmanager
def translate_decoding_errors(name: str, data: bytes | None = None) -> Iterator[None]:
    """Turn any error that the `with` block raises while it decodes an image into a PhotoError that names the image.

    Args:
        name: URI of the file, or another name of the image.
        data: content of the file; None if the image is not a file.

    Raises:
        PhotoError: UNDECODABLE if the image cannot be decoded; OUT_OF_MEMORY if the memory does not suffice; or a
            PhotoError of the `with` block, whose reason then starts with the name.
    """
    try:
        yield
    except PhotoError as error:
        raise PhotoError(error.kind, f"{name}: {_printable(error.reason)}") from error
    except Exception as exc:
        size = "" if data is None else f" ({len(data)} bytes)"
        reason = f"{name}{size} cannot be decoded: {_cause(exc, data)}"
        raise PhotoError(_kind(exc, ErrorKind.UNDECODABLE), reason) from exc


def decoder_bytes(image: Image.Image) -> int | None:
    """Estimate the memory that PIL's decoder needs in addition to the decoded image [bytes]; None if it is unknown."""
    if image.format not in DECODER_BYTES:
        return None
    return image.width * image.height * len(image.getbands()) * DECODER_BYTES[image.format]


class _UnsupportedError(Exception):
    """A file is in a format that clipes does not decode. The message says what the file is and what to do."""


def _refuse(remark: str | None) -> None:
    if remark is not None:
        raise _UnsupportedError(remark)


def _cause(error: Exception, data: bytes | None) -> str:
    """Return why an image cannot be decoded."""
    if data == b"":
        return "the file is empty"
    if isinstance(error, _UnsupportedError):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return "not an image in a known format"
    return _described(error)


def _described(error: Exception) -> str:
    return _printable(traceback.format_exception_only(error)[-1])


def _kind(error: Exception, otherwise: ErrorKind) -> ErrorKind:
    return ErrorKind.OUT_OF_MEMORY if isinstance(error, MemoryError) else otherwise


def _printable(text: str) -> str:
    """Return a text in one line. Some messages of PIL contain bytes of the damaged file."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))


def _hide_warnings() -> None:
    """Hide the warnings of PIL in all threads, unless they are already hidden. The first filter decides."""
    global _hidden
    if warnings.filters[:1] != [_hidden]:
        warnings.filterwarnings("ignore", module=r"PIL\.")
        _hidden = warnings.filters[0]


_hidden: object = None  # the filter that hides the warnings


@cache
def _accepted_formats() -> tuple[str, ...]:
    """Prepare PIL, and return the image formats that clipes accepts. PIL recognises them by a file's content."""
    Image.init()
    Image.core.set_block_size(BLOCK_BYTES)
    logging.getLogger(Image.__package__).setLevel(logging.CRITICAL)  # its messages name no file
    return tuple(name for name in Image.ID if name not in REFUSED_FORMATS)
