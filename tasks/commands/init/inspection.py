"""Inspect a folder of photos: its layout, its classes, and everything that is uncertain."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from clipes.tasks.commands.init.class_names import FoundClass, find_classes
from clipes.tasks.commands.init.doubts import Doubts
from clipes.tasks.commands.init.layouts import recognise
from clipes.tasks.commands.init.layouts.layout import Found, LabelledPhoto
from clipes.tasks.commands.init.photo_folder import PhotoFolder, read_folder
from clipes.tasks.commands.init.word_proposals import read_proposals
from clipes_core.errors import UsageError

LAYOUTS_OF_FILES = ("coco", "list")  # one file has all labels
LABEL_SUFFIXES = (".csv", ".tsv", ".json")
MOST_COMPARED = 10_000  # photos whose contents are compared; with more, this would take minutes


@dataclass(frozen=True)
class Inspection:
    """What clipes found in a folder.

    Attributes:
        folder: the folder.
        found: the photos with their labels, and all doubts.
        classes: the classes in the order of their ids.
    """

    folder: PhotoFolder
    found: Found
    classes: tuple[FoundClass, ...]


def inspect_folder(
    folder: Path, layout: str | None = None, labels: Path | None = None, ignored: Collection[Path] = ()
) -> Inspection:
    """Inspect a folder of photos. No photo is decoded.

    Args:
        folder: the folder.
        layout: name of the layout; None to recognise it.
        labels: the only file with labels to use, which may lie in another folder; None to search the folder for labels.
        ignored: absolute paths of files to leave out.

    Raises:
        ConfigError: no layout has this name.
        DatasetError: there are too many classes.
        UsageError: there is no such folder, it has no photos, or it does not have this layout.
    """
    content = read_folder(folder, ignored)
    if not content.photos:
        hints = [
            *([f"{len(content.refused)} files must be converted first"] if content.refused else []),
            *(f"{reason}: {len(paths)}" for reason, paths in content.left_out.items() if paths),
        ]
        shown = f" ({'; '.join(hints)})" if hints else ""
        raise UsageError(f"FOLDER: no photos in {content.root}{shown}; give the folder of your photos")
    if labels is not None:
        content = content.with_labels(labels)
    fitting = list(recognise(content, layout))
    if layout is None and labels is None and len(fitting) == 1:  # photos without labels
        fitting = [*_labelled_beside(content, ignored), *fitting]
    if labels is not None and not any(map(_uses_a_file, fitting)):
        raise UsageError(f"--labels: {labels} is no table or COCO file that names photos in {content.root}")
    if not fitting:
        raise UsageError(f"--layout: {content.root} does not have the layout {layout}; leave out the option")
    found, *rest = fitting
    doubts = found.doubts
    if other_layouts := [each.layout for each in rest if each.layout != "plain"]:
        doubts.add(
            f"the folder was read as --layout {found.layout}, but also has the labels of --layout", *other_layouts
        )
    photos = tuple(_usable(content, found.photos, doubts))
    _doubt_files(content, found, doubts)
    _doubt_copies(content, photos, doubts)
    if found.layout != "plain" and (empty := [photo.path for photo in photos if not photo.labels]):
        doubts.add("photos without labels, whose masks will be all background", *empty)
    found = replace(found, photos=photos)
    return Inspection(content, found, find_classes(photos, found.classes, read_proposals(), doubts))


def _labelled_beside(folder: PhotoFolder, ignored: Collection[Path]) -> list[Found]:
    """Return what the file beside the folder finds that labels most photos of the folder, if there is such a file."""
    files = [path for path in sorted(folder.root.parent.iterdir()) if path.suffix.lower() in LABEL_SUFFIXES]
    read = [
        (path, found)
        for path in files
        if path not in ignored
        for name in LAYOUTS_OF_FILES
        for found in recognise(folder.with_labels(path), name)
    ]
    if not read:
        return []
    path, best = max(read, key=lambda each: len(each[1].photos))
    best.doubts.add("the folder has no labels, so the labels are those of a file beside it", path.name)
    return [best]


def _uses_a_file(found: Found) -> bool:
    return found.layout in LAYOUTS_OF_FILES


def _usable(folder: PhotoFolder, photos: Iterable[LabelledPhoto], doubts: Doubts) -> Iterator[LabelledPhoto]:
    for photo in photos:
        size = _size(folder.root / photo.path)
        if size:
            yield photo
        else:
            what = "empty files (0 bytes)" if size == 0 else "broken links and photos without permission to read them"
            doubts.add(f"{what}, which are left out", photo.path)


def _size(path: Path) -> int | None:
    """Return the size of a file [bytes]; None if it cannot be read."""
    try:
        return path.stat().st_size if os.access(path, os.R_OK) else None
    except OSError:
        return None


def _doubt_files(folder: PhotoFolder, found: Found, doubts: Doubts) -> None:
    if folder.refused:
        doubts.add("photos, videos and archives that clipes cannot read (convert or unpack them)", *folder.refused)
    if folder.unreadable:
        doubts.add("folders that cannot be listed", *folder.unreadable)
    for reason, paths in folder.left_out.items():
        if paths:
            doubts.add(reason, *paths)
    used = {photo.truth for photo in found.photos}
    unused = [path for path in folder.masks if path not in used]
    if unused and found.settings.get("format") != "voc":
        doubts.add("PNG files in folders of masks, which are not used (to score masks, see docs/own-data.md)", *unused)


def _doubt_copies(folder: PhotoFolder, photos: Sequence[LabelledPhoto], doubts: Doubts) -> None:
    """Add doubts about photos whose files have the same content."""
    if len(photos) > MOST_COMPARED:
        doubts.add(f"copies of photos were not searched, because there are more than {MOST_COMPARED:,} photos")
        return
    by_size: dict[int | None, list[LabelledPhoto]] = defaultdict(list)
    for photo in photos:
        by_size[_size(folder.root / photo.path)].append(photo)
    by_content: dict[str, list[LabelledPhoto]] = defaultdict(list)
    for photo in (photo for group in by_size.values() if len(group) > 1 for photo in group):
        by_content[hashlib.sha256((folder.root / photo.path).read_bytes()).hexdigest()].append(photo)
    for group in by_content.values():
        if len(group) > 1:
            different = len({frozenset(photo.labels) for photo in group}) > 1
            what = "copies of a photo with different labels" if different else "copies of a photo"
            doubts.add(what, " = ".join(photo.path for photo in group))


def count_suffixes(photos: Iterable[LabelledPhoto]) -> dict[str, int]:
    """Return the number of photos with each suffix, in lower case, the most frequent first."""
    counts: dict[str, int] = defaultdict(int)
    for photo in photos:
        counts[PurePosixPath(photo.path).suffix.lower().lstrip(".")] += 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
