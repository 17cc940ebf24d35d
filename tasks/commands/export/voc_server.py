"""The export format voc-server: the masks that a segmenter predicts for the evaluation photos.

The files have the layout that VOC's evaluation server expects. `comp6`, in the name of the folder,
is the server's competition for methods trained on any data. CLIP is trained on other data than VOC's.
"""

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from clipes.tasks.commands.export.request import Exported, ExportRequest, count_exported
from clipes.tasks.inputs.datasets.entries import path_inside, without_extension
from clipes.tasks.stages.segmenter_scores import SEGMENTER_SCORES
from clipes.tasks.storage.layout import EVALUATION_FILE
from clipes_core.errors import StageError

FOLDER = "results/VOC2012/Segmentation/comp6_{split}_cls"


def export(request: ExportRequest) -> Exported:
    """Write the masks that a run's segmenter has predicted. They are written to `FOLDER` below the target folder.

    Raises:
        StageError: the run has no predictions yet.
        ArtifactError: an artifact cannot be read.
        UsageError: a PNG would replace a file that clipes did not write, or an input of the run.
        DatasetError: the target cannot be written.
        StorageError: the disk of the target is full.
        PhotoError: an artifact holds an `image_id`, such as `../x`, whose mask would lie outside the target folder.
    """
    run = request.run.run
    split = run["config"]["evaluation"]["split"] or run["config"]["dataset"]["split"]
    folder = FOLDER.format(split=without_extension(posixpath.basename(split)))
    names = (_file_name(folder, row) for row in _predictions(request, ()))
    request.output.check(names, complete=True)
    written = 0
    for row in _predictions(request, ("mask_png",)):
        request.output.write(_file_name(folder, row), row["mask_png"])
        written += 1
    return count_exported(request, SEGMENTER_SCORES.name, EVALUATION_FILE, written)


def _predictions(request: ExportRequest, columns: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    """Yield the id and some columns of each photo that has a predicted mask."""
    uris = request.run.artifacts(SEGMENTER_SCORES.name)
    if not uris:
        name = request.run.run["name"]
        raise StageError(f"run {name} has no predictions yet: run it up to the stage {SEGMENTER_SCORES.name} first")
    for uri in uris:
        rows = request.store.read_rows(uri, ("image_id", "status", *columns))
        yield from (row for row in rows if row["status"] == "ok")


def _file_name(folder: str, row: Mapping[str, Any]) -> str:
    return posixpath.join(folder, f"{path_inside(row['image_id'])}.png")
