"""A table of photos and labels in any dialect of CSV."""

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clipes.tasks.commands.init.class_lists import find_class_list
from clipes.tasks.commands.init.doubts import Doubts
from clipes.tasks.commands.init.layouts.layout import Found, LabelledPhoto, Layout
from clipes.tasks.commands.init.matching import match_photos
from clipes.tasks.commands.init.photo_folder import PHOTO_SUFFIXES, PhotoFolder
from clipes.tasks.commands.init.tables.columns import Columns, find_columns
from clipes.tasks.commands.init.tables.dialect import Table, describe_dialect, read_table
from clipes.tasks.commands.init.tables.row_labels import RowLabels, read_rows
from clipes.tasks.storage.user_files import read_bytes
from clipes_core.errors import DatasetError

TABLES, TEXTS = (".csv", ".tsv", ".tab"), (".txt", ".lst")
WORKBOOKS = (".xlsx", ".xls", ".ods")
SPLIT_FOLDER = "ImageSets"  # its files list ids of VOC, not labels


def recognise_list(folder: PhotoFolder) -> Found | None:
    """Return the photos of the table that names most photos of the folder."""
    doubts = Doubts()
    found: dict[str, Found] = {}
    for path in (*folder.others_with(*TABLES), *folder.others_with(*TEXTS)):
        if SPLIT_FOLDER in path.split("/"):
            continue
        try:
            read = _read(folder, path)
        except DatasetError as exc:
            doubts.add("tables that cannot be read, which are not used", f"{path} ({exc})")
            continue
        if read is not None and read.photos:
            found[path] = read
        elif path.endswith(TABLES):
            doubts.add("tables that name no photos with labels, which are not used", path)
    if not found:
        return None
    chosen = max(found, key=lambda path: len(found[path].photos))
    best = found.pop(chosen)
    if found:
        best.doubts.add("other lists of photos, which are not used (a run reads one list)", *found)
    for doubt in doubts.found():
        best.doubts.add(doubt.text, *doubt.examples)
    if workbooks := folder.others_with(*WORKBOOKS):
        best.doubts.add("workbooks, which are not used (to use one, save it as CSV)", *workbooks)
    return best


def _read(folder: PhotoFolder, path: str) -> Found | None:
    names_photo = _NamesPhoto(folder, posixpath.dirname(path), needs_suffix=path.endswith(TEXTS))
    delimiters = "\t;,| " if path.endswith(TEXTS) else ";\t,|"
    table = read_table(read_bytes(str(folder.root / path)), names_photo, delimiters)
    columns = None if table is None else find_columns(table, names_photo)
    if table is None or columns is None:
        return None
    doubts = Doubts()
    rows, writing = read_rows(table, columns, path, doubts)
    places: dict[str, str] = {}
    for row in rows:
        places.setdefault(row.photo, f"line {row.line}")
    matches = match_photos(folder, places, posixpath.dirname(path), path, doubts)
    merged = _merge(folder, [row for row in rows if row.photo in matches], matches, path, doubts)
    _doubt_table(table, columns, path, doubts)
    photos, named_by = _with_names(folder, merged, doubts)
    classes = tuple(columns.names[index] for index in columns.labels) if columns.flags else ()
    description = f"{path}: {describe_dialect(table)}; photos in {columns.title(columns.photo)}, {writing}{named_by}"
    return Found("list", description, tuple(photos), classes, _settings(path), doubts=doubts)


@dataclass(frozen=True)
class _NamesPhoto:
    """Tells whether a cell names a photo: it has the suffix of a photo, or is the name of a photo without its suffix.

    Attributes:
        folder: folder of the photos.
        base: folder of the table, relative to the folder of the photos.
        needs_suffix: True if a name must have a suffix.
    """

    folder: PhotoFolder
    base: str
    needs_suffix: bool

    def __call__(self, cell: str) -> bool:
        """Return whether a cell names a photo."""
        if self.folder.find_exactly(cell, self.base):
            return True
        if posixpath.splitext(cell)[1].lower() in PHOTO_SUFFIXES:
            return not any(delimiter in cell for delimiter in ";,|\t")
        return not self.needs_suffix and bool(cell.strip()) and bool(self.folder.find_similar(cell))


