"""The export format cvat: pseudo masks as `<target>/annotations.xml`, masks in the format CVAT for images 1.1.

CVAT cannot mark pixels that are to be ignored. They are masks with the label `ignore`.
"""

from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from clipes.tasks.commands.export.files.class_list import Classes
from clipes.tasks.commands.export.pseudo_masks import ExportedMask, PseudoMasks
from clipes.tasks.commands.export.request import Exported, ExportRequest
from clipes.tasks.inputs.datasets.entries import CONTROL_CHARACTERS
from clipes_core.encodings.run_lengths import cropped_runs
from clipes_core.errors import ErrorKind, PhotoError

FILE = "annotations.xml"
START = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <name>{name}</name>
      <mode>annotation</mode>
      <labels>
{labels}
      </labels>
    </task>
  </meta>
"""
LABEL = "        <label><name>{name}</name><color>{colour}</color><type>mask</type><attributes></attributes></label>"


def export(request: ExportRequest) -> Exported:
    """Write the pseudo masks of a run as one XML file, a few photos at a time.

    Raises:
        PhotoError: the id of a photo contains a control character, which XML cannot contain.
        ClipesError: see `export_run`.
    """
    masks, classes = PseudoMasks(request), Classes.of_run(request.run.run)
    masks.check(FILE)
    labels = (*classes.named, classes.ignore)
    names = {each.id: each.name for each in labels}
    lines = (LABEL.format(name=escape(each.name), colour=each.hex_colour) for each in labels)
    start = START.format(name=escape(request.run.run["name"]), labels="\n".join(lines))
    with request.output.open(FILE) as file:
        file.write(start.encode())
        for photo in masks:
            file.writelines(line.encode() for line in _image(photo, masks.written - 1, names))
        file.write(b"</annotations>\n")
    return masks.outcome()


def _image(photo: ExportedMask, number: int, names: dict[int, str]) -> Iterator[str]:
    if CONTROL_CHARACTERS.search(photo.file_name):
        reason = f"{photo.file_name!r} contains a control character, which XML cannot contain: rename the photo"
        raise PhotoError(ErrorKind.UNREADABLE, reason)
    height, width = photo.ids.shape
    yield f'  <image id="{number}" name={quoteattr(photo.file_name)} width="{width}" height="{height}">\n'
    for class_id, mask in photo.class_masks():
        runs = cropped_runs(mask)
        place = f'left="{runs.left}" top="{runs.top}" width="{runs.width}" height="{runs.height}"'
        rle = ", ".join(map(str, runs.lengths.tolist()))
        label = quoteattr(names[class_id])
        yield f'    <mask label={label} source="auto" occluded="0" rle="{rle}" {place} z_order="0"></mask>\n'
    yield "  </image>\n"
