"""The steps that all export formats share: read the results of a run, and write them as PNG files."""

import posixpath
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clipes.tasks.commands.output_folder import OutputFolder
from clipes.tasks.inputs.datasets.entries import path_inside
from clipes.tasks.machine.background import map_in_threads
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import EVALUATION_FILE
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_status import RunStatus
from clipes_core.errors import StageError


@dataclass(frozen=True)
class ExportRequest:
    """A run, and the folder to which its masks are exported.

    Attributes:
        run: status of the run.
        store: store of the run.
        output: target folder.
        ignore_below: confidence threshold in [0, 1]. Pixels of pseudo masks with a lower confidence become 255.
        confidence: whether the confidence maps are exported too.
        photos: whether the photos are exported too.
        only: ids of the photos to export; None for all photos.
    """

    run: RunStatus
    store: ArtifactStore
    output: OutputFolder
    ignore_below: float
    confidence: bool = False
    photos: bool = False
    only: Collection[str] | None = None


@dataclass(frozen=True)
class Exported:
    """The outcome of an export.

    Attributes:
        written: number of masks written.
        left_out: number of photos that have no mask because they were rejected.
        unmade: number of photos whose masks the run has not made yet.
        state: state of the run, as `RunStatus.state` names it.
        pixels: number of pixels of the written masks; 0 if the format does not count them.
        ignored: number of these pixels that became 255 because of their confidence.
        note: what the user must still do before another program can read the export; empty if nothing.
    """

    written: int
    left_out: int
    unmade: int = 0
    state: str = "completed"
    pixels: int = 0
    ignored: int = 0
    note: str = ""


def count_exported(request: ExportRequest, stage: str, file: str, written: int) -> Exported:
    """Return the outcome of an export, with the number of photos that have no mask.

    Args:
        request: the run and its store.
        stage: stage whose results were exported.
        file: table of the run that lists the photos of the stage: manifest.parquet or evaluation.parquet.
        written: number of masks written.

    Raises:
        ArtifactError: an artifact or the table cannot be read.
    """
    if request.only is not None:
        return Exported(written, len(request.only) - written, state=request.run.state)
    run, made = request.run.run, request.run.made(stage)
    of_evaluation = run.get("evaluation_rejected", 0)  # runs of earlier versions do not state it
    rejected = of_evaluation if file == EVALUATION_FILE else run["rejected"] - of_evaluation
    rows = sum(footer.rows for footer in map_in_threads(request.store.footer, made.values()))
    shards = RunFiles(request.store.uri, run["name"]).read_table(file, ["shard"])["shard"].to_pylist()
    unmade = sum(shard not in made for shard in shards)
    return Exported(written, rejected + rows - written, unmade, request.run.state)


def read_good_rows(request: ExportRequest, stage: str, columns: tuple[str, ...], what: str) -> Iterator[dict[str, Any]]:
    """Yield those rows of a stage that hold a result instead of an error, of the photos to export.

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
    only = request.only
    return (row for row in rows if row["status"] == "ok" and (only is None or row["image_id"] in only))


def export_pngs(
    request: ExportRequest,
    stage: str,
    columns: tuple[str, ...],
    what: str,
    encode: Callable[[Mapping[str, Any]], bytes],
    folder: str = "",
) -> int:
    """Write a PNG for each result of a stage as `<target>/<folder>/<image_id>.png`, and return their number.

    Args:
        request: the run and its store.
        stage: stage whose artifacts are read.
        columns: columns that `encode` reads.
        what: plural noun for the results, used in the error message.
        encode: function that returns the PNG of a row.
        folder: folder of the PNGs, relative to the target folder.

    Raises:
        StageError: the stage has no artifacts yet.
        ArtifactError: an artifact cannot be read.
        UsageError: a PNG would replace a file that clipes did not write, or an input of the run.
        DatasetError: the target cannot be written.
        StorageError: the disk of the target is full.
        PhotoError: the PNG of an `image_id`, such as `../x`, would lie outside the folder.
    """

    def name_of(row: Mapping[str, Any]) -> str:
        return posixpath.join(folder, f"{path_inside(row['image_id'])}.png")

    request.output.check((name_of(row) for row in read_good_rows(request, stage, (), what)), complete=True)
    written = 0
    for row in read_good_rows(request, stage, columns, what):
        request.output.write(name_of(row), encode(row))
        written += 1
    return written
