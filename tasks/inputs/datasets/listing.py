"""List the photos of a data set, with their labels and fingerprints, without opening any photo."""

import logging
import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from clipes.tasks.inputs.datasets.entries import Entry, Remark, rejected, with_slashes_only
from clipes.tasks.inputs.datasets.formats import find_format
from clipes.tasks.inputs.datasets.repeated_lines import unique_rows
from clipes.tasks.inputs.datasets.search.photo_files import PhotoFiles, find_photo_files
from clipes.tasks.inputs.photos import Photo, Reject
from clipes.tasks.storage.user_files import absolute, list_names, parent
from clipes_core.config.dataset import DatasetConfig
from clipes_core.errors import DatasetError, ErrorKind, PhotoError, TransientError
from clipes_core.vocabulary import Vocabulary

SHOWN_NAMES = 3
SIMILAR_PHOTO = "clipes used the only file whose name has the same letters in another case or Unicode form"
SIMILAR_TRUTH = "clipes used the only true mask whose name has the same letters in another case or Unicode form"
BACKSLASHES = "clipes read the backslashes in the path as slashes"
MERGED = "{lines} lines name a photo of an earlier line with another label: each photo has the labels of all its lines"
LEFT_OUT = "{photos} photos without labels are left out"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """The photos of a split, divided into usable and rejected photos.

    Attributes:
        photos: usable photos, in the split's order; their ids are unique.
        rejects: photos that cannot be used, in the split's order.
        notes: remarks for the user about what clipes corrected.
        merged: number of lines that are neither photos nor rejects, because their labels were added to the photo of an
            earlier line.
        left_out: number of photos without labels that are no part of the data set, because `empty` is leave_out.
    """

    photos: tuple[Photo, ...]
    rejects: tuple[Reject, ...]
    notes: tuple[str, ...] = ()
    merged: int = 0
    left_out: int = 0


def read_dataset(
    config: DatasetConfig, vocabulary: Vocabulary, labelled: bool = True, store: str | None = None
) -> Listing:
    """List the photos of a split, with their labels and fingerprints.

    Args:
        config: settings of the data set, including the split.
        vocabulary: classes of the data set.
        labelled: if False, photos without labels are accepted, such as the photos of VOC's split `test`.
        store: URI of the store in which the indexes of archives are kept, so that each version of an archive is read
            only once; None to keep none. A store that refuses them is no error.

    Returns:
        The photos and the rejects. Each line of the split is either in one of these two tuples, or counted in `merged`
        or in `left_out`.

    Raises:
        ConfigError: the format does not exist, or the format needs `root` and `root` is not set.
        DatasetError: the data set as a whole cannot be used. For example, a folder or the split is missing, the split
            has no photos, no photo has labels and `empty` is leave_out, a list file lacks a column, COCO's annotation
            file is broken, or a permission is missing.
        TransientError: the network or a server fails.
    """
    layout = find_format(config.format)
    read = layout.read if labelled else layout.read_unlabelled or layout.read
    read_rows = list(read(config, vocabulary))
    entries = [row for row in read_rows if not isinstance(row, Remark)]
    if not entries:
        raise DatasetError(f"dataset.split: no photos in {config.split}; choose a split with photos")
    notes = _Notes([row.text for row in read_rows if isinstance(row, Remark)])
    unique = unique_rows(list(_with_files(entries, config, notes, store)))
    photos, left_out = _without_unlabelled([row for row in unique.rows if isinstance(row, Photo)], config)
    if left_out:
        notes.add_remark(f"{LEFT_OUT.format(photos=len(left_out))} (the first is {left_out[0].image_id})")
    _check_folders(config, photos)
    if unique.merged:
        notes.add_remark(f"{MERGED.format(lines=len(unique.merged))} (the first is {unique.merged[0]})")
    for note in notes.texts():
        logger.warning("%s", note)
    rejects = tuple(row for row in unique.rows if isinstance(row, Reject))
    return Listing(photos, rejects, notes.texts(), len(unique.merged), len(left_out))


def _without_unlabelled(photos: Sequence[Photo], config: DatasetConfig) -> tuple[tuple[Photo, ...], tuple[Photo, ...]]:
    """Return the photos of the data set, and those that it leaves out because they have no labels.

    Raises:
        DatasetError: photos without labels are left out, and none has labels.
    """
    if config.empty != "leave_out":
        return tuple(photos), ()
    kept = tuple(photo for photo in photos if photo.class_ids)
    if photos and not kept:
        raise DatasetError(
            f"none of the {len(photos)} photos of {config.split} has labels, and photos without labels are left out: "
            "correct the labels, or set empty to background"
        )
    return kept, tuple(photo for photo in photos if not photo.class_ids)


def check_split(config: DatasetConfig) -> None:
    """Check that the list file of a data set exists, without opening it.

    Raises:
        ConfigError: the format does not exist, or the format needs `root` and `root` is not set.
        DatasetError: there is no such file.
        TransientError: the network or a server fails.
    """
    layout = find_format(config.format)
    if layout.check_split is not None:
        layout.check_split(config)


