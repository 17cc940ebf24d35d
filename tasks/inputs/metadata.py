"""Remove metadata from PNG and JPEG files, because PIL refuses a whole photo if its metadata are damaged or large."""

import io
import zlib
from collections.abc import Iterator

from PIL import PngImagePlugin

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
ANCILLARY = 0x20  # this bit of the first letter of a chunk's name says that a decoder need not know the chunk
TRANSPARENCY = b"tRNS"  # the only ancillary chunk that decides the pixels
ANIMATION, ANIMATION_BYTES, MOST_FRAMES = b"acTL", 8, 1 << 31  # the chunk with the number of frames
ORIENTED = (b"eXIf", b"iTXtXML:com.adobe.xmp\0", b"zTXtRaw profile type exif\0", b"tEXtRaw profile type exif\0")
DAMAGED_EXIF = b"damaged"  # data that is not EXIF, so that the photo gets a note about damaged EXIF data

JPEG_SIGNATURE = b"\xff\xd8"
MARKERS = range(0xC0, 0xFF)  # of the segments in a header
FIRST_SCAN = 0xDA
JPEG_METADATA = {*range(0xE3, 0xEE), 0xEF, 0xFE}  # the segments APP3 to APP13, APP15 and COM
COLOUR_SEGMENTS = {0xE0: 14, 0xEE: 12}  # JFIF and Adobe -> length below which a JPEG decoder ignores them [bytes]


def without_metadata(data: bytes) -> bytes:
    """Return a PNG or JPEG without the metadata that clipes does not use; return any other file unchanged.

    The pixels stay the same. EXIF data and other statements of the orientation stay, too. In a PNG, those that PIL
    cannot read are replaced by EXIF data that are damaged, so that PIL can decode the photo. Of an animated PNG, only
    the first image and the number of frames stay.

    Args:
        data: content of the file. If it is damaged, the result ends like the file.
    """
    if data.startswith(PNG_SIGNATURE):
        parts = list(_png_parts(data))
    elif data.startswith(JPEG_SIGNATURE):
        parts = list(_jpeg_parts(data))
    else:
        return data
    return b"".join(parts) if sum(map(len, parts)) != len(data) else data


def _png_parts(data: bytes) -> Iterator[memoryview | bytes]:
    """Yield the parts of a PNG to keep: its signature, its chunks, and the rest after the last chunk."""
    rest, reader, animated = memoryview(data), _MetadataReader(), False
    yield rest[: len(PNG_SIGNATURE)]
    rest = rest[len(PNG_SIGNATURE) :]
    while (name := rest[4:8].tobytes()).isalpha():
        end = 12 + int.from_bytes(rest[:4])
        if end > len(rest):
            break
        if not name[0] & ANCILLARY or name == TRANSPARENCY:
            yield rest[:end]
        elif (named := rest[4 : end - 4].tobytes()).startswith(ORIENTED):
            yield rest[:end] if reader.can_read(named, rest[end - 4 : end]) else _png_chunk(b"eXIf" + DAMAGED_EXIF)
        elif name == ANIMATION and not animated and _has_frames(named, rest[end - 4 : end]):
            animated = True  # PIL counts a second such chunk as an error
            yield rest[:end]
        rest = rest[end:]
    yield rest


def _has_frames(named: bytes, checksum: memoryview) -> bool:
    """Return whether a chunk `acTL`, given its name with its content, and its checksum, states several frames."""
    intact = len(named) == 4 + ANIMATION_BYTES and zlib.crc32(named) == int.from_bytes(checksum)
    return intact and 1 < int.from_bytes(named[4:8]) <= MOST_FRAMES


def _png_chunk(named: bytes) -> bytes:
    return (len(named) - 4).to_bytes(4) + named + zlib.crc32(named).to_bytes(4)


class _MetadataReader:
    """Finds out whether PIL can read the metadata of a PNG, whose total size PIL limits."""

    def __init__(self) -> None:
        self._stream = PngImagePlugin.PngStream(io.BytesIO())

    def can_read(self, named: bytes, checksum: memoryview) -> bool:
        """Return whether PIL can read a chunk, given its name with its content, and its checksum."""
        if zlib.crc32(named) != int.from_bytes(checksum):
            return False
        self._stream.fp = io.BytesIO(named[4:])
        try:
            self._stream.call(named[:4], 0, len(named) - 4)
        except Exception:  # PIL raises errors of many types for damaged metadata
            return False
        return True


def _jpeg_parts(data: bytes) -> Iterator[memoryview]:
    """Yield the parts of a JPEG to keep: its signature, the segments of its header, and the rest."""
    rest = memoryview(data)
    yield rest[: len(JPEG_SIGNATURE)]
    rest = rest[len(JPEG_SIGNATURE) :]
    while len(rest) > 4 and rest[0] == 0xFF and rest[1] in MARKERS and rest[1] != FIRST_SCAN:
        end = 2 + int.from_bytes(rest[2:4])
        if end > len(rest):
            break
        if not _is_metadata(rest[1], rest[4:end]):
            yield rest[:end]
        rest = rest[end:]
    yield rest


def _is_metadata(marker: int, content: memoryview) -> bool:
    """Return whether clipes does not need a segment of a JPEG. Of APP2, only the list of further images stays."""
    if marker == 0xE2:
        return content[:4] != b"MPF\0"
    return marker in JPEG_METADATA or len(content) < COLOUR_SEGMENTS.get(marker, 0)
