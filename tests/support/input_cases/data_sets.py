"""Data sets with unusual lists, annotations and file names, read inside this process."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from support.free_ports import free_ports
from support.input_cases.annotations import annotation
from support.input_cases.photos import GOOD
from support.input_cases.readers import seen_by_readers, seen_of_listing
from support.input_cases.seen import Seen

from clipes.tasks.inputs.datasets.listing import read_dataset
from clipes.tasks.inputs.sources.web import requests
from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes.tasks.runs.inputs.photos import list_photos
from clipes.tasks.storage.retry_policy import RetryPolicy
from clipes_core.config.dataset import DatasetConfig
from clipes_core.config.run import parse_config

Files = Mapping[str, str | bytes]


def _write(folder: Path, files: Files, photos: tuple[str, ...]) -> None:
    for name in photos:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        GOOD(folder / name)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def case(
    kind: str, image_id: str, files: Files, photos: tuple[str, ...] = ("a.jpg",), **settings: Any
) -> Callable[[Path], Seen]:
    """Return a function that writes a data set, and returns what happens to one of its photos.

    Args:
        kind: value of `dataset.format`.
        image_id: id of the photo.
        files: name -> content of each file apart from the photos. The first file is the split.
        photos: names of the photos.
        settings: other settings of the data set.
    """

    def seen(folder: Path) -> Seen:
        _write(folder, files, photos)
        return seen_by_readers(_config(kind, folder, files, **settings), image_id)

    return seen


def _config(kind: str, folder: Path, files: Files, **settings: Any) -> DatasetConfig:
    return DatasetConfig(format=kind, root=str(folder), split=str(folder / next(iter(files))), **settings)


def voc(content: str | bytes, name: str = "JPEGImages/a.jpg") -> Callable[[Path], Seen]:
    """Return a case with a photo and its annotation in VOC's layout."""
    return case("voc", "a", {"split.txt": "a\n", "Annotations/a.xml": content}, (name,))


def csv(*lines: str, image_id: str = "a", photos: tuple[str, ...] = ("a.jpg",)) -> Callable[[Path], Seen]:
    """Return a case with a list; the photo of interest has the id `image_id`."""
    return case("list", image_id, {"list.csv": "\n".join(["image,labels", *lines])}, photos)


def coco(image_id: str = "a", photos: tuple[str, ...] = ("a.jpg",), **changes: Any) -> Callable[[Path], Seen]:
    """Return a case with an annotation file with some changed sections."""
    document = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": [{"image_id": 1, "category_id": 7}],
        "categories": [{"id": 7, "name": "dog"}],
    }
    return case("coco", image_id, {"own.json": json.dumps({**document, **changes})}, photos)


def parquet(**columns: object) -> bytes:
    """Return a list in Parquet."""
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table(columns), sink)
    return sink.getvalue().to_pybytes()


def bad_text() -> bytes:
    """Return a list in Parquet whose first path is not UTF-8."""
    paths = pyarrow.array([b"\xff.jpg", b"a.jpg"]).view(pyarrow.string())
    return parquet(image=paths, labels=["dog", "dog"])


def without_labels(folder: Path) -> Seen:
    """List the photos of a run in which no photo has a label."""
    files = {"list.csv": "image,labels\na.jpg,\n"}
    _write(folder, files, ("a.jpg",))
    config = _config("list", folder, files)
    run = parse_config({"name": "bad", "store": str(folder), "dataset": config.model_dump()})
    return seen_of_listing(lambda: list_photos(run), config, "a")


def unreachable(folder: Path) -> Seen:
    """List a photo at a host that does not answer."""
    (port,) = free_ports(1)
    image_id = f"127.0.0.1:{port}/b"
    files = {"list.csv": f"image,labels\na.jpg,dog\nhttp://{image_id}.jpg,dog\n"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests, "POLICY", RetryPolicy(2, 0.01, 0.01))  # instead of a minute
        return case("list", image_id, files, reach=("http://",))(folder)


