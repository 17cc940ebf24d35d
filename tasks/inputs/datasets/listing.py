"""List the photos of a data set, with their labels and fingerprints, without opening any photo."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from clipes.tasks.inputs.datasets.entries import Entry, rejected
from clipes.tasks.inputs.datasets.formats import find_format
from clipes.tasks.inputs.photos import Photo, Reject
from clipes.tasks.storage.listing import FileFacts
from clipes.tasks.storage.user_files import absolute, find_files, list_names
from clipes_core.config.dataset import DatasetConfig
from clipes_core.errors import DatasetError, ErrorKind, PhotoError
from clipes_core.vocabulary import Vocabulary

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """The photos of a split, divided into usable and rejected photos.

    Attributes:
        photos: usable photos, in the split's order; their ids are unique.
        rejects: photos that cannot be used, in the split's order.
    """

    photos: tuple[Photo, ...]
    rejects: tuple[Reject, ...]


def read_dataset(config: DatasetConfig, vocabulary: Vocabulary, labelled: bool = True) -> Listing:
    """List the photos of a split, with their labels and fingerprints.

    Args:
        config: settings of the data set, including the split.
        vocabulary: classes of the data set.
        labelled: if False, photos without labels are accepted, such as the photos of VOC's split `test`.

    Returns:
        The photos and the rejects. Each photo of the split is in exactly one of these two tuples.

    Raises:
        ConfigError: the format does not exist, or the format needs `root` and `root` is not set.
        DatasetError: the data set as a whole cannot be used. For example, a folder or the split is missing, the split
            has no photos, a list file lacks a column, COCO's annotation file is broken, or a permission is missing.
        TransientError: the network or a server fails.
    """
    layout = find_format(config.format)
    read = layout.read if labelled else layout.read_unlabelled or layout.read
    entries = list(read(config, vocabulary))
    if not entries:
        raise DatasetError(f"dataset.split: no photos in {config.split}; choose a split with photos")
    rows = list(_first_of_each_id(_with_files(entries, config.empty)))
    photos = tuple(row for row in rows if isinstance(row, Photo))
    if not photos:
        _check_folder("dataset.root", config.root)
    without_truth = sum(photo.truth_uri is None for photo in photos)
    if without_truth == len(photos):
        _check_folder("dataset.truth", config.truth)
    elif without_truth:
        logger.info("%d of %d photos have no true mask: they are not scored", without_truth, len(photos))
    return Listing(photos, tuple(row for row in rows if isinstance(row, Reject)))


def _with_files(entries: Iterable[Entry | Reject], empty: str) -> Iterator[Photo | Reject]:
    listed = [entry for entry in entries if isinstance(entry, Entry)]
    files = find_files(uri for entry in listed for uri in (*entry.photo_uris, *entry.all_truth_uris))
    for entry in entries:
        yield _photo(entry, files, empty) if isinstance(entry, Entry) else entry


def _photo(entry: Entry, files: Mapping[str, FileFacts], empty: str) -> Photo | Reject:
    uri = next((uri for uri in entry.photo_uris if uri in files), None)
    if uri is None:
        reason = f"no file at {' or '.join(entry.photo_uris)}"
        return rejected(entry.image_id, entry.photo_uris[0], PhotoError(ErrorKind.MISSING, reason))
    if not entry.class_ids and empty == "reject":
        return rejected(
            entry.image_id, uri, PhotoError(ErrorKind.NO_OBJECTS, "the photo has no labels; dataset.empty is reject")
        )
    truth_uri = next((uri for uri in entry.all_truth_uris if uri in files), entry.named_truth)
    truth, facts = files.get(truth_uri or ""), files[uri]
    return Photo(
        entry.image_id,
        uri,
        facts.size_bytes,
        facts.fingerprint,
        entry.class_ids,
        truth_uri,
        truth.fingerprint if truth else None,
        entry.stated_size,
    )


def _first_of_each_id(rows: Iterable[Photo | Reject]) -> Iterator[Photo | Reject]:
    seen: set[str] = set()
    for row in rows:
        if row.image_id in seen:
            reason = "an earlier photo has the same id (path without extension); only the earlier photo is used"
            yield rejected(row.image_id, row.uri, PhotoError(ErrorKind.DUPLICATE, reason))
        else:
            seen.add(row.image_id)
            yield row


def _check_folder(key: str, folder: str | None) -> None:
    if folder is not None and list_names(absolute(folder)) is None:
        raise DatasetError(f"{key}: no folder {absolute(folder)}; give the path or URI of an existing folder")
