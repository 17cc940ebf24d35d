"""Data sets in MS COCO's layout: annotations/instances_SPLIT.json and a folder of photos per split."""

import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clipes.tasks.inputs.datasets.dataset_format import DatasetFormat
from clipes.tasks.inputs.datasets.entries import (
    PHOTO_EXTENSIONS,
    Entry,
    dataset_root,
    find_class_ids,
    mask_place,
    path_inside,
    rejected,
    without_extension,
)
from clipes.tasks.inputs.photos import Reject
from clipes.tasks.storage.user_files import absolute, join, list_names, read_lines, read_text
from clipes_core.config.dataset import DatasetConfig
from clipes_core.errors import DatasetError, PhotoError
from clipes_core.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

PUBLISHED_SPLITS = ("train2014", "val2014", "train2017", "val2017")
REQUIRED_FIELDS = {
    "images": ("id", "file_name"),
    "annotations": ("image_id", "category_id"),
    "categories": ("id", "name"),
}
SIZE_FIELDS = ("width", "height")
FIELDS_READ = {*REQUIRED_FIELDS, *SIZE_FIELDS, *(field for fields in REQUIRED_FIELDS.values() for field in fields)}


@dataclass(frozen=True, slots=True)
class _Row:
    """The facts about a photo that the .json or .txt file of a split states."""

    file_name: str
    labels: tuple[str, ...]
    stated_size: tuple[int, int] | None = None


def read_coco(config: DatasetConfig, vocabulary: Vocabulary) -> Iterator[Entry | Reject]:
    """List the photos of a split in COCO's layout.

    A photo's labels are the categories of all its annotations, including annotations of crowds.

    Args:
        config: settings of the data set. `split` is the name of a split, or the path or URI of a .json or .txt file.
            The name of a split SPLIT stands for the file annotations/instances_SPLIT.json. Each line of a .txt file has
            a file name and class ids, `FILE ID ID`. The class ids start at 0, as in the files that the authors of
            CLIP-ES published.
        vocabulary: classes of the data set. The name of each category must be the name or an alias of one of them.

    Yields:
        One `Entry` or `Reject` for each image of the .json file or each line of the .txt file, in the file's order.

    Raises:
        ConfigError: `root` is not set.
        DatasetError: the split does not exist, or its annotation file is broken.
    """
    root = dataset_root(config)
    truth_folder = absolute(config.truth) if config.truth else None
    split_uri = _split_uri(root, config.split)
    try:
        if split_uri.endswith(".txt"):
            known = {str(class_id - 1): class_id for class_id in vocabulary.ids.values()}
            rows = list(_text_rows(split_uri))
        else:
            known = vocabulary.known_names
            rows = list(_json_rows(split_uri))
    except FileNotFoundError as exc:
        raise DatasetError(f"dataset.split: no file {split_uri}; {_known_splits(root)}") from exc
    folders = _photo_folders(root, _split_name(split_uri))
    for row in rows:
        yield _entry(row, known, folders, truth_folder)


FORMAT = DatasetFormat(name="coco", read=read_coco)


def _split_uri(root: str, split: str) -> str:
    named = "/" not in split and not split.endswith((".json", ".txt"))
    return join(root, f"annotations/instances_{split}.json") if named else absolute(split)


def _split_name(split_uri: str) -> str:
    return without_extension(split_uri.rpartition("/")[2]).removeprefix("instances_")


def _known_splits(root: str) -> str:
    folder = join(root, "annotations")
    files = [name for name in list_names(folder) or () if name.startswith("instances_") and name.endswith(".json")]
    if files:
        return f"splits in {folder}: {', '.join(_split_name(name) for name in files)}"
    return f"{folder} has no instances_*.json; set dataset.root to the folder that contains annotations/"


def _photo_folders(root: str, split: str) -> list[str]:
    """Return the folders to search for photos, in order.

    The order is: the folders of this split, the folders of the splits that COCO published, `images`, and the root.
    """
    images = join(root, "images")
    present = {folder: list_names(folder) or () for folder in (root, images)}
    own = [join(root, split), join(images, split)]
    published = [join(folder, name) for folder in present for name in PUBLISHED_SPLITS if name in present[folder]]
    return list(dict.fromkeys([*own, *published, images, root]))


def _text_rows(list_uri: str) -> Iterator[_Row]:
    for _, line in read_lines(list_uri):
        name, *labels = line.split()
        yield _Row(name if name.lower().endswith(PHOTO_EXTENSIONS) else f"{name}.jpg", tuple(labels))


def _json_rows(json_uri: str) -> Iterator[_Row]:
    """Yield each image with the names of its categories; each name occurs once, in order of first appearance."""
    data = _read_json(json_uri)
    categories = {record["id"]: str(record["name"]) for record in _records(json_uri, data, "categories")}
    labels: dict[Any, dict[str, None]] = defaultdict(dict)
    for record in _records(json_uri, data, "annotations"):
        category = record["category_id"]
        labels[record["image_id"]][categories.get(category, f"category_id {category}")] = None
    for record in _records(json_uri, data, "images"):
        yield _Row(str(record["file_name"]), tuple(labels.get(record["id"], ())), _stated_size(record))
    _warn_of_unknown_images(json_uri, labels.keys() - {record["id"] for record in data["images"]})


def _stated_size(record: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = (record.get(side) for side in SIZE_FIELDS)
    return (width, height) if isinstance(width, int) and isinstance(height, int) and width and height else None


def _warn_of_unknown_images(json_uri: str, image_ids: set[Any]) -> None:
    if image_ids:
        logger.warning(
            "%s: %d image_ids in the annotations match no image (the first is %r); photos may lack their labels",
            json_uri,
            len(image_ids),
            min(image_ids, key=str),
        )


def _read_json(json_uri: str) -> Any:
    try:
        return json.loads(read_text(json_uri), object_hook=_drop_polygons)
    except (ValueError, RecursionError) as exc:  # also if a number is too long, or the nesting too deep
        raise DatasetError(f"{json_uri}: broken JSON ({exc}); download the file again") from exc


def _drop_polygons(record: dict[str, Any]) -> dict[str, Any]:
    # The polygons make up most of an annotation file, and would need much memory.
    return {key: record[key] for key in FIELDS_READ if key in record}


def _records(json_uri: str, data: Any, section: str) -> Iterator[Mapping[str, Any]]:
    records = data.get(section) if isinstance(data, dict) else None
    if not isinstance(records, list):
        raise DatasetError(f"{json_uri}: no list named {section}; COCO's files have images, annotations and categories")
    for number, record in enumerate(records):
        found = record if isinstance(record, dict) else {}
        missing = [field for field in REQUIRED_FIELDS[section] if not isinstance(found.get(field), int | float | str)]
        if missing:
            raise DatasetError(f"{json_uri}: {section}[{number}] has no {' and no '.join(missing)}")
        yield record


def _entry(row: _Row, known: Mapping[str, int], folders: list[str], truth_folder: str | None) -> Entry | Reject:
    try:
        inside = path_inside(row.file_name)
        class_ids = find_class_ids(row.labels, known)
    except PhotoError as error:
        return rejected(without_extension(row.file_name), join(folders[0], row.file_name), error)
    image_id = without_extension(inside)
    places = tuple(join(folder, inside) for folder in folders)
    return Entry(image_id, places, class_ids, mask_place(truth_folder, image_id), stated_size=row.stated_size)
