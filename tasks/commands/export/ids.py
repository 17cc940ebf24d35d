"""The export format ids: pseudo masks as `<target>/class_ids/<image_id>.png`, grey PNGs of class ids."""

from clipes.tasks.commands.export.pseudo_masks import PseudoMasks
from clipes.tasks.commands.export.request import Exported, ExportRequest
from clipes.tasks.inputs.pngs import grey_png

FOLDER = "class_ids"


def export(request: ExportRequest) -> Exported:
    """Write the pseudo masks of a run as grey PNGs. Pixels of low confidence are 255.

    Raises:
        ClipesError: see `export_run`.
    """
    masks = PseudoMasks(request)
    masks.check(of_photo=lambda image_id: [f"{FOLDER}/{image_id}.png"])
    for photo in masks:
        request.output.write(f"{FOLDER}/{photo.image_id}.png", grey_png(photo.ids))
    return masks.outcome()
