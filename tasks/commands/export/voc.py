"""The export format voc: pseudo masks as `<target>/<image_id>.png`, with the palette of the run."""

from clipes.tasks.commands.export.pseudo_masks import PseudoMasks
from clipes.tasks.commands.export.request import Exported, ExportRequest
from clipes.tasks.inputs.pngs import palette_png


def export(request: ExportRequest) -> Exported:
    """Write the pseudo masks of a run as palette PNGs. Pixels of low confidence are 255.

    Raises:
        ClipesError: see `export_run`.
    """
    masks = PseudoMasks(request)
    masks.check(of_photo=lambda image_id: [f"{image_id}.png"])
    for photo in masks:
        request.output.write(f"{photo.image_id}.png", palette_png(photo.ids, photo.palette))
    return masks.outcome()
