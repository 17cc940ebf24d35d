"""One folder of photos per class."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from clipes.tasks.commands.init.doubts import Doubts
from clipes.tasks.commands.init.known_names import known_names
from clipes.tasks.commands.init.layouts.layout import Found, LabelledPhoto, Layout
from clipes.tasks.commands.init.photo_folder import PhotoFolder

DATE_OR_CAMERA = re.compile(r"[\d\W_]+|dcim|\d{3}[a-z_]+\d*", re.IGNORECASE)


def recognise_class_folders(folder: PhotoFolder) -> Found | None:
    """Return the photos with the names of their folders as labels, if at least two folders have photos.

    Folders such as `train` and `images` are no classes. If all folders are named like dates or by a camera, they are no
    classes either.
    """
    classes = dict(zip(folder.photos, _class_names(folder.photos), strict=True))
    names = sorted({name for name in classes.values() if name})
    if len(names) < 2 or all(map(DATE_OR_CAMERA.fullmatch, names)):
        return None
    doubts = Doubts()
    outside = [photo for photo, name in classes.items() if not name]
    if outside:
        doubts.add("photos outside the folders of the classes, which are left out", *outside)
    empty = [name for name in names if name.casefold() in known_names("no_objects")]
    if empty:
        doubts.add("folders whose photos show no object of a class, because of their names", *empty)
    named = tuple(name for name in names if name not in empty)
    photos = tuple(LabelledPhoto(photo, (name,) if name in named else ()) for photo, name in classes.items() if name)
    return Found("folders", f"one folder per class ({len(named)} classes)", photos, named, doubts=doubts)


def _class_names(photos: Sequence[str]) -> list[str]:
    """Return the class of each photo; an empty text for photos outside the folders of the classes."""
    folders = [_without_wrappers(PurePosixPath(photo).parts[:-1]) for photo in photos]
    while (first := {parts[:1] for parts in folders}) and len(first) == 1 and all(len(parts) > 1 for parts in folders):
        folders = [_without_wrappers(parts[1:]) for parts in folders]
    return [parts[0] if parts else "" for parts in folders]


def _without_wrappers(parts: Sequence[str]) -> Sequence[str]:
    """Return the folders of a photo without those at the start that name no class."""
    first = next(
        (number for number, part in enumerate(parts) if part.casefold() not in known_names("dividing_folders")),
        len(parts),
    )
    return parts[first:]


LAYOUT = Layout("folders", "one folder per class", recognise_class_folders)