def _merge(
    folder: PhotoFolder, rows: Sequence[RowLabels], matches: Mapping[str, str], source: str, doubts: Doubts
) -> list[LabelledPhoto]:
    """Return the photos of the rows, each with the labels of all its rows.

    A photo with different labels on several lines is left out if a line of the table has several labels: then, each
    line should have all labels of its photo.
    """
    groups: dict[str, list[RowLabels]] = {}
    for row in rows:
        groups.setdefault(matches[row.photo], []).append(row)
    one_label = all(row.labels is None or len(row.labels) <= 1 for row in rows)
    photos: list[LabelledPhoto] = []
    for photo, group in groups.items():
        labels = [row.labels for row in group if row.labels is not None]
        different = len({frozenset(found) for found in labels}) > 1
        case = f"{photo} in lines {', '.join(str(row.line) for row in group[:3])}"
        if len(labels) < len(group):
            continue  # a doubt about its line says why
        if different and (not one_label or () in labels):
            doubts.add(f"{source} gives photos different labels on several lines, which are left out", case)
            continue
        if len(group) > 1:
            what = "label of a photo" if different else "photo"
            doubts.add(f"{source} names the same photo on several lines (one line per {what})", case)
        photos.append(
            LabelledPhoto(photo, tuple(dict.fromkeys(sum(labels, ()))), _truth(folder, group, source, doubts))
        )
    return photos


def _truth(folder: PhotoFolder, rows: Sequence[RowLabels], source: str, doubts: Doubts) -> str:
    """Return the true mask that one of the rows names; an empty text if there is none."""
    stated = next((row for row in rows if row.truth), None)
    if stated is None:
        return ""
    path = stated.truth.replace("\\", "/")
    places = map(posixpath.normpath, (posixpath.join(posixpath.dirname(source), path), path))
    found = next((place for place in places if place in {*folder.masks, *folder.photos}), "")
    if not found:
        doubts.add(f"{source} names true masks that do not exist", f"{stated.truth} in line {stated.line}")
    return found


def _doubt_table(table: Table, columns: Columns, source: str, doubts: Doubts) -> None:
    if table.unclosed_quote:
        doubts.add(f"{source}: a quote is not closed, so quotes were read as ordinary characters")
    if table.encoding.startswith("Windows"):
        doubts.add(f"{source} is not UTF-8 and was read as {table.encoding}: check letters such as ä and é")
    if columns.guessed:
        doubts.add(
            f"{source}: no column is called labels, so the labels are those in {columns.title(columns.labels[0])}"
        )
    if columns.unused:
        doubts.add(f"{source} has columns that are not used", *columns.unused)


def _with_names(
    folder: PhotoFolder, photos: Sequence[LabelledPhoto], doubts: Doubts
) -> tuple[list[LabelledPhoto], str]:
    """Return photos with the names of their classes in place of numbers, and the end of a line that says so."""
    labels = {label for photo in photos for label in photo.labels}
    if not labels or not all(label.isdecimal() for label in labels):
        return list(photos), ""
    source, names = find_class_list(folder, doubts)
    first = 0 if "0" in labels else 1
    known = {str(number + first): name for number, name in names.items()}
    if not labels <= known.keys():
        doubts.add("the labels are numbers: write what each number means as `words` into the vocabulary")
        return list(photos), ""
    if first:
        doubts.add(f"the labels are numbers from 1, so the first name in {source} was taken as that of number 1")
    named = [LabelledPhoto(each.path, tuple(known[label] for label in each.labels), each.truth) for each in photos]
    return named, f", named by {source}"


def _settings(path: str) -> dict[str, str]:
    """Return settings with which clipes may read the table as it is, which is tried before they are written."""
    return {"format": "list", "root": posixpath.dirname(path), "split": path} if path.endswith(".csv") else {}


LAYOUT = Layout("list", "photos and a table of labels (.csv, .tsv, .txt)", recognise_list)
