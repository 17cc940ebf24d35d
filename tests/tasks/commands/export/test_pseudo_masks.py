import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from clipes.tasks.commands.export.formats import ExportOptions, export_run

STORED = "1 photos have an EXIF orientation. Their masks fit the photos as they are stored, and not in programs that"
TURNED = "1 photos have an EXIF orientation. Their masks fit the turned photos, and not in programs that show photos as"


@pytest.mark.parametrize(("exif", "remark"), [("ignore", STORED), ("apply", TURNED)])
def test_photos_with_an_exif_orientation_are_counted_and_their_masks_fit_as_stated(tiny, run_of, exif, remark):
    tiny.add("plain")
    path = tiny.add("turned")
    with Image.open(path) as image:
        tags = image.getexif()
        tags[ExifTags.Base.Orientation] = 6
        image.copy().save(path, exif=tags)
    store, name = run_of(dataset={"exif": exif})

    exported = export_run("ids", store, name, str(tiny.folder / "out"), 0, ExportOptions(photos=True))

    assert exported.note.startswith(remark)
    with Image.open(tiny.folder / "out" / "images" / "turned.png") as copy:
        shown = ImageOps.exif_transpose(copy) if exif == "apply" else copy
        mask = np.array(Image.open(tiny.folder / "out" / "class_ids" / "turned.png"))
        assert mask.shape[::-1] == shown.size
        assert (copy.size != shown.size) == (exif == "apply")
