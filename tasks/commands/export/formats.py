"""The table of export formats. This module imports no large packages, because `clipes export --help` imports it."""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from clipes_core.config.choice import look_up

if TYPE_CHECKING:
    from clipes.tasks.commands.export.run_masks import Exported


@dataclass(frozen=True)
class ExportFormat:
    """A format in which clipes exports masks.

    Attributes:
        module: name of a module with a function `export(request: ExportRequest) -> Exported`. clipes imports the module
            only when the format is used.
        contents: description of the exported files, for `--help`.
    """

    module: str
    contents: str


FORMATS = {
    "voc": ExportFormat("clipes.tasks.commands.export.voc", "pseudo masks as VOC palette PNGs"),
    "voc-server": ExportFormat(
        "clipes.tasks.commands.export.voc_server", "the segmenter's masks in the layout of VOC's evaluation server"
    ),
}
DEFAULT_FORMAT, SEGMENTER_FORMAT = "voc", "voc-server"


def export_run(format_name: str, store_uri: str, name: str, to: str, ignore_below: float) -> "Exported":
    """Write the masks of a run in one of the `FORMATS`.

    Args:
        format_name: key of `FORMATS`.
        store_uri: URI of the run's store.
        name: name of the run.
        to: target folder, as a path or URI; it is created if it does not exist.
        ignore_below: confidence threshold in [0, 1]. Pixels of pseudo masks with a lower confidence become 255.

    Raises:
        ConfigError: the format does not exist.
        UsageError: the run does not exist; or a file would replace one that clipes did not write, or an input.
        StageError: the run has no masks yet.
        ArtifactError: an artifact cannot be read.
        DatasetError: the target cannot be written.
        StorageError: the disk of the target is full.
        PhotoError: an artifact holds an `image_id`, such as `../x`, whose mask would lie outside the target folder.
    """
    chosen = look_up(FORMATS, format_name, "--format")
    # Imported here, so that a mistake in the arguments is reported before numpy and torch are loaded.
    from clipes.tasks.storage.artifact_store import ArtifactStore
    from clipes.tasks.storage.run_files import RunFiles
    from clipes.tasks.storage.run_status import read_run

    run, store = read_run(store_uri, name), ArtifactStore(store_uri)
    from clipes.tasks.commands.export.run_masks import ExportRequest
    from clipes.tasks.commands.output_folder import OutputFolder

    output = OutputFolder(to, RunFiles(store_uri, name).input_uris)
    exported: Exported = import_module(chosen.module).export(ExportRequest(run, store, output, ignore_below))
    return exported
