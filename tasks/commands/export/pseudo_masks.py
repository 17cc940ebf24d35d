"""The pseudo masks of a run as arrays, one after the other, for formats that encode them in their own way."""

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow.compute as pc

from clipes.tasks.commands.export.request import Exported, ExportRequest, count_exported
from clipes.tasks.inputs.datasets.entries import path_inside
from clipes.tasks.inputs.decoding import read_bytes
from clipes.tasks.inputs.pngs import grey_png, read_palette, read_png_map
from clipes.tasks.runs.artifacts import RunArtifacts
from clipes.tasks.stages.cams import CAMS
from clipes.tasks.stages.masks import MASKS
from clipes.tasks.storage.layout import MANIFEST_FILE
from clipes.tasks.storage.run_files import RunFiles
from clipes_core.errors import BrokenArtifactError, StageError
from clipes_core.photos.exif_orientation import NOTE
from clipes_core.pseudo_mask import IGNORE_INDEX, ignore_unsure

COLUMNS = ("image_id", "status", "mask_png", "confidence_png")
PHOTO_FOLDER, CONFIDENCE_FOLDER = "images", "confidence"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".jp2", ".avif")
REMARKS = {  # setting `dataset.exif` -> where the masks of photos with an EXIF orientation fit
    "ignore": "Their masks fit the photos as they are stored, and not in programs that turn photos (OpenCV, browsers)",
    "apply": "Their masks fit the turned photos, and not in programs that show photos as they are stored (Pillow)",
}


