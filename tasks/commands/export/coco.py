"""The export format coco: pseudo masks as `<target>/annotations.json`, COCO's instance annotations with RLE.

Each class of a photo is one annotation with `iscrowd` 0, because pseudo masks do not separate objects of one class.
COCO cannot mark pixels that are to be ignored: they are in no annotation, and the entry `ignored` of the photo, which
other programs do not read, holds them as RLE.
"""

import json
import shutil
import tempfile
from typing import Any, BinaryIO

import numpy as np
from pycocotools import mask as coco_mask

from clipes.tasks.commands.export.files.class_list import Classes
from clipes.tasks.commands.export.pseudo_masks import ExportedMask, PseudoMasks
from clipes.tasks.commands.export.request import Exported, ExportRequest
from clipes_core.pseudo_mask import IGNORE_INDEX

FILE = "annotations.json"


def export(request: ExportRequest) -> Exported:
    """Write the pseudo masks of a run as one JSON file, a few photos at a time.

    Raises:
        ClipesError: see `export_run`.
    """
    masks, classes = PseudoMasks(request), Classes.of_run(request.run.run)
    masks.check(FILE)
    start = {
        "info": {"description": f"Pseudo masks of the clipes run {request.run.run['name']}"},
        "licenses": [],
        "categories": [{"id": each.id, "name": each.name, "colour": each.colour} for each in classes.named],
    }
    with request.output.open(FILE) as file, tempfile.TemporaryFile() as annotations:
        file.write(f"{_encode(start)[:-1]},\n".encode() + b'"images": [')
        number = 0
        for photo in masks:
            _write_item(file, _image(photo, masks.written), masks.written == 1)
            for class_id, mask in photo.class_masks():
                if class_id != IGNORE_INDEX:
                    number += 1
                    _write_item(annotations, _annotation(number, masks.written, class_id, mask), number == 1)
        file.write(b'\n],\n"annotations": [')
        annotations.seek(0)
        shutil.copyfileobj(annotations, file)
        file.write(b"\n]}\n")
    return masks.outcome()


def _image(photo: ExportedMask, number: int) -> dict[str, Any]:
    height, width = photo.ids.shape
    entry = {
        "id": number,
        "file_name": photo.file_name,
        "width": width,
        "height": height,
        "image_id": photo.image_id,
        "coco_url": photo.uri,
    }
    ignored = photo.ids == IGNORE_INDEX
    return {**entry, "ignored": _rle(ignored)} if ignored.any() else entry


def _annotation(number: int, image_number: int, class_id: int, mask: np.ndarray) -> dict[str, Any]:
    rle = _rle(mask)
    return {
        "id": number,
        "image_id": image_number,
        "category_id": class_id,
        "segmentation": rle,
        "area": int(coco_mask.area(rle)),
        "bbox": coco_mask.toBbox(rle).tolist(),
        "iscrowd": 0,
    }


def _rle(mask: np.ndarray) -> dict[str, Any]:
    """Return COCO's compressed run-length encoding of a (H, W) bool mask."""
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": rle["counts"].decode()}


def _write_item(file: BinaryIO, item: dict[str, Any], first: bool) -> None:
    file.write((b"\n" if first else b",\n") + _encode(item).encode())


def _encode(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
