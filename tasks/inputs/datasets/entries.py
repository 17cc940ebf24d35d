"""Entries (photos that are listed but not looked up yet), and functions that readers use to build entries."""

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from clipes.tasks.inputs.photos import Annotations, Reject
from clipes.tasks.storage.user_files import absolute, join
from clipes_core.config.dataset import DatasetConfig
from clipes_core.config.suggestions import LEAST_SIMILARITY
from clipes_core.config.uri import without_secrets
from clipes_core.errors import ConfigError, ErrorKind, PhotoError

STAGE = "manifest"
PHOTO_EXTENSIONS = (".jpg", ".jpeg", ".png")
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Entry:
    """A listed photo with valid labels. Its files may not exist.

    Attributes:
        image_id: id, unique in the data set.
        photo_uris: URIs at which the photo may be found, in order of preference; at least one.
        class_ids: data set ids 1..K of the photo's labels, unique, in order of first appearance.
        truth_uris: URIs at which the true mask may be found, in order of preference; empty if there is no true mask.
        named_truth: URI of the true mask that the list file of the data set states; None if the list file states none.
            This URI takes precedence over `truth_uris`. If no file exists at any of these URIs, the scores report the
            file at `named_truth` as missing.
        stated_size: width and height [px] that the label file states for the photo; None if it states no size.
        annotations: annotations from which the true mask is drawn; None if there are none.
        notes: remarks for the user about what clipes corrected. Entries with the same remark are counted together.
    """

    image_id: str
    photo_uris: tuple[str, ...]
    class_ids: tuple[int, ...]
    truth_uris: tuple[str, ...] = ()
    named_truth: str | None = None
    stated_size: tuple[int, int] | None = None
    annotations: Annotations | None = None
    notes: tuple[str, ...] = ()

    @property
    def truth_places(self) -> tuple[str, ...]:
        """All URIs at which the true mask may be found, in order of preference."""
        return (self.named_truth, *self.truth_uris) if self.named_truth else self.truth_uris


@dataclass(frozen=True, slots=True)
class Remark:
    """A remark for the user about a data set as a whole."""

    text: str


def rejected(image_id: str, uri: str, error: PhotoError) -> Reject:
    """Build the `Reject` of a photo that cannot be used.

    Characters that UTF-8 cannot encode are escaped. In the reason, control characters such as line ends are escaped,
    and URIs that may contain a password are hidden, because the reason can name other photos than this one.
    """
    reason = CONTROL_CHARACTERS.sub(lambda found: repr(found[0])[1:-1], without_secrets(error.reason))
    image_id, uri, reason = (text.encode(errors="backslashreplace").decode() for text in (image_id, uri, reason))
    return Reject(image_id, uri, STAGE, error.kind, reason)


def dataset_root(config: DatasetConfig) -> str:
    """Return the data set's folder as an absolute path or URI.

    Raises:
        ConfigError: `root` is not set.
    """
    if config.root is None:
        raise ConfigError(f"dataset.root: must be set for format {config.format}; give the data set's folder")
    return absolute(config.root)


def path_inside(path: str) -> str:
    """Normalise a path that is relative to the data set's root.

    Raises:
        PhotoError: MISSING; the path is empty or absolute, leads out of the root, or contains characters that file
            names cannot contain.
    """
    if not path:
        raise PhotoError(ErrorKind.MISSING, "the path is empty; write the path of the photo")
    inside = posixpath.normpath(path)
    if inside == "." or inside.startswith("/") or inside.split("/", 1)[0] == ".." or unwritable(inside):
        raise PhotoError(ErrorKind.MISSING, f"{path!r} is not a path below the data set's root")
    return inside


def spellings(inside: str) -> tuple[str, ...]:
    """Return a normalised path and, if it has backslashes, also the path with slashes instead."""
    with_slashes = with_slashes_only(inside)
    if with_slashes == inside:
        return (inside,)
    try:
        return inside, path_inside(with_slashes)
    except PhotoError:
        return (inside,)


def with_slashes_only(path: str) -> str:
    """Return a path with slashes in place of backslashes, which separate folders on Windows."""
    return path.replace("\\", "/")


def unwritable(path: str) -> bool:
    """Return whether a path has a NUL character or a lone surrogate, which file names cannot contain."""
    return "\0" in path or any("\ud800" <= character <= "\udfff" for character in path)


def without_extension(path: str) -> str:
    """Return a path without its extension."""
    return posixpath.splitext(path)[0]


def mask_place(folder: str | None, image_id: str) -> tuple[str, ...]:
    """Return a tuple with the URI of a photo's mask in a folder of masks; the tuple is empty if `folder` is None."""
    return (join(folder, f"{image_id}.png"),) if folder else ()


def find_class_ids(labels: Iterable[str], known: Mapping[str, int]) -> tuple[int, ...]:
    """Return the data set ids of a photo's labels, unique, in order of first appearance.

    Args:
        labels: labels of the photo, as the data set spells them. They are case-sensitive.
        known: valid label -> its data set id 1..K.

    Raises:
        PhotoError: UNKNOWN_CLASS; the reason names the first unknown label.
    """
    ids: dict[int, None] = {}
    for label in labels:
        if label not in known:
            raise PhotoError(ErrorKind.UNKNOWN_CLASS, f"unknown class {label!r}{_hint(label, known)}")
        ids[known[label]] = None
    return tuple(ids)


def _hint(label: str, known: Mapping[str, int]) -> str:
    alike = [name for name in known if name.casefold() == label.casefold()]
    if alike:
        return f"; did you mean {alike[0]!r}?"
    words = {name.casefold(): name for name in known if not name.isdecimal()}
    for similar in get_close_matches(label.casefold(), words, n=1, cutoff=LEAST_SIMILARITY):
        return f"; did you mean {words[similar]!r}?"
    numbers = [int(name) for name in known if name.isdecimal()]
    if not numbers or not label.removeprefix("-").isdecimal():
        return ""
    first, last = min(numbers), max(numbers)
    off_by_one = ""
    if label == (str(last + 1) if first == 0 else "0"):
        off_by_one = f". Does the file count ids from {1 - first}? Then all its labels are off by one"
    return f"; ids range from {first} to {last}{off_by_one}"
