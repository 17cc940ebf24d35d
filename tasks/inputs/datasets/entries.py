"""What a data set's reader knows of a photo before its files are looked up."""

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clipes.tasks.inputs.photos import Reject
from clipes.tasks.storage.user_files import absolute, join
from clipes_core.config.run import DatasetConfig
from clipes_core.errors import ConfigError, ErrorKind, PhotoError

STAGE = "manifest"
PHOTO_EXTENSIONS = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, slots=True)
class Entry:
    """A listed photo whose labels are known.

    Attributes:
        image_id: unique in the data set.
        photo_uris: where the photo may lie, best first; at least one.
        class_ids: data set ids 1..K, unique, in order of first appearance.
        truth_uris: where its true mask may lie, best first; none: it has none.
        named_truth: the true mask that the list itself names; it goes first, and is missed where it is not there.
        stated_size: width and height [px] that the labels state, None where they state none.
    """

    image_id: str
    photo_uris: tuple[str, ...]
    class_ids: tuple[int, ...]
    truth_uris: tuple[str, ...] = ()
    named_truth: str | None = None
    stated_size: tuple[int, int] | None = None

    @property
    def all_truth_uris(self) -> tuple[str, ...]:
        """Where its true mask may lie, the one that the list names first."""
        return (self.named_truth, *self.truth_uris) if self.named_truth else self.truth_uris


def rejected(image_id: str, uri: str, error: PhotoError) -> Reject:
    """The row of a photo that cannot be listed; characters that UTF-8 has no form for are escaped."""
    image_id, uri, reason = (text.encode(errors="backslashreplace").decode() for text in (image_id, uri, error.reason))
    return Reject(image_id, uri, STAGE, error.kind, reason)


def dataset_root(config: DatasetConfig) -> str:
    """Return the data set's folder as an absolute path or URI.

    Raises:
        ConfigError: `root` is not set.
    """
    if config.root is None:
        raise ConfigError(f"dataset.root: must be set for format {config.format}: the data set's folder")
    return absolute(config.root)


def path_inside(path: str) -> str:
    """A path relative to the data set's root, normalised.

    Raises:
        PhotoError: MISSING where it is empty, absolute, leads out of the root or can be no file's name.
    """
    inside = posixpath.normpath(path)
    if inside == "." or inside.startswith("/") or inside.split("/", 1)[0] == ".." or _unwritable(inside):
        raise PhotoError(ErrorKind.MISSING, f"{path!r} is no path below the data set's root")
    return inside


def _unwritable(path: str) -> bool:
    """Whether a path holds what no file's name can: a zero character, or half a character as JSON can spell it."""
    return "\0" in path or any("\ud800" <= character <= "\udfff" for character in path)


def without_extension(path: str) -> str:
    """The path without the last part's extension."""
    return posixpath.splitext(path)[0]


def mask_place(folder: str | None, image_id: str) -> tuple[str, ...]:
    """Where a folder of masks would hold a photo's, if there is such a folder."""
    return (join(folder, f"{image_id}.png"),) if folder else ()


def find_class_ids(labels: Iterable[str], known: Mapping[str, int]) -> tuple[int, ...]:
    """Data set ids of labels, unique, in order of first appearance.

    Args:
        labels: as the data set writes them; case counts.
        known: data set id 1..K of each label that may occur.

    Raises:
        PhotoError: UNKNOWN_CLASS; the reason names the first unknown label and what may have been meant.
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
    numbers = [int(name) for name in known if name.isdecimal()]
    if not numbers or not label.removeprefix("-").isdecimal():
        return ""
    first, last = min(numbers), max(numbers)
    counted = ""
    if label == (str(last + 1) if first == 0 else "0"):
        counted = f". Do the list's ids count from {1 - first}? Then all its labels are one off"
    return f"; ids run from {first} to {last}{counted}"
