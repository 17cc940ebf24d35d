"""Decide which files the lines of a list may name.

A list may come from somebody else. `dataset.reach` limits the files and servers that its lines may name. No line may
bring a password into the files and logs of clipes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from clipes.tasks.storage.user_files import absolute, is_absolute, join, parent
from clipes_core.config.dataset import DatasetConfig
from clipes_core.config.uri import is_uri, refusal
from clipes_core.errors import ErrorKind, PhotoError

ALL_LOCAL_FILES = "/"
MARKS = {*"?#=@"}  # these separate a password from the rest of a URI


@dataclass(frozen=True)
class Reach:
    """The places that the lines of a list may name.

    Attributes:
        places: absolute paths and URIs of folders, servers such as `s3://bucket`, and protocols such as `s3://`.
    """

    places: tuple[str, ...]

    def check(self, uri: str) -> None:
        """Check that an absolute path or URI is in one of the places.

        Raises:
            PhotoError: NOT_PERMITTED; it is in none of the places, or it is a URI that leaves a folder with `..`.
        """
        if is_uri(uri) and ".." in unquote(uri).split("/"):
            raise PhotoError(ErrorKind.NOT_PERMITTED, f"a line of this list may not name {uri}: write it without ..")
        if not any(_is_inside(uri, place) for place in self.places):
            place = _server(uri) if is_uri(uri) else parent(uri)
            reason = f"a line of this list may not name {uri}; to permit it, add {place} to dataset.reach"
            raise PhotoError(ErrorKind.NOT_PERMITTED, reason)


def list_reach(config: DatasetConfig, list_uri: str, root: str) -> Reach:
    """Return the places that the lines of a list may name, according to `dataset.reach`.

    Args:
        config: settings of the data set.
        list_uri: absolute path or URI of the list.
        root: folder from which relative paths in the list start.
    """
    truth = (absolute(config.truth),) if config.truth else ()
    if config.reach is not None:
        others = tuple(map(absolute, config.reach))
    else:
        others = (*map(_server, filter(is_uri, (list_uri, root))), *(() if is_uri(list_uri) else (ALL_LOCAL_FILES,)))
    return Reach((root, parent(list_uri), *truth, *others))


def check_secrets(root: str, files: Sequence[str], labels: Sequence[str] = ()) -> None:
    """Check that nothing in a line of a list may be a password. The error repeats nothing of the line.

    Args:
        root: folder from which relative paths in the list start.
        files: paths and URIs in the line.
        labels: labels in the line. They matter too, because a URI with blanks may be taken apart into labels.

    Raises:
        PhotoError: NOT_PERMITTED; a part of the line may be a password.
    """
    named = [file if is_absolute(file) else join(root, file) for file in files]
    message = next((message for text in (*named, *labels) if (message := refusal(text))), None)
    if message is None and any(map(is_uri, files)) and any(MARKS & {*label} for label in labels):
        message = "a label may be the end of a URI with a password: write labels without the characters ? # = @"
    if message is not None:
        raise PhotoError(ErrorKind.NOT_PERMITTED, message)


def _is_inside(uri: str, place: str) -> bool:
    return uri == place or uri.startswith(place if place.endswith("/") else f"{place}/")


def _server(uri: str) -> str:
    """Return the protocol and the server or bucket of a URI."""
    protocol, _, rest = uri.partition("://")
    return f"{protocol}://{rest.partition('/')[0]}"
