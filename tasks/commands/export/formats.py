"""The table of export formats. This module imports no large packages, because `clipes export --help` imports it."""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from clipes_core.config.choice import look_up
from clipes_core.errors import UsageError

if TYPE_CHECKING:
    from clipes.tasks.commands.export.request import Exported


@dataclass(frozen=True)
class ExportFormat:
    """A format in which clipes exports masks.

    Attributes:
        module: name of a module with a function `export(request: ExportRequest) -> Exported`. clipes imports the module
            only when the format is used.
        contents: description of the exported files, for `--help`.
        of_segmenter: whether the format contains the masks of the segmenter instead of the pseudo masks. The options
            for pseudo masks do not apply to it.
    """

    module: str
    contents: str
    of_segmenter: bool = False


FORMATS = {
    "voc": ExportFormat("clipes.tasks.commands.export.voc", "pseudo masks as VOC palette PNGs"),
    "ids": ExportFormat("clipes.tasks.commands.export.ids", "grey PNGs of class ids, for OpenCV"),
    "coco": ExportFormat("clipes.tasks.commands.export.coco", "COCO's instance JSON with RLE"),
    "yolo": ExportFormat("clipes.tasks.commands.export.yolo", "polygons for YOLO's segmentation"),
    "cvat": ExportFormat("clipes.tasks.commands.export.cvat", "masks in CVAT's XML for images"),
    "labelstudio": ExportFormat("clipes.tasks.commands.export.labelstudio", "brush strokes in Label Studio's JSON"),
    "hf": ExportFormat("clipes.tasks.commands.export.hf", "Parquet files for Hugging Face's datasets"),
    "voc-server": ExportFormat(
        "clipes.tasks.commands.export.voc_server",
        "the segmenter's masks in the layout of VOC's evaluation server",
        of_segmenter=True,
    ),
}
DEFAULT_FORMAT, SEGMENTER_FORMAT = "voc", "voc-server"
TO_CHECK = "to-check"


@dataclass(frozen=True)
class ExportOptions:
    """What an export of pseudo masks contains: which masks, and what in addition to them.

    Attributes:
        confidence: whether it contains the confidence maps.
        photos: whether it contains the photos.
        only: `TO_CHECK` for only the photos that a person should look at; None for all photos.
    """

    confidence: bool = False
    photos: bool = False
    only: str | None = None


def export_run(
    format_name: str, store_uri: str, name: str, to: str, ignore_below: float, options: ExportOptions = ExportOptions()
) -> "Exported":
    """Write the masks of a run in one of the `FORMATS`, with classes.json, SHA256SUMS and manifest.json.

    Args:
        format_name: key of `FORMATS`.
        store_uri: URI of the run's store.
        name: name of the run.
        to: target folder, as a path or URI; it is created if it does not exist.
        ignore_below: confidence threshold in [0, 1]. Pixels of pseudo masks with a lower confidence become 255.
        options: which masks the export contains, and what in addition to them.

    Raises:
        ConfigError: the format does not exist.
        UsageError: the run does not exist; a file would replace one that clipes did not write, or an input; files of an
            earlier export would stay in the folder; or the options do not apply to the format.
        StageError: the run has no masks yet.
        ArtifactError: an artifact cannot be read.
        DatasetError: the target cannot be written.
        StorageError: the disk of the target is full, or a large file cannot be written.
        PhotoError: an artifact holds an `image_id`, such as `../x`, whose mask would lie outside the target folder; or
            a photo to copy cannot be read.
    """
    chosen = look_up(FORMATS, format_name, "--format")
    if chosen.of_segmenter and options != ExportOptions():
        raise UsageError(f"--format {format_name} takes none of the options --confidence, --photos and --only")
    if options.only not in (None, TO_CHECK):
        raise UsageError(f"--only: got {options.only!r}; the only value is {TO_CHECK}")
    # Imported here, so that a mistake in the arguments is reported before numpy and torch are loaded.
    from clipes.tasks.storage.artifact_store import ArtifactStore
    from clipes.tasks.storage.run_files import RunFiles
    from clipes.tasks.storage.run_status import read_run

    run, store = read_run(store_uri, name), ArtifactStore(store_uri)
    from clipes.tasks.commands.export.files import class_list, manifest, to_check
    from clipes.tasks.commands.export.request import ExportRequest
    from clipes.tasks.commands.output_folder import OutputFolder
    from clipes.tasks.runs.photos_to_check import read_photos_to_check

    classes = class_list.Classes.of_run(run.run).to_json()
    checked = read_photos_to_check(run, RunFiles(store_uri, name)) if options.only == TO_CHECK else None
    output = OutputFolder(to, RunFiles(store_uri, name).input_uris, marker=manifest.FILE)
    output.check([class_list.FILE, manifest.FILE, *([] if checked is None else [to_check.FILE])])
    only = None if checked is None else frozenset(photo.image_id for photo in checked)
    request = ExportRequest(run, store, output, ignore_below, options.confidence, options.photos, only)
    with output.digests_saved():
        exported: Exported = import_module(chosen.module).export(request)
        output.write(class_list.FILE, classes)
        if checked is not None:
            output.write(to_check.FILE, to_check.to_csv(checked))
        output.write(manifest.FILE, manifest.manifest(request, format_name, exported, options.only))
    return exported
