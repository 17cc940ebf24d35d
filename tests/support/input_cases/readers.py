"""Bad COCO files and unreadable files, read inside this process."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image
from support.input_cases.annotations import annotation
from support.input_cases.photos import GOOD
from support.input_cases.seen import Seen
from support.permissions import unprivileged

from clipes.tasks.inputs.datasets.listing import Listing, read_dataset
from clipes.tasks.inputs.photos import Photo, load_photos
from clipes.tasks.inputs.truth import listed_ids
from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes_core.config.dataset import DatasetConfig
from clipes_core.errors import PhotoError, UsageError
from clipes_core.vocabulary import Vocabulary


class Messages(logging.Handler):
    """A log handler that stores the messages."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def seen_by_readers(config: DatasetConfig, image_id: str) -> Seen:
    """List a data set and load its photos, as the stages `manifest` and `cams` do; return what happens to one photo."""
    return seen_of_listing(lambda: read_dataset(config, vocabulary()), config, image_id)


def seen_of_listing(read: Callable[[], Listing], config: DatasetConfig, image_id: str) -> Seen:
    """List a data set with `read`, and load its photos; return what happens to one photo."""
    messages = Messages()
    logging.getLogger("clipes").addHandler(messages)
    try:
        listing = read()
    except UsageError as error:
        return Seen(exit_code=2, message=str(error))
    finally:
        logging.getLogger("clipes").removeHandler(messages)
    rejects = [(row.stage, str(row.kind)) for row in listing.rejects if row.image_id == image_id]
    notes = None
    for photo, loaded in load_photos(listing.photos, config):
        if photo.image_id == image_id and isinstance(loaded, PhotoError):
            rejects.append(("cams", str(loaded.kind)))
        elif photo.image_id == image_id:
            notes = loaded.notes
    return Seen(tuple(dict.fromkeys(rejects)), notes, message="\n".join(messages.lines))


@cache
def vocabulary() -> Vocabulary:
    """Return VOC's vocabulary, cached because an unprivileged process may not be able to read its file."""
    return load_vocabulary("voc12")


def voc_with(folder: Path, forbidden: str) -> Seen:
    """Read a data set of two photos, one file of which has no read permission."""
    for name in ("JPEGImages", "Annotations"):
        (folder / name).mkdir()
    for image_id in ("a", "b"):
        GOOD(folder / "JPEGImages" / f"{image_id}.jpg")
        (folder / "Annotations" / f"{image_id}.xml").write_bytes(annotation("dog"))
    (folder / "both.txt").write_text("a\nb\n")
    (folder / forbidden).chmod(0)
    config = DatasetConfig(root=str(folder), split=str(folder / "both.txt"))
    seen_by_readers(config, "b")  # do all imports now: the modules may be in folders that only root can read
    with unprivileged(folder):
        assert seen_by_readers(config, "b") == Seen(notes=())
        return seen_by_readers(config, "a")


def coco_with(folder: Path, **changes: Any) -> Seen:
    """Read an annotation file of one photo with some changed sections."""
    document = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": [{"image_id": 1, "category_id": 7}],
        "categories": [{"id": 7, "name": "dog"}],
    }
    (folder / "own.json").write_text(json.dumps({**document, **changes}))
    return _seen_in_coco(folder, "own.json")


def coco_outline(folder: Path, segmentation: Any) -> Seen:
    """Draw the true mask of a photo from an outline, next to a photo with a good outline."""
    images = [{"id": number, "file_name": f"{name}.jpg", "width": 64, "height": 48} for number, name in enumerate("ab")]
    outlines = [segmentation, [[1, 1, 20, 1, 20, 20]]]
    annotations = [
        {"id": number, "image_id": number, "category_id": 7, "segmentation": outline}
        for number, outline in enumerate(outlines)
    ]
    GOOD(folder / "b.jpg")
    seen = coco_with(folder, images=images, annotations=annotations)
    config = DatasetConfig(format="coco", root=str(folder), split=str(folder / "own.json"))
    photo, other = read_dataset(config, vocabulary()).photos
    assert listed_ids(other).any()
    try:
        assert photo.annotations is None or listed_ids(photo).any()
    except PhotoError as error:
        return replace(seen, rejects=(*seen.rejects, ("true_masks", str(error.kind))))
    return seen


def coco_list(folder: Path) -> Seen:
    """Read a text list without the id 0, but with the id 20, the number of classes, so that ids start at 1."""
    (folder / "own.txt").write_text("a 20\n")
    return _seen_in_coco(folder, "own.txt")


def _seen_in_coco(folder: Path, split: str) -> Seen:
    GOOD(folder / "a.jpg")
    config = DatasetConfig(format="coco", root=str(folder), split=str(folder / split))
    return seen_by_readers(config, "a")


def large_photos(folder: Path) -> Seen:
    """Read three photos of which each needs more memory than the budget."""
    entries = []
    for name in ("a", "b", "c"):
        Image.new("RGB", (1000, 1000)).save(folder / f"{name}.png", compress_level=1)
        entries.append(Photo(name, str(folder / f"{name}.png"), 1, "1", (1,)))
    found = {photo.image_id: loaded for photo, loaded in load_photos(entries, DatasetConfig(root="/"), memory_mib=1)}
    return Seen(notes=found["c"].notes)


def changed_photo(folder: Path) -> Seen:
    """List a photo, and replace it before it is read."""
    GOOD(folder / "a.jpg")
    (folder / "list.csv").write_text("image,labels\na.jpg,dog\n")
    config = DatasetConfig(format="list", root=str(folder), split=str(folder / "list.csv"))

    def read() -> Listing:
        listing = read_dataset(config, vocabulary())
        Image.new("RGB", (64, 48)).save(folder / "a.jpg")
        return listing

    return seen_of_listing(read, config, "a")


READ: dict[tuple[str, str], Callable[[Path], Seen]] = {
    ("Photos", "several photos that fill the memory if they are decoded at the same time"): large_photos,
    ("Photos", "file that changes after clipes listed it"): changed_photo,
    ("Photos", "photo without read permission"): lambda folder: voc_with(folder, "JPEGImages/a.jpg"),
    ("Labels", "annotation without read permission"): lambda folder: voc_with(folder, "Annotations/a.xml"),
    ("Labels", "text list of format `coco` whose class ids start at 1"): coco_list,
    ("Labels", "COCO annotation without an outline (`segmentation`) in a file with outlines"): lambda folder: (
        coco_outline(folder, [])
    ),
    ("Labels", "COCO polygon with fewer than 3 points, or without a y"): lambda folder: coco_outline(
        folder, [[1, 1, 9, 9, 4]]
    ),
    ("Labels", "COCO RLE of another size than the photo, or that is invalid"): lambda folder: coco_outline(
        folder, {"size": [9, 9], "counts": [81]}
    ),
    ("Labels", "COCO annotation of a category that is not in the file"): lambda folder: coco_with(
        folder, categories=[]
    ),
    ("Labels", "COCO annotation of an image that is not in the file"): lambda folder: coco_with(
        folder, annotations=[{"image_id": "1", "category_id": 7}, {"image_id": 2, "category_id": 7}]
    ),
}
