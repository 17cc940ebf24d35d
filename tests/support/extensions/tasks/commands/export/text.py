"""Format text: the ids of the photos that have a pseudo mask, one per line."""

from clipes.tasks.commands.export.pseudo_masks import PseudoMasks
from clipes.tasks.commands.export.request import Exported, ExportRequest


def export(request: ExportRequest) -> Exported:
    """Write `<target>/masks.txt`."""
    masks = PseudoMasks(request)
    masks.check("masks.txt")
    ids = sorted(photo.image_id for photo in masks)
    request.output.write("masks.txt", "".join(f"{image_id}\n" for image_id in ids).encode())
    return masks.outcome()
