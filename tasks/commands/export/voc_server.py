"""The export format voc-server: the masks that a segmenter predicts for the evaluation photos.

The files have the layout that VOC's evaluation server expects. `comp6`, in the name of the folder,
is the server's competition for methods trained on any data. CLIP is trained on other data than VOC's.
"""

import posixpath
from operator import itemgetter

from clipes.tasks.commands.export.run_masks import Exported, ExportRequest, count_exported, export_pngs
from clipes.tasks.inputs.datasets.entries import without_extension
from clipes.tasks.stages.segmenter_scores import SEGMENTER_SCORES
from clipes.tasks.storage.layout import EVALUATION_FILE

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
    written = export_pngs(
        request, SEGMENTER_SCORES.name, ("mask_png",), "predictions", itemgetter("mask_png"), folder=folder
    )
    return count_exported(request, SEGMENTER_SCORES.name, EVALUATION_FILE, written)