@dataclass(frozen=True, eq=False)
class ExportedMask:
    """A photo and its pseudo mask.

    Attributes:
        image_id: id of the photo, as a path below the target folder.
        uri: URI of the photo.
        fingerprint: fingerprint of the photo's file when it was listed.
        ids: (H, W) uint8, class ids; 0 is background, and 255 marks pixels of low confidence.
        confidence: (H, W) uint8, round(255 c), where c in [0, 1] is the confidence of the pixel.
        palette: (256, 3) uint8 RGB colour of each id.
    """

    image_id: str
    uri: str
    fingerprint: str
    ids: np.ndarray
    confidence: np.ndarray
    palette: np.ndarray

    @property
    def file_name(self) -> str:
        """Path of the photo relative to a folder of photos: its id, and the suffix of its file."""
        return photo_file_name(self.image_id, self.uri)

    def class_masks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield class id -> (H, W) bool, its pixels, for each id in the mask except the background, in order."""
        for class_id in np.unique(self.ids).tolist():
            if class_id:
                yield class_id, self.ids == class_id

    def read_photo(self) -> bytes:
        """Read the file of the photo.

        Raises:
            PhotoError: the file is missing, cannot be read, or has changed since it was listed.
        """
        return read_bytes(self.uri, self.fingerprint)


class PseudoMasks:
    """Iterates over the pseudo masks of a run, and writes the confidence maps and photos if they are requested.

    Args:
        request: the run, the target, and what is requested.
        copy_photos: if False, photos are not copied even if they are requested, because the format contains them.

    Attributes:
        written: number of photos that were yielded.
        pixels: number of their pixels.
        ignored: number of these pixels that became 255 because of their confidence.

    Raises:
        StageError: the run has no pseudo masks yet.
        ArtifactError: a table of the run cannot be read.
    """

    def __init__(self, request: ExportRequest, copy_photos: bool = True) -> None:
        name = request.run.run["name"]
        if not request.run.made(MASKS.name):
            raise StageError(f"run {name} has no pseudo masks yet: run it up to the stage {MASKS.name} first")
        self._request = request
        self._copies = request.photos and copy_photos
        self._manifest = RunFiles(request.store.uri, name).read_table(
            MANIFEST_FILE, ["image_id", "uri", "fingerprint", "shard"]
        )
        self.written = self.pixels = self.ignored = 0

    def check(self, *files: str, of_photo: Callable[[str], Iterable[str]] = lambda image_id: ()) -> None:
        """Check that the export would replace no file of the user. Call this before anything is written.

        Args:
            files: names of the files that do not belong to a single photo.
            of_photo: function that returns the names of the files of a photo, without confidence map and photo.

        Raises:
            UsageError: a file exists, and clipes did not write it, or it is an input of the run; or files of an earlier
                export would stay in the folder.
            PhotoError: the file of an `image_id`, such as `../x`, would lie outside the target folder.
            ArtifactError: an artifact cannot be read.
        """

        def names() -> Iterator[str]:
            yield from files
            for image_id, uri, _, _ in self._rows(("image_id", "status")):
                yield from of_photo(image_id)
                yield from (name for name, _ in self._companions(image_id, uri))

        self._request.output.check(names(), complete=True)

    def __iter__(self) -> Iterator[ExportedMask]:
        """Yield each photo, after its confidence map and its copy have been written.

        Raises:
            ArtifactError: an artifact cannot be read.
            PhotoError: a photo to copy is missing, cannot be read, or has changed.
            UsageError: a file would replace one that clipes did not write.
        """
        output = self._request.output
        for image_id, uri, fingerprint, row in self._rows(COLUMNS):
            photo = _decoded(image_id, uri, fingerprint, row, self._request.ignore_below)
            for name, content in self._companions(image_id, uri):
                output.write(name, content(photo), marked=content is not ExportedMask.read_photo)
            self.written += 1
            self.pixels += photo.ids.size
            self.ignored += int((photo.ids == IGNORE_INDEX).sum())
            yield photo

    def outcome(self) -> Exported:
        """Return the outcome of an export that has yielded all photos."""
        counted = count_exported(self._request, MASKS.name, MANIFEST_FILE, self.written)
        return replace(counted, pixels=self.pixels, ignored=self.ignored, note=_note_turned(self._request))

    def _companions(self, image_id: str, uri: str) -> Iterator[tuple[str, Callable[[ExportedMask], bytes]]]:
        """Yield the name and the content of the files that accompany the mask of a photo."""
        if self._request.confidence:
            yield f"{CONFIDENCE_FOLDER}/{image_id}.png", lambda photo: grey_png(photo.confidence)
        if self._copies:
            yield f"{PHOTO_FOLDER}/{photo_file_name(image_id, uri)}", ExportedMask.read_photo

    def _rows(self, columns: tuple[str, ...]) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
        """Yield id, URI, fingerprint and the row of each photo to export, shard by shard."""
        store, only = self._request.store, self._request.only
        for shard, artifact in self._request.run.made(MASKS.name).items():
            table = self._manifest.filter(pc.equal(self._manifest["shard"], shard))
            listed = {row["image_id"]: row for row in table.to_pylist()}
            for row in store.read_rows(artifact, columns):
                image_id = row["image_id"]
                if row["status"] != "ok" or not (only is None or image_id in only):
                    continue
                inside = path_inside(image_id)
                if image_id not in listed:
                    raise BrokenArtifactError(artifact, f"has the photo {image_id!r}, which the run does not list")
                yield inside, listed[image_id]["uri"], listed[image_id]["fingerprint"], row


def photo_file_name(image_id: str, uri: str) -> str:
    """Return the path of a photo relative to a folder of photos: its id, and the suffix of its file if it has one."""
    suffix = posixpath.splitext(uri)[1]
    return f"{image_id}{suffix}" if suffix.lower() in SUFFIXES else image_id


def _note_turned(request: ExportRequest) -> str:
    """Return a remark on photos with an EXIF orientation, which some programs apply and others ignore."""
    run = request.run.run
    artifacts = RunArtifacts(RunFiles(request.store.uri, run["name"]), request.run.shards)
    turned = sum(
        any(note.startswith(NOTE) for note in row["notes"])
        for row in artifacts.rows(CAMS.name, ("image_id", "notes"), image_ids=request.only)
    )
    unread = "; some CAMs cannot be read, so more photos may have one" if artifacts.unreadable else ""
    if not turned:
        return "some CAMs cannot be read, so photos with an EXIF orientation are unknown" if unread else ""
    remark = REMARKS[run["config"]["dataset"]["exif"]]
    return f"{turned} photos have an EXIF orientation. {remark}{unread}"


def _decoded(image_id: str, uri: str, fingerprint: str, row: Mapping[str, Any], ignore_below: float) -> ExportedMask:
    confidence = read_png_map(row["confidence_png"])
    ids = ignore_unsure(read_png_map(row["mask_png"]), confidence, ignore_below)
    return ExportedMask(image_id, uri, fingerprint, ids, confidence, read_palette(row["mask_png"]))
