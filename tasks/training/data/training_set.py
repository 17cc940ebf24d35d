"""The photos that a segmenter is trained on, and the locations of their pseudo masks in the artifacts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipes.tasks.inputs.pngs import read_png_map
from clipes.tasks.machine.background import map_in_threads
from clipes.tasks.storage.layout import MANIFEST_FILE
from clipes.tasks.storage.parquet.errors import report_missing_as_broken
from clipes.tasks.storage.parquet.footer import read_footer
from clipes.tasks.storage.parquet.reading import read_table
from clipes.tasks.storage.parquet.row_groups import RowGroups, check_columns
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_status import read_run
from clipes.tasks.training.data.cached_files import CachedFiles, FileRead
from clipes_core.errors import ArtifactError, BrokenArtifactError, StageError
from clipes_core.vocabulary import Vocabulary

PHOTO_COLUMNS = ("image_id", "uri", "fingerprint")
STATUS_COLUMNS = ("image_id", "status")
MASK_COLUMNS = ("image_id", "mask_png", "confidence_png")
CONTENT_ADDRESSED = ""  # `version` of each artifact for the cache; the content behind an artifact's URI never changes
MASK_LOCATIONS = pa.schema(
    [("image_id", pa.string()), ("artifact", pa.int32()), ("group", pa.int32()), ("row", pa.int32())]
)


@dataclass(frozen=True)
class TrainingPhoto:
    """A photo to train on: its image id, its URI, and a fingerprint that changes if the file changes."""

    image_id: str
    uri: str
    fingerprint: str


@dataclass(frozen=True)
class MaskLocation:
    """The location of a mask in the artifacts of a training set.

    Attributes:
        image_id: id of the photo.
        artifact: index of the artifact in `TrainingSet.artifacts`.
        group: index of the row group in the artifact.
        row: index of the row in the row group.
    """

    image_id: str
    artifact: int
    group: int
    row: int


@dataclass(frozen=True)
class StoredMask:
    """A photo's pseudo mask and its confidence map.

    Attributes:
        ids: (H, W) uint8; 0 for background, 1..K for the classes of the data set.
        confidence: (H, W) uint8, round(255 c) for a confidence c in [0, 1].
    """

    ids: np.ndarray
    confidence: np.ndarray


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """The photos that have a pseudo mask, sorted by image id. Instances can be pickled.

    Attributes:
        locations: table with one row per photo. The columns image_id, uri and fingerprint describe the photo. The
            columns artifact, group and row locate the mask (see `MaskLocation`).
        artifacts: artifacts of the stage `masks`.
        vocabulary: vocabulary of the run. It states the class of each id in the masks.
        exif: `apply`: photos are rotated according to their EXIF orientation; `ignore`: they are not rotated. The masks
            were computed with the same setting.
        left_out: number of photos without a mask. The training set does not contain these photos.
    """

    locations: pa.Table
    artifacts: tuple[RowGroups, ...]
    vocabulary: Vocabulary
    exif: Literal["ignore", "apply"]
    left_out: int

    @classmethod
    def of_manifest(
        cls, files: RunFiles, artifacts: Sequence[str], vocabulary: Vocabulary, exif: Literal["ignore", "apply"]
    ) -> "TrainingSet":
        """Return a training set of the photos in a run's manifest that have a mask in the given artifacts.

        Args:
            files: files of the run.
            artifacts: URIs of the artifacts that hold the masks.
            vocabulary: vocabulary of the run.
            exif: the run's setting `dataset.exif`.

        Raises:
            BrokenArtifactError: an artifact is missing, does not open, fails a checksum or lacks a column.
            ArtifactError: the manifest is broken. The run that trains cannot rebuild it.
            StorageError: the store refuses access.
            TransientError: the store does not answer.
        """
        try:
            listed = files.read_table(MANIFEST_FILE, PHOTO_COLUMNS)
        except BrokenArtifactError as broken:
            raise ArtifactError(str(broken)) from broken
        return cls._joined(listed, artifacts, vocabulary, exif)

    @classmethod
    def of_run(cls, store: str, run: str) -> "TrainingSet":
        """Return a training set of the photos of a run that have a mask.

        Args:
            store: URI of the run's store.
            run: name of the run.

        Raises:
            UsageError: the run does not exist.
            StageError: the run has no masks yet.
            ArtifactError: a file of the run or an artifact is broken.
            StorageError, TransientError: for the same reasons as `of_manifest`.
        """
        status = read_run(store, run)
        artifacts = status.artifacts("masks")
        if not artifacts:
            raise StageError(f"run {run} has no masks yet: continue this run up to the stage masks")
        vocabulary = Vocabulary.model_validate(status.run["vocabulary"])
        return cls.of_manifest(RunFiles(store, run), artifacts, vocabulary, status.run["config"]["dataset"]["exif"])

    @classmethod
    def _joined(
        cls, listed: pa.Table, artifacts: Sequence[str], vocabulary: Vocabulary, exif: Literal["ignore", "apply"]
    ) -> "TrainingSet":
        read = list(map_in_threads(_read_artifact, enumerate(artifacts)))
        masks = tuple(row_groups for row_groups, _ in read)
        found = pa.concat_tables([MASK_LOCATIONS.empty_table(), *(locations for _, locations in read)])
        joined = listed.join(found, keys="image_id", join_type="inner").sort_by("image_id").combine_chunks()
        return cls(joined, masks, vocabulary, exif, listed.num_rows - joined.num_rows)

    def __len__(self) -> int:
        return self.locations.num_rows

    def photo(self, index: int) -> TrainingPhoto:
        """Return the photo at an index. The photos are sorted by image id."""
        return TrainingPhoto(*(self.locations[name][index].as_py() for name in PHOTO_COLUMNS))

    def mask(self, index: int, files: CachedFiles) -> tuple[StoredMask, FileRead]:
        """Read a photo's mask. Only the row group of the mask is read, not the whole artifact.

        Args:
            index: index of the photo. The photos are sorted by image id.
            files: cache through which the row group is read.

        Raises:
            BrokenArtifactError: the artifact is missing, fails a checksum or has another photo in the expected row.
            StorageError: the store refuses access.
            TransientError: the store did not answer in any attempt.
        """
        location = MaskLocation(*(self.locations[name][index].as_py() for name in MASK_LOCATIONS.names))
        masks = self.artifacts[location.artifact]
        try:
            return _read_mask(masks, location, files)
        except BrokenArtifactError:
            span = masks.span(location.group, MASK_COLUMNS)
            if not files.evict(
                masks.uri, CONTENT_ADDRESSED, span
            ):  # nothing was cached, so the artifact itself is broken
                raise
            return _read_mask(masks, location, files)


def _read_artifact(numbered: tuple[int, str]) -> tuple[RowGroups, pa.Table]:
    """Read the footer of an artifact, and return the locations of its masks. Failed photos have none.

    Args:
        numbered: index of the artifact, and its URI.
    """
    artifact, uri = numbered
    footer = read_footer(uri)
    check_columns(uri, footer.schema, MASK_COLUMNS)
    statuses = read_table(uri, STATUS_COLUMNS, footer)
    sizes = [footer.parsed.row_group(group).num_rows for group in range(footer.parsed.num_row_groups)]
    groups, starts = np.arange(len(sizes)), np.cumsum([0, *sizes])[:-1]
    places = (
        np.full(footer.rows, artifact),
        np.repeat(groups, sizes),
        np.arange(footer.rows) - np.repeat(starts, sizes),
    )
    locations = pa.table([statuses["image_id"], *(place.astype(np.int32) for place in places)], schema=MASK_LOCATIONS)
    return RowGroups(uri, footer.content), locations.filter(pc.equal(statuses["status"], "ok"))


def _read_mask(masks: RowGroups, location: MaskLocation, files: CachedFiles) -> tuple[StoredMask, FileRead]:
    start, end = masks.span(location.group, MASK_COLUMNS)
    with report_missing_as_broken(masks.uri):
        data, read = files.read(masks.uri, CONTENT_ADDRESSED, (start, end))
    rows = masks.decoded(location.group, MASK_COLUMNS, start, data).slice(location.row, 1).to_pylist()
    if [row["image_id"] for row in rows] != [location.image_id]:
        raise BrokenArtifactError(
            masks.uri, f"does not hold photo {location.image_id} in the expected row", "run again"
        )
    return StoredMask(read_png_map(rows[0]["mask_png"]), read_png_map(rows[0]["confidence_png"])), read
