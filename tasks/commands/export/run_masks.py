"""The steps that all export formats share: read the results of a run, and write PNG files."""

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from clipes.tasks.inputs.datasets.entries import path_inside
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.run_status import RunStatus
from clipes.tasks.storage.user_files import write_bytes
from clipes_core.errors import StageError


@dataclass(frozen=True)
class ExportRequest:
    """A run, and the folder to which its masks are exported.

    Attributes:
        run: status of the run.
        store: store of the run.
        to: target folder, as a path or URI.
        ignore_below: confidence threshold in [0, 1]. Pixels of pseudo masks with a lower confidence become 255.
    """

    run: RunStatus
    store: ArtifactStore
    to: str
    ignore_below: float


@dataclass(frozen=True)
class Exported:
    """The number of masks written, and the number of photos that have no mask."""

    written: int
    left_out: int


def read_good_rows(request: ExportRequest, stage: str, columns: tuple[str, ...], what: str) -> Iterator[dict[str, Any]]:
    """Yield those rows of a stage that hold a result instead of an error.

    Args:
        request: the run and its store.
        stage: stage whose artifacts are read.
        columns: columns to read. The columns image_id and status are always read.
        what: plural noun for the results, such as `pseudo masks`, for the error message.

    Raises:
        StageError: the stage has no artifacts yet.
        ArtifactError: an artifact cannot be read.
    """
    uris = request.run.artifacts(stage)
    if not uris:
        name = request.run.run["name"]
        raise StageError(f"run {name} has no {what} yet: run it up to the stage {stage} first")
    rows = (row for uri in uris for row in request.store.read_rows(uri, ("image_id", "status", *columns)))
    return (row for row in rows if row["status"] == "ok")


def write_pngs(folder: str, pngs: Iterable[tuple[str, bytes]]) -> int:
    """Write PNGs as `<folder>/<image_id>.png` and return their number.

    Args:
        folder: folder, as a path or URI; it is created if it does not exist.
        pngs: pairs of image_id and file content.

    Raises:
        PhotoError: the PNG of an `image_id`, such as `../x`, would lie outside the folder.
        DatasetError: the folder cannot be written.
    """
    written = 0
    for image_id, png in pngs:
        write_bytes(posixpath.join(folder, f"{path_inside(image_id)}.png"), png)
        written += 1
    return written
