"""The export format voc: pseudo masks as `<target>/<image_id>.png`, with the palette of the run."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from clipes.tasks.commands.export.run_masks import Exported, ExportRequest, count_exported, export_pngs
from clipes.tasks.inputs.pngs import palette_png
from clipes.tasks.stages.masks import MASKS
from clipes.tasks.storage.layout import MANIFEST_FILE
from clipes_core.pseudo_mask import ignore_unsure


def export(request: ExportRequest) -> Exported:
    """Write the pseudo masks of a run; set pixels with a confidence below `ignore_below` to 255.

    Raises:
        StageError: the run has no pseudo masks yet.
        ArtifactError: an artifact cannot be read.
        UsageError: a PNG would replace a file that clipes did not write, or an input of the run.
        DatasetError: the target cannot be written.
        StorageError: the disk of the target is full.
        PhotoError: an artifact holds an `image_id`, such as `../x`, whose mask would lie outside the target folder.
    """

    def encode(row: Mapping[str, Any]) -> bytes:
        return _mark_unsure(row, request.ignore_below)

    written = export_pngs(request, MASKS.name, ("mask_png", "confidence_png"), "pseudo masks", encode)
    return count_exported(request, MASKS.name, MANIFEST_FILE, written)


def _mark_unsure(row: Mapping[str, Any], ignore_below: float) -> bytes:
    """Return a row's mask as a palette PNG in which pixels with a confidence below `ignore_below` are 255."""
    with Image.open(io.BytesIO(row["mask_png"])) as mask, Image.open(io.BytesIO(row["confidence_png"])) as confidence:
        palette = np.array(mask.getpalette(), dtype=np.uint8).reshape(-1, 3)
        return palette_png(ignore_unsure(np.array(mask), np.array(confidence), ignore_below), palette)