@dataclass
class _Notes:
    """Remarks about the data set, and the number of photos to which each other remark applies."""

    remarks: list[str]
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, image_id: str, notes: Iterable[str]) -> None:
        """Count the remarks about a photo."""
        for note in notes:
            self.counts[note] += 1
            self.first.setdefault(note, image_id)

    def add_remark(self, text: str) -> None:
        """Add a remark about the data set."""
        self.remarks.append(text)

    def texts(self) -> tuple[str, ...]:
        """Return all remarks, each as one line."""
        counted = (f"{note}: {count} (the first is {self.first[note]})" for note, count in self.counts.items())
        return (*self.remarks, *counted)


def _with_files(
    rows: Sequence[Entry | Reject], config: DatasetConfig, notes: _Notes, store: str | None
) -> Iterator[Photo | Reject]:
    files = find_photo_files([row for row in rows if isinstance(row, Entry)], _own_folders(config), store)
    for row in rows:
        if isinstance(row, Reject):
            yield row
            continue
        try:
            photo, photo_notes = _photo(row, files, config.empty)
        except PhotoError as error:
            yield rejected(row.image_id, row.photo_uris[0], error)
        else:
            notes.add(photo.image_id, photo_notes)
            yield photo


def _own_folders(config: DatasetConfig) -> tuple[str, ...]:
    """Return the folders of the data set, so that a failure in one of them is not the failure of a single line."""
    own = [absolute(folder) for folder in (config.root, config.truth) if folder is not None]
    return tuple(own) if config.root is not None else (*own, parent(absolute(config.split)))


def _photo(entry: Entry, files: PhotoFiles, empty: str) -> tuple[Photo, tuple[str, ...]]:
    """Return the photo of an entry, and remarks for the user.

    Raises:
        PhotoError: the photo or the true mask that the list names cannot be used.
    """
    facts = files.find(entry.photo_uris)
    if facts is None:
        raise _missing(entry, files)
    if not entry.class_ids and empty == "reject":
        raise PhotoError(ErrorKind.NO_OBJECTS, "the photo has no labels; dataset.empty is reject")
    truth = files.find(entry.truth_places)
    failure = files.failure(entry.truth_places)
    if truth is None and failure is not None:
        raise PhotoError(ErrorKind.BAD_TRUTH, f"its true mask cannot be found: {failure}")
    image_id = with_slashes_only(entry.image_id) if "\\" not in facts.uri else entry.image_id
    corrections = {
        SIMILAR_PHOTO: facts.uri not in entry.photo_uris,
        SIMILAR_TRUTH: truth is not None and truth.uri not in entry.truth_places,
        BACKSLASHES: image_id != entry.image_id,
    }
    photo = Photo(
        image_id,
        facts.uri,
        facts.size_bytes,
        facts.fingerprint,
        entry.class_ids,
        truth.uri if truth else entry.named_truth,
        truth.fingerprint if truth else entry.annotations.fingerprint if entry.annotations else None,
        entry.stated_size,
        entry.annotations,
    )
    return photo, (*entry.notes, *(note for note, applies in corrections.items() if applies))


def _missing(entry: Entry, files: PhotoFiles) -> PhotoError:
    """Return the error of a photo that has no file, or that cannot be looked up."""
    failure = files.failure(entry.photo_uris)
    if isinstance(failure, PhotoError):
        return failure
    if failure is not None:
        kind = ErrorKind.NETWORK if isinstance(failure, TransientError) else ErrorKind.UNREADABLE
        return PhotoError(kind, str(failure))
    similar = list(dict.fromkeys(name for uri in entry.photo_uris for name in files.names.suggest(uri)))
    advice = "; correct the name, or add the file"
    if similar:
        advice = f"; a similar name is {' or '.join(similar[:SHOWN_NAMES])}: correct the name"
    elif "\\" in entry.image_id:
        advice = "; write the path with / instead of \\, and relative to dataset.root"
    return PhotoError(ErrorKind.MISSING, f"no file at {_describe_places(entry.photo_uris)}{advice}")


def _describe_places(uris: Sequence[str]) -> str:
    """Return URIs as a phrase, which names URIs that differ only in their extension once."""
    extensions: dict[str, list[str]] = defaultdict(list)
    for uri in uris:
        stem, extension = posixpath.splitext(uri)
        extensions[stem].append(extension)
    return " or ".join(
        f"{stem}{first} (or {', '.join(others)})" if others else f"{stem}{first}"
        for stem, (first, *others) in extensions.items()
    )


def _check_folders(config: DatasetConfig, photos: Sequence[Photo]) -> None:
    """Check that the configured folders exist if nothing was found in them; log how many photos have no true mask."""
    if not photos:
        _check_folder("dataset.root", config.root)
    without_truth = sum(not photo.has_truth for photo in photos)
    if without_truth == len(photos) and not (config.truth or "").endswith(".json"):
        _check_folder("dataset.truth", config.truth)
    elif without_truth:
        logger.info("%d of %d photos have no true mask: they are not scored", without_truth, len(photos))


def _check_folder(key: str, folder: str | None) -> None:
    if folder is not None and list_names(absolute(folder)) is None:
        raise DatasetError(f"{key}: no folder {absolute(folder)}; give the path or URI of an existing folder")
