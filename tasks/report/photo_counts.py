"""Count the photos in a manifest, and look up the photos that the report shows."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.runs.artifacts import RunArtifacts
from clipes.tasks.storage.layout import row_uri_in

COLUMNS = ("image_id", "uri", "size_bytes", "fingerprint", "class_ids", "truth_uri", "truth_fingerprint")


@dataclass(frozen=True)
class PhotoCounts:
    """Counts of the photos in a manifest, and the photos that the gallery shows.

    Attributes:
        photos: number of photos.
        unlabelled: number of photos without labels.
        with_truth: number of photos with a true mask.
        by_class: class id -> number of photos that have this class as a label.
        chosen: image_id -> photo, for the photos that the gallery shows.
    """

    photos: int
    unlabelled: int
    with_truth: int
    by_class: Mapping[int, int]
    chosen: Mapping[str, Photo]


def count_photos(artifacts: RunArtifacts, file: str, wanted: Collection[str]) -> PhotoCounts:
    """Count the photos in the manifest `file` of a run. Return the photos whose ids are in `wanted` as `chosen`."""
    photos = unlabelled = with_truth = 0
    by_class: Counter[int] = Counter()
    chosen = {}
    for row in artifacts.run_rows(file, COLUMNS):
        photos += 1
        unlabelled += not row["class_ids"]
        with_truth += row["truth_uri"] is not None
        by_class.update(row["class_ids"])
        if row["image_id"] in wanted:
            row["truth_uri"] = row_uri_in(artifacts.store_uri, row["truth_uri"])
            chosen[row["image_id"]] = Photo(**{**row, "class_ids": tuple(row["class_ids"])})
    return PhotoCounts(photos, unlabelled, with_truth, by_class, chosen)
