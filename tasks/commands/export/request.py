"""What an export format receives, and what it returns: a run with the settings of the export, and the outcome."""

from collections.abc import Collection
from dataclasses import dataclass

from clipes.tasks.commands.output_folder import OutputFolder
from clipes.tasks.machine.background import map_in_threads
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import EVALUATION_FILE
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_status import RunStatus


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
