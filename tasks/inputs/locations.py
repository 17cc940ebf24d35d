"""Check the paths and URIs that a user writes in a config or on the command line, and expand `~` in them."""

import os
import re
import unicodedata

from fsspec import available_protocols

from clipes_core.config.uri import refusal
from clipes_core.errors import ConfigError

# a protocol and what follows it: `s3://`, or a mistyped form such as `s3:/`, `s3//`, `s3:` or `S3://`
START = re.compile(r"\s*(?P<protocol>[a-z][a-z0-9+.-]*)\s*(?P<mark>:/*|;?//+)(?!:)", re.IGNORECASE)
OF_DISK = ("file", "local", "memory")  # protocols whose URIs may have a third slash, before an absolute path


def checked_location(text: str, what: str) -> str:
    """Check a path or URI, and replace `~` at the start of a path with the home folder.

    Args:
        text: the path or URI; relative paths stay relative.
        what: option or config key, for messages.

    Raises:
        ConfigError: the text is empty, has a control character, is a URI that may contain a password, resembles a URI
            but is none, or names a home folder that does not exist.
    """
    if not text.strip() or any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise ConfigError(f"{what}: {text!r} is neither a path nor a URI; give the path or URI of a file or folder")
    proper = _proper_uri(text)
    if message := refusal(proper or text):
        raise ConfigError(f"{what}: {message}")
    if proper:
        local = "" if "://" in text else f"; for a local path, write ./{text}"
        raise ConfigError(f"{what}: {text!r} is not a URI; write {proper}{local}")
    path = os.path.expanduser(text)  # noqa: PTH111 - Path would change a URI
    if path.startswith("~"):
        raise ConfigError(f"{what}: {text!r} names a home folder that does not exist; for a local path, write ./{text}")
    return path


def _proper_uri(text: str) -> str | None:
    """Return the URI that a mistyped URI probably means; None for a proper URI and for a path."""
    match = START.match(text)
    if match is None:
        return None
    protocol, mark = match["protocol"].lower(), match["mark"]
    on_disk = protocol in OF_DISK
    if match[0] == f"{protocol}://" or (on_disk and match[0] == f"{protocol}:///"):
        return None
    if protocol not in available_protocols() and not mark.startswith("://"):
        return None
    path = text[match.end() :].lstrip("\\")
    return f"{protocol}:///{path}" if on_disk and mark.endswith("/") else f"{protocol}://{path}"