def underscored(folder: Path) -> Seen:
    """List a photo with the label `traffic_light` of the class `traffic light`."""
    files = {"list.csv": "image,labels\na.jpg,traffic_light\n"}
    _write(folder, files, ("a.jpg",))
    config = _config("list", folder, files)
    return seen_of_listing(lambda: read_dataset(config, load_vocabulary("coco14")), config, "a")


DOG = annotation("dog").decode()
GBK = f'<?xml version="1.0" encoding="GBK"?>{DOG.replace("<object>", "<folder>照片</folder><object>")}'

DATA_SETS: dict[tuple[str, str], Callable[[Path], Seen]] = {
    ("Labels", "list in which no photo has a label"): without_labels,
    ("Labels", "class name with an underscore in place of a blank"): underscored,
    ("Labels", "photo without labels"): csv("a.jpg,"),
    ("Labels", "photo without labels, with `dataset.empty: reject`"): case(
        "list", "a", {"list.csv": "image,labels\na.jpg,\n"}, empty="reject"
    ),
    ("Labels", "XML in GBK or another declared encoding"): voc(GBK.encode("gbk")),
    ("Labels", "XML with an `<Object>` or an object in another element"): voc(DOG.replace("object", "Object")),
    ("Labels", "object with several names"): voc(DOG.replace("</name>", "</name><name>cat</name>")),
    ("Labels", "labels joined by a comma or a pipe"): csv('a.jpg,"dog,cat"'),
    ("Labels", "labels joined by a comma, one of them unknown"): csv('a.jpg,"dog,giraffe"'),
    ("Labels", "one line for each label of a photo"): csv("a.jpg,dog", "a.jpg,cat"),
    ("Labels", "several lines that give a photo different labels"): csv("a.jpg,dog;cat", "a.jpg,bird"),
    ("Labels", "COCO annotations that all belong to no image"): coco(annotations=[{"image_id": "1", "category_id": 7}]),
    ("Labels", "COCO images with the same id"): coco(
        "a", images=[{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]
    ),
    ("Labels", "COCO image without an id or a file name"): coco(
        "images[1]", images=[{"id": 1, "file_name": "a.jpg"}, {"id": 2}]
    ),
    ("Labels", "COCO categories with the same id"): coco(
        categories=[{"id": 7, "name": "dog"}, {"id": 7, "name": "cat"}]
    ),
    ("Labels", "COCO annotation without an image id"): coco(annotations=[{"category_id": 7}]),
    ("Lists", "file name that differs from the list in case or Unicode form"): csv("A.jpg,dog", image_id="A"),
    ("Lists", "file name that differs from the list in its extension"): csv("a.png,dog"),
    ("Lists", "path with backslashes"): csv("sub\\a.jpg,dog", image_id="sub/a", photos=("sub/a.jpg",)),
    ("Lists", "VOC photo that is not .jpg"): voc(DOG, "JPEGImages/a.jpeg"),
    ("Lists", "COCO file name that is a URL"): coco(
        "http://host/a", images=[{"id": 1, "file_name": "http://host/a.jpg"}, {"id": 2, "file_name": "a.jpg"}]
    ),
    ("Lists", "photo at a host that does not answer"): unreachable,
    ("Lists", "CSV with a column twice"): case("list", "a", {"list.csv": "image,labels,labels\na.jpg,dog,\n"}),
    ("Lists", "COCO file with a key twice in an object"): case(
        "coco", "a", {"own.json": '{"images": [], "images": []}'}
    ),
    ("Lists", "Parquet list with text that is not UTF-8"): case("list", "row 1", {"list.parquet": bad_text()}),
    ("Lists", "Parquet list whose column image has no text"): case(
        "list", "a", {"list.parquet": parquet(image=[["a.jpg"]], labels=["dog"])}
    ),
    ("Lists", "Parquet list that is cut off"): case(
        "list", "a", {"list.parquet": parquet(image=["a.jpg"], labels=["dog"])[:-20]}
    ),
}
