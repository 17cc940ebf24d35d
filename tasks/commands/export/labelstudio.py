"""The export format labelstudio: pseudo masks as `<target>/tasks.json`, brush strokes that annotators can correct.

Label Studio cannot mark pixels that are to be ignored. They are strokes with the label `ignore`.
"""

import json
import posixpath
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from clipes.tasks.commands.export.files.class_list import Classes
from clipes.tasks.commands.export.pseudo_masks import PHOTO_FOLDER, ExportedMask, PseudoMasks
from clipes.tasks.commands.export.request import Exported, ExportRequest
from clipes_core.config.uri import is_uri
from clipes_core.encodings.brush_rle import brush_rle

FILE, CONFIG_FILE = "tasks.json", "labeling_config.xml"
LOCAL_FILES = "/data/local-files/?d="  # Label Studio's URL for files below LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT
BRUSH, IMAGE = "brush", "image"  # names in the labelling config, to which the strokes refer


def export(request: ExportRequest) -> Exported:
    """Write the pseudo masks of a run as predictions of tasks, a few photos at a time, and the labelling config.

    Raises:
        ClipesError: see `export_run`.
    """
    masks, classes = PseudoMasks(request), Classes.of_run(request.run.run)
    masks.check(FILE, CONFIG_FILE)
    names = {each.id: each.name for each in (*classes.named, classes.ignore)}
    model = f"clipes {request.run.run['name']}"
    with request.output.open(FILE) as file:
        for photo in masks:
            url = _photo_url(photo, request.photos)
            strokes = [_stroke(photo, class_id, names[class_id], mask) for class_id, mask in photo.class_masks()]
            task = {
                "data": {IMAGE: url, "image_id": photo.image_id},
                "predictions": [{"model_version": model, "result": strokes}],
            }
            file.write(b"[\n" if masks.written == 1 else b",\n")
            file.write(json.dumps(task, ensure_ascii=False).encode())
        file.write(b"\n]\n" if masks.written else b"[]\n")
    request.output.write(CONFIG_FILE, _labelling_config(classes).encode())
    return masks.outcome()


def _photo_url(photo: ExportedMask, copied: bool) -> str:
    """Return the URL at which Label Studio finds a photo: a URI as it is, or that of a local file."""
    if copied:
        return LOCAL_FILES + quote(posixpath.join(PHOTO_FOLDER, photo.file_name))
    return photo.uri if is_uri(photo.uri) else LOCAL_FILES + quote(photo.uri.lstrip("/"))


def _stroke(photo: ExportedMask, class_id: int, name: str, mask: Any) -> dict[str, Any]:
    height, width = photo.ids.shape
    return {
        "id": f"class-{class_id}",
        "type": "brushlabels",
        "from_name": BRUSH,
        "to_name": IMAGE,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": brush_rle(mask), "brushlabels": [name]},
    }


def _labelling_config(classes: Classes) -> str:
    labels = "\n".join(
        f"    <Label value={quoteattr(each.name)} background={quoteattr(each.hex_colour)}/>"
        for each in (*classes.named, classes.ignore)
    )
    return f"""<View>
  <Image name="{IMAGE}" value="${IMAGE}" zoom="true"/>
  <BrushLabels name="{BRUSH}" toName="{IMAGE}">
{labels}
  </BrushLabels>
</View>
"""
