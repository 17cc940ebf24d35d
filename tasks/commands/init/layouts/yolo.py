"""Label files of YOLO: one text file per photo, with a box, polygon or pose on each line."""

import posixpath
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from clipes.tasks.commands.init.class_lists import find_class_list
from clipes.tasks.commands.init.doubts import Doubts
from clipes.tasks.commands.init.known_names import known_names
from clipes.tasks.commands.init.layouts.layout import Found, LabelledPhoto, Layout
from clipes.tasks.commands.init.photo_folder import PhotoFolder, without_suffix
from clipes.tasks.storage.user_files import read_lines
from clipes_core.errors import DatasetError

LABELS, IMAGES = "labels", "images"
BROKEN = "label files with lines that cannot be read, whose photos are left out"


@dataclass(frozen=True)
class _LabelFile:
    """The content of a label file.

    Attributes:
        numbers: numbers of the classes, unique, in order of first appearance.
        problem: the first line that cannot be read, and why; empty if there is none.
        outside: True if a coordinate is not between 0 and 1.
    """

    numbers: tuple[int, ...]
    problem: str
    outside: bool


def recognise_yolo(folder: PhotoFolder) -> Found | None:
    """Return the photos that have a label file. Photos of all splits are used."""
    files = {photo: path for photo in folder.photos if (path := _label_file(photo, folder.other_set))}
    read = {photo: _read(str(folder.root / path)) for photo, path in files.items()}
    if not any(each.numbers for each in read.values()):
        return None
    doubts = Doubts()
    source, names = find_class_list(folder, doubts)
    if not names:
        doubts.add("no data.yaml or classes.txt names the classes: write their names into the vocabulary")
    usable = {photo: each for photo, each in read.items() if _usable(files[photo], each, names, doubts)}
    photos = tuple(LabelledPhoto(photo, _named(each.numbers, names)) for photo, each in usable.items())
    _doubt_unused(folder, files, doubts)
    classes = names.values() if names else _named(sorted({n for each in usable.values() for n in each.numbers}), names)
    named_by = f", classes named by {source}" if names else ""
    return Found("yolo", f"YOLO's labels{named_by}", photos, tuple(dict.fromkeys(classes)), doubts=doubts)


def _label_file(photo: str, others: Collection[str]) -> str | None:
    """Return the label file of a photo: beside it, or in a folder `labels` in place of, beside or below its folder."""
    folder, name = posixpath.split(without_suffix(photo))
    parts = folder.split("/") if folder else []
    swapped = ["/".join([*parts[:n], LABELS, *parts[n + 1 :]]) for n in range(len(parts)) if parts[n].lower() == IMAGES]
    folders = [*reversed(swapped), folder, posixpath.join(folder, LABELS), posixpath.join(LABELS, folder)]
    places = (posixpath.join(each, f"{name}.txt") for each in folders)
    return next(
        (path for path in places if path in others and posixpath.basename(path) not in known_names("class_lists")), None
    )


def _read(path: str) -> _LabelFile:
    try:
        lines = list(read_lines(path))
    except DatasetError as exc:
        return _LabelFile((), str(exc), False)
    numbers: dict[int, None] = {}
    outside = False
    for line_number, line in lines:
        values = _values(line)
        if values is None:
            return _LabelFile((), f"line {line_number}: expected a class number and four coordinates or more", False)
        numbers[int(values[0])] = None
        outside = outside or not all(0 <= value <= 1 for value in values[1:])
    return _LabelFile(tuple(numbers), "", outside)


def _values(line: str) -> list[float] | None:
    """Return the class number and the coordinates on a line; None if the line is something else."""
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        return None
    return values if len(values) > 4 and values[0].is_integer() and values[0] >= 0 else None


def _usable(path: str, file: _LabelFile, names: Mapping[int, str], doubts: Doubts) -> bool:
    """Add the doubts of a label file, and return whether its labels are complete."""
    if file.problem:
        doubts.add(BROKEN, f"{path}, {file.problem}")
    elif names and (unknown := [str(number) for number in file.numbers if number not in names]):
        doubts.add(
            "label files with numbers of classes that have no name, whose photos are left out",
            f"{path}: {', '.join(unknown)}",
        )
        return False
    elif file.outside:
        doubts.add("label files with coordinates outside 0 to 1 (only the classes are used)", path)
    return not file.problem


def _named(numbers: Iterable[int], names: Mapping[int, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names.get(number, f"class {number}") for number in numbers))


def _doubt_unused(folder: PhotoFolder, files: Mapping[str, str], doubts: Doubts) -> None:
    unlabelled = [photo for photo in folder.photos if photo not in files]
    if unlabelled:
        doubts.add(
            "photos without a label file, which are left out (an empty label file means no objects)", *unlabelled
        )
    in_label_folders = {posixpath.dirname(path) for path in files.values()}
    used = set(files.values())
    unused = [
        path
        for path in folder.others_with(".txt")
        if path not in used
        and posixpath.dirname(path) in in_label_folders
        and LABELS in path.split("/")[:-1]
        and posixpath.basename(path) not in known_names("class_lists")
    ]
    if unused:
        doubts.add("label files without a photo, which are not used", *unused)


LAYOUT = Layout("yolo", "photos and YOLO's label files (.txt)", recognise_yolo)
