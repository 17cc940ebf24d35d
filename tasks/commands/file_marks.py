"""Mark PNG and JPEG files as written by clipes.

The mark is a text entry with the SHA-256 of the rest of the file. If anybody changes the file, the mark no longer fits.
"""

import hashlib
import zlib

KEYWORD = b"clipes"
PNG, PNG_END = b"\x89PNG\r\n\x1a\n", 12  # signature, and the length of the last chunk, IEND [bytes]
JPEG, JPEG_COMMENT = b"\xff\xd8\xff", b"\xff\xfe"


def add_mark(data: bytes) -> bytes:
    """Return a PNG or JPEG with the mark of clipes; return any other content unchanged."""
    mark = _mark(data)
    place = _place_of_mark(data, len(data))
    return data if place is None else data[:place] + mark + data[place:]


def has_mark(data: bytes) -> bool:
    """Return whether clipes wrote a PNG or JPEG that has not changed since."""
    length = len(_mark(data))
    place = _place_of_mark(data, len(data) - length)
    return place is not None and add_mark(data[:place] + data[place + length :]) == data


def _mark(data: bytes) -> bytes:
    text = KEYWORD + b"\0" + hashlib.sha256(data).hexdigest().encode()
    if data.startswith(PNG):
        chunk = b"tEXt" + text
        return len(text).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    return JPEG_COMMENT + (len(text) + 2).to_bytes(2, "big") + text


def _place_of_mark(data: bytes, plain_length: int) -> int | None:
    """Return where the mark is inserted: in a PNG before its last chunk, in a JPEG after its first segment.

    Args:
        data: content, with or without a mark.
        plain_length: length of the content without a mark.
    """
    if data.startswith(PNG):
        place = plain_length - PNG_END
    elif data.startswith(JPEG):
        place = 4 + int.from_bytes(data[4:6], "big")
    else:
        return None
    return place if 0 < place < plain_length else None
