"""The export format yolo: pseudo masks as `<target>/labels/<image_id>.txt`, polygons that YOLO trains on.

YOLO cannot mark pixels that are to be ignored. They are in no polygon, so a training takes them for background.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import yaml

from clipes.tasks.commands.export.files.class_list import Classes
from clipes.tasks.commands.export.pseudo_masks import PHOTO_FOLDER, ExportedMask, PseudoMasks
from clipes.tasks.commands.export.request import Exported, ExportRequest
from clipes_core.encodings.polygons import polygons
from clipes_core.pseudo_mask import IGNORE_INDEX

FILE, FOLDER = "data.yaml", "labels"
# A reader multiplies a coordinate by the size of the photo, and then truncates or rounds it. Both give the same pixel.
OFFSET = 0.25  # [px]
NO_PHOTOS = f"YOLO looks for the photos in {PHOTO_FOLDER}/ next to {FOLDER}/: export again with --photos"


def export(request: ExportRequest) -> Exported:
    """Write the polygons of each photo, and data.yaml with the names of the classes.

    Raises:
        ClipesError: see `export_run`.
    """
    masks, classes = PseudoMasks(request), Classes.of_run(request.run.run)
    masks.check(FILE, of_photo=lambda image_id: [f"{FOLDER}/{image_id}.txt"])
    for photo in masks:
        request.output.write(f"{FOLDER}/{photo.image_id}.txt", "".join(_lines(photo)).encode())
    names = {each.id - 1: each.name for each in classes.named}
    data = {"train": PHOTO_FOLDER, "val": PHOTO_FOLDER, "names": names}
    request.output.write(FILE, yaml.safe_dump(data, allow_unicode=True, sort_keys=False).encode())
    outcome = masks.outcome()
    return replace(outcome, note="\n".join(filter(None, [outcome.note, "" if request.photos else NO_PHOTOS])))


def _lines(photo: ExportedMask) -> Iterator[str]:
    """Yield a line per connected region: the number of its class, counted from 0, and the points of its polygon."""
    size_wh = photo.ids.shape[::-1]
    for class_id, mask in photo.class_masks():
        for polygon in polygons(mask) if class_id != IGNORE_INDEX else ():
            points = ((polygon + OFFSET) / np.array(size_wh)).ravel().tolist()
            yield f"{class_id - 1} {' '.join(f'{value:.6f}' for value in points)}\n"
