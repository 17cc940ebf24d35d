"""Read the images and labels of an annotation file of COCO, instances_SPLIT.json."""

import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clipes.tasks.inputs.datasets.entries import Remark
from clipes.tasks.storage.user_files import read_text
from clipes_core.config.uri import without_secrets
from clipes_core.errors import DatasetError, ErrorKind, PhotoError

REQUIRED_FIELDS = {
    "images": ("id", "file_name"),
    "annotations": ("image_id", "category_id"),
    "categories": ("id", "name"),
}
SIZE_FIELDS = ("width", "height")
FIELDS_READ = {*REQUIRED_FIELDS, *SIZE_FIELDS, *(field for fields in REQUIRED_FIELDS.values() for field in fields)}
LARGEST_SIDE = 10**9  # px

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CocoImage:
    """An image of an annotation file.

    Attributes:
        file_name: path of the photo, as the file spells it.
        labels: names of the categories of its annotations, unique, in order of first appearance.
        stated_size: width and height [px]; None if the file states no valid size.
    """

    file_name: str
    labels: tuple[str, ...]
    stated_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class AnnotationFile:
    """The content of an annotation file.

    Attributes:
        images: records of the section `images`; they are not checked yet.
        labels: image id -> names of the categories of its annotations.
        names: image id -> file names of the images with this id.
        categories: names of the categories, unique, in the file's order.
    """

    images: Sequence[Any]
    labels: Mapping[Any, Sequence[str]]
    names: Mapping[Any, Sequence[str]]
    categories: tuple[str, ...]

    def image(self, number: int) -> CocoImage:
        """Return an image.

        Raises:
            PhotoError: the record of the image is broken, or another image has the same id.
        """
        record = self.images[number]
        problem = _problem(record, "images")
        if problem:
            raise PhotoError(ErrorKind.UNREADABLE_LABELS, f"images[{number}] {problem}")
        names = self.names[record["id"]]
        if len(names) > 1:
            raise PhotoError(
                ErrorKind.UNREADABLE_LABELS,
                f"{len(names)} images have the id {record['id']!r}, so their annotations cannot be told apart "
                f"({names[0]} and {names[1]}); give each image its own id, also in its annotations",
            )
        return CocoImage(str(record["file_name"]), tuple(self.labels.get(record["id"], ())), _stated_size(record))

    def file_name(self, number: int) -> str | None:
        """Return the file name of an image, whose record may be broken; None if it has none."""
        record = self.images[number]
        name = record.get("file_name") if isinstance(record, dict) else None
        return name if isinstance(name, str) and name else None

    def remarks(self) -> Iterator[Remark]:
        """Yield a remark if annotations belong to no image."""
        unknown = self.labels.keys() - self.names.keys()
        if unknown:
            yield Remark(
                f"{len(unknown)} image_ids in the annotations match no image (the first is "
                f"{without_secrets(repr(min(unknown, key=str)))}); photos may lack their labels"
            )


def read_annotation_file(json_uri: str) -> AnnotationFile:
    """Read an annotation file.

    Raises:
        FileNotFoundError: `json_uri` does not exist.
        DatasetError: the file is broken, an annotation or a category is broken, two categories have the same id, or no
            annotation belongs to an image.
    """
    data = _read_json(json_uri)
    categories = _categories(json_uri, data)
    labels: dict[Any, dict[str, None]] = defaultdict(dict)
    for record in _records(json_uri, data, "annotations"):
        category = record["category_id"]
        labels[record["image_id"]][categories.get(category, f"category_id {category}")] = None
    images = _section(json_uri, data, "images")
    names: dict[Any, dict[str, None]] = defaultdict(dict)
    for image in images:
        if _problem(image, "images") is None:
            names[image["id"]][str(image["file_name"])] = None
    _check_image_ids(json_uri, labels.keys(), names.keys())
    return AnnotationFile(images, _as_tuples(labels), _as_tuples(names), tuple(dict.fromkeys(categories.values())))


def _read_json(json_uri: str) -> Any:
    try:
        return json.loads(read_text(json_uri), object_pairs_hook=_fields_read)
    except (ValueError, RecursionError) as exc:  # also if a number is too long, or the nesting too deep
        raise DatasetError(f"{json_uri}: broken JSON ({exc}); correct the file or download it again") from exc


def _fields_read(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object without its polygons, which make up most of an annotation file and would need much memory."""
    kept = [pair for pair in pairs if pair[0] in FIELDS_READ]
    record = dict(kept)
    if len(record) < len(kept):
        raise ValueError(f"an object has a key twice; its keys are {', '.join(key for key, _ in kept)}")
    return record


def _section(json_uri: str, data: Any, section: str) -> list[Any]:
    records = data.get(section) if isinstance(data, dict) else None
    if not isinstance(records, list):
        raise DatasetError(f"{json_uri}: no list named {section}; COCO's files have images, annotations and categories")
    return records


def _records(json_uri: str, data: Any, section: str) -> Iterator[Record]:
    for number, record in enumerate(_section(json_uri, data, section)):
        problem = _problem(record, section)
        if problem:
            raise DatasetError(f"{json_uri}: {section}[{number}] {problem}")
        yield record


def _problem(record: Any, section: str) -> str | None:
    """Return what is wrong with a record; None if it has all fields that clipes needs."""
    found = record if isinstance(record, dict) else {}
    missing = [field for field in REQUIRED_FIELDS[section] if not _is_value(found.get(field))]
    return f"has no {' and no '.join(missing)}, which must be text or a finite number" if missing else None


def _is_value(value: Any) -> bool:
    """Return whether a value can be an id or a name."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int | str) and not isinstance(value, bool)


def _categories(json_uri: str, data: Any) -> dict[Any, str]:
    names: dict[Any, str] = {}
    for record in _records(json_uri, data, "categories"):
        name = str(record["name"])
        if names.setdefault(record["id"], name) != name:
            raise DatasetError(
                f"{json_uri}: two categories have the id {record['id']!r}: {names[record['id']]} and {name}; "
                "give each category its own id, also in the annotations"
            )
    return names


def _check_image_ids(json_uri: str, in_annotations: Collection[Any], in_images: Collection[Any]) -> None:
    """Check that at least one annotation belongs to an image.

    Raises:
        DatasetError: there are images and annotations, but no annotation belongs to an image.
    """
    if in_annotations and in_images and set(in_annotations).isdisjoint(in_images):
        annotated = without_secrets(repr(next(iter(in_annotations))))
        raise DatasetError(
            f"{json_uri}: no annotation belongs to an image: the first image_id of an annotation is {annotated}, and "
            f"the first id of an image is {next(iter(in_images))!r}; correct the ids in one of the sections"
        )


def _as_tuples(groups: Mapping[Any, Mapping[str, None]]) -> dict[Any, tuple[str, ...]]:
    return {key: tuple(group) for key, group in groups.items()}


def _stated_size(record: Record) -> tuple[int, int] | None:
    width, height = (_side(record.get(side)) for side in SIZE_FIELDS)
    return (width, height) if width and height else None


def _side(side: Any) -> int | None:
    return side if isinstance(side, int) and not isinstance(side, bool) and 0 < side < LARGEST_SIDE else None
