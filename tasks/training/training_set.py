"""The photos that a segmenter is trained on, and where each one's pseudo mask lies in the artifacts."""

import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from clipes_core.errors import BrokenArtifactError, StageError
from clipes_core.vocabulary import Vocabulary
from tasks.artifact_store import ArtifactStore
from tasks.filesystems import explained
from tasks.parquet_files import MISSING, check_columns, opened, parsed
from tasks.photos import Photo
from tasks.run_status import read_run
from tasks.training.cached_files import CachedFiles, FileRead

THREADS = 16  # artifacts whose ids are read at a time; it is the store that takes the time
PHOTO_COLUMNS = ("image_id", "uri", "fingerprint")
STATUS_COLUMNS = ("image_id", "status")
MASK_COLUMNS = ("image_id", "mask_png", "confidence_png")
CONTENT_ADDRESSED = ""  # the version of an artifact is in its name


@dataclass(frozen=True)
class PhotoPlace:
    """A photo to train on: what it is, and where."""

    image_id: str
    uri: str
    fingerprint: str


@dataclass(frozen=True)
class StoredMask:
    """A photo's pseudo mask.

    Attributes:
        ids: (H, W) uint8, 0 and data set ids.
        confidence: (H, W) uint8, round(255 c).
    """

    ids: np.ndarray
    confidence: np.ndarray


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """The photos that have a pseudo mask, sorted by id; columns, for there may be millions. Picklable.

    Attributes:
        places: image_id, uri, fingerprint; artifact (number of it) and row of its mask.
        artifacts: URIs of the artifacts of stage masks.
        vocabulary: the classes of the ids in the masks.
        exif: whether an EXIF orientation turns the photos, as it did when their masks were made.
        left_out: how many photos of the data set have no mask.
    """

    places: pa.Table
    artifacts: tuple[str, ...]
    vocabulary: Vocabulary
    exif: Literal["ignore", "apply"]
    left_out: int

    @classmethod
    def of_photos(
        cls, photos: Iterable[Photo], artifacts: Sequence[str], vocabulary: Vocabulary, exif: Literal["ignore", "apply"]
    ) -> "TrainingSet":
        """Find the masks of photos.

        Args:
            photos: of the manifest.
            artifacts: URIs of the artifacts of stage masks.
            vocabulary: of the run.
            exif: of the run's photos.

        Raises:
            BrokenArtifactError: an artifact is missing, does not open, fails a checksum or lacks a column.
            StorageError: the store refuses.
            TransientError: it does not answer.
        """
        rows = ((photo.image_id, photo.uri, photo.fingerprint) for photo in photos)
        columns = list(zip(*rows, strict=True)) or [()] * len(PHOTO_COLUMNS)
        listed = pa.table([pa.array(column, pa.string()) for column in columns], names=PHOTO_COLUMNS)
        return cls._joined(listed, artifacts, vocabulary, exif)

    @classmethod
    def of_run(cls, store: str, run: str) -> "TrainingSet":
        """Find the masks of a run's photos by the files that it has written.

        Args:
            store: URI of the run's store.
            run: its name.

        Raises:
            UsageError: no such run.
            StageError: the run has no masks yet.
            BrokenArtifactError, StorageError, TransientError: as `of_photos`.
        """
        status, files = read_run(store, run), ArtifactStore(store)
        artifacts = status.artifacts("masks")
        if not artifacts:
            raise StageError(f"run {run} has no masks yet: run it up to the stage masks")
        listed = files.read(files.run_uri(run, "manifest.parquet"), PHOTO_COLUMNS)
        vocabulary = Vocabulary.model_validate(status.run["vocabulary"])
        return cls._joined(listed, artifacts, vocabulary, status.run["config"]["dataset"]["exif"])

    @classmethod
    def _joined(
        cls, listed: pa.Table, artifacts: Sequence[str], vocabulary: Vocabulary, exif: Literal["ignore", "apply"]
    ) -> "TrainingSet":
        masks = _mask_places(artifacts)
        places = listed.join(masks, keys="image_id", join_type="inner").sort_by("image_id").combine_chunks()
        return cls(places, tuple(artifacts), vocabulary, exif, listed.num_rows - places.num_rows)

    def __len__(self) -> int:
        return self.places.num_rows

    def photo(self, index: int) -> PhotoPlace:
        """A photo, by its place among the ids."""
        return PhotoPlace(*(self.places[name][index].as_py() for name in PHOTO_COLUMNS))

    def mask(self, index: int, files: CachedFiles) -> tuple[StoredMask, FileRead]:
        """Read a photo's mask; its artifact comes whole, of that one row group is read.

        Args:
            index: place of the photo among the ids.
            files: through which artifacts are read.

        Raises:
            BrokenArtifactError: the artifact is missing, fails a checksum or has another photo in this row.
            StorageError: the store refuses.
            TransientError: it did not answer in any attempt.
        """
        image_id, artifact, row = (self.places[name][index].as_py() for name in ("image_id", "artifact", "row"))
        uri = self.artifacts[artifact]
        try:
            return _read_mask(uri, row, image_id, files)
        except BrokenArtifactError:
            if not files.forget(uri, CONTENT_ADDRESSED):  # else it may be the copy that is broken, or outdated
                raise
            return _read_mask(uri, row, image_id, files)


def _mask_places(artifacts: Sequence[str]) -> pa.Table:
    """image_id, artifact and row of all masks; rows of photos that failed are left out."""
    with ThreadPoolExecutor(THREADS, thread_name_prefix="masks") as threads:
        tables = threads.map(_artifact_places, artifacts, range(len(artifacts)))
        return pa.concat_tables([_no_places(), *tables])


def _artifact_places(uri: str, artifact: int) -> pa.Table:
    with opened(uri) as parquet:
        check_columns(uri, parquet, STATUS_COLUMNS)
        found = parquet.read(columns=STATUS_COLUMNS)
    rows = pa.array(np.arange(found.num_rows, dtype=np.int32))
    numbers = pa.array(np.full(found.num_rows, artifact, dtype=np.int32))
    good = np.asarray(found["status"].to_numpy() == "ok", dtype=bool)
    return pa.table([found["image_id"], numbers, rows], schema=_no_places().schema).filter(pa.array(good))


def _no_places() -> pa.Table:
    return pa.schema([("image_id", pa.string()), ("artifact", pa.int32()), ("row", pa.int32())]).empty_table()


def _read_mask(uri: str, row: int, image_id: str, files: CachedFiles) -> tuple[StoredMask, FileRead]:
    try:
        file, read = files.open(uri, CONTENT_ADDRESSED)
    except FileNotFoundError as exc:
        raise BrokenArtifactError(uri, MISSING, "run again") from exc
    with file, explained(uri), parsed(uri):
        parquet = pq.ParquetFile(file, page_checksum_verification=True)
        check_columns(uri, parquet, MASK_COLUMNS)
        found = _row(parquet, row)
    if found.get("image_id") != image_id:
        raise BrokenArtifactError(uri, f"does not hold {image_id} in row {row} any more", "run again")
    return StoredMask(_pixels(found["mask_png"]), _pixels(found["confidence_png"])), read


def _row(parquet: pq.ParquetFile, row: int) -> dict[str, Any]:
    """One row; an empty one where the file ends before it."""
    for group in range(parquet.num_row_groups):
        rows = parquet.metadata.row_group(group).num_rows
        if row < rows:
            table = parquet.read_row_group(group, MASK_COLUMNS, use_threads=False)  # the loader has processes
            return table.slice(row, 1).to_pylist()[0]
        row -= rows
    return {}


def _pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.array(image)
