"""Give each photo one row, also if several lines of the data set name it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from clipes.tasks.inputs.datasets.entries import rejected
from clipes.tasks.inputs.photos import Photo, Reject
from clipes_core.errors import ErrorKind, PhotoError

LABEL_ERRORS = (ErrorKind.UNKNOWN_CLASS, ErrorKind.UNREADABLE_LABELS)
SAME_ID = "an earlier photo has the same id (path without extension); only the earlier photo is used"
OTHER_LABELS = (
    "{count} lines give this photo different labels, so its labels are uncertain; write all labels of a photo on one "
    "line"
)
BAD_LINE = "another line of this photo is rejected, so the labels of the photo are incomplete; correct that line"

Row = Photo | Reject


@dataclass(frozen=True)
class UniqueRows:
    """Rows in which each photo occurs once.

    Attributes:
        rows: photos and rejects, in the order of the lines. The ids of the photos are unique.
        merged: the id of the photo of each line that has no row, because clipes added its label to an earlier row.
    """

    rows: tuple[Row, ...]
    merged: tuple[str, ...]


def unique_rows(rows: Sequence[Row]) -> UniqueRows:
    """Return rows in which each photo occurs once.

    If no line of the data set has several labels, a photo gets the labels of all its lines, provided that each of them
    has a label. Otherwise, a photo with different labels on several lines is rejected.
    """
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.image_id].append(row)
    one_label = all(len(row.class_ids) <= 1 for row in rows if isinstance(row, Photo))
    resolved = {image_id: iter(_resolve(group, one_label)) for image_id, group in groups.items() if len(group) > 1}
    found = [next(resolved[row.image_id]) if row.image_id in resolved else row for row in rows]
    merged = tuple(row.image_id for row, kept in zip(rows, found, strict=True) if kept is None)
    return UniqueRows(tuple(row for row in found if row is not None), merged)


def _resolve(group: Sequence[Row], one_label: bool) -> Sequence[Row | None]:
    """Return the row of each line of a group with one image id; None for a line whose label is in an earlier row."""
    photos = [row for row in group if isinstance(row, Photo)]
    same = [photo for photo in photos if photo.uri == photos[0].uri]
    label_sets = {frozenset(photo.class_ids) for photo in same}
    if any(row.kind in LABEL_ERRORS and row.uri == same[0].uri for row in group if same and isinstance(row, Reject)):
        return _reject(group, same, BAD_LINE)
    if len(label_sets) > 1 and one_label and frozenset() not in label_sets:
        return _merge(group, same)
    if len(label_sets) > 1:
        return _reject(group, same, OTHER_LABELS.format(count=len(same)))
    return [group[0], *map(_duplicate, group[1:])]


def _reject(group: Sequence[Row], same: Sequence[Photo], reason: str) -> list[Row]:
    """Reject the photo of a group; the lines that are rejected already keep their reason."""
    error = PhotoError(ErrorKind.UNREADABLE_LABELS, reason)
    return [
        row if isinstance(row, Reject) else rejected(row.image_id, row.uri, error) if row in same else _duplicate(row)
        for row in group
    ]


def _merge(group: Sequence[Row], same: Sequence[Photo]) -> list[Row | None]:
    class_ids = tuple(dict.fromkeys(class_id for photo in same for class_id in photo.class_ids))
    merged = replace(same[0], class_ids=class_ids)
    rest = iter([merged, *[None] * (len(same) - 1)])
    return [next(rest) if row in same else _duplicate(row) for row in group]


def _duplicate(row: Row) -> Reject:
    return rejected(row.image_id, row.uri, PhotoError(ErrorKind.DUPLICATE, SAME_ID))
