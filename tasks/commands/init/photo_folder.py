"""The files of a folder: its photos, its true masks and its other files. No file is opened."""

import os
import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from clipes.tasks.commands.init.known_names import known_names
from clipes.tasks.inputs.datasets.entries import unwritable
from clipes_core.errors import UsageError

# Photos that Pillow decodes, and photos that it does not decode. Both lists are of file names, not of contents.
PHOTO_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".avif"),
    *(".jp2", ".j2k", ".ppm", ".pgm", ".pnm", ".tga"),
)
REFUSED_SUFFIXES = (
    *(".heic", ".heif", ".jxl", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".dng", ".raf", ".orf", ".rw2", ".pef"),
    *(".svg", ".pdf", ".eps", ".psd", ".dcm", ".mp4", ".mov", ".avi", ".mkv", ".webm"),
    *(".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"),
)
NOT_UTF_8 = "files whose paths are not UTF-8, which are left out (rename them)"
BROKEN_LINKS = "links to files that do not exist, which are left out"
SKIPPED_FOLDERS = ("__MACOSX", "clipes-store")


@dataclass(frozen=True)
class PhotoFolder:
    """The files below a folder. All paths are relative to it and have slashes.

    Attributes:
        root: the folder, absolute.
        photos: paths of the photos, sorted.
        masks: paths of the PNG files in folders of masks, sorted.
        others: paths of all other files, sorted.
        unreadable: folders that cannot be listed.
        left_out: why files are left out -> the paths of these files, sorted.
    """

    root: Path
    photos: tuple[str, ...]
    masks: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def others_with(self, *suffixes: str) -> tuple[str, ...]:
        """Return the paths of the other files with one of some suffixes, such as ".csv"."""
        return tuple(path for path in self.others if path.lower().endswith(suffixes))

    @property
    def refused(self) -> tuple[str, ...]:
        """The files that are photos, videos or archives which clipes cannot read."""
        return tuple(path for path in self.others if PurePosixPath(path).suffix.lower() in REFUSED_SUFFIXES)

    @cached_property
    def photo_set(self) -> frozenset[str]:
        """The paths of the photos."""
        return frozenset(self.photos)

    @cached_property
    def other_set(self) -> frozenset[str]:
        """The paths of the other files."""
        return frozenset(self.others)

    def find_exactly(self, text: str, base: str = "") -> str | None:
        """Return the photo at a path that is absolute, or relative to a folder or to the root; None if it is missing.

        Args:
            text: path, as a label file spells it, with slashes or backslashes.
            base: folder of the label file, relative to the root.
        """
        path = text.strip().replace("\\", "/")
        top = self.root.as_posix()
        places = (posixpath.normpath(posixpath.join(top, folder, path)) for folder in (base, ""))
        inside = (place.removeprefix(f"{top}/") for place in places)
        return next((each for each in inside if each in self.photo_set), None)

    def with_labels(self, path: Path) -> "PhotoFolder":
        """Return the same photos with the labels of one file, which may lie in another folder."""
        names = known_names("class_lists")
        lists = [each for each in self.others if posixpath.basename(each) in names or each.endswith((".yaml", ".yml"))]
        return replace(self, others=(Path(os.path.relpath(path, self.root)).as_posix(), *lists))

    def find_similar(self, text: str) -> tuple[str, ...]:
        """Return the photos that a path may mean if there is no photo at this path.

        These are the photos with the same name apart from letter case and Unicode form, in any folder. If no photo has
        this name, they are the photos with this name apart from the suffix. Photos whose folders fit better come first,
        and the others are left out.
        """
        path = folded(text.strip().replace("\\", "/"))
        name = PurePosixPath(path).name
        found = self._by_name.get(name) or self._by_stem.get(name) or self._by_stem.get(PurePosixPath(name).stem, ())
        fits = {photo: _common_end(PurePosixPath(folded(photo)).parts, PurePosixPath(path).parts) for photo in found}
        return tuple(photo for photo in found if fits[photo] == max(fits.values()))

    @cached_property
    def _by_name(self) -> Mapping[str, Sequence[str]]:
        return _grouped(self.photos, lambda path: path.name)

    @cached_property
    def _by_stem(self) -> Mapping[str, Sequence[str]]:
        return _grouped(self.photos, lambda path: path.stem)


def read_folder(folder: Path, ignored: Collection[Path] = ()) -> PhotoFolder:
    """List the files below a folder. Hidden files and folders, and stores of clipes, are left out.

    Args:
        folder: the folder; links to other folders are followed.
        ignored: absolute paths of files to leave out.

    Raises:
        UsageError: there is no such folder, or it cannot be listed.
    """
    root = Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would replace links in the paths that clipes writes
    if not root.is_dir():
        raise UsageError(f"FOLDER: no folder {root}; give the folder of your photos")
    unreadable: list[str] = []
    listed = sorted(path.relative_to(root).as_posix() for path in _files(root, unreadable) if path not in ignored)
    if str(root) in unreadable:
        raise UsageError(f"FOLDER: {root} cannot be listed; permit reading it")
    left_out = {NOT_UTF_8: tuple(filter(unwritable, listed))}
    files = [path for path in listed if not unwritable(path)]
    images = [path for path in files if PurePosixPath(path).suffix.lower() in PHOTO_SUFFIXES]
    folders = {str(PurePosixPath(path).parent) for path in images if _in_mask_folder(path)}
    folders -= {str(PurePosixPath(path).parent) for path in images if not path.lower().endswith(".png")}
    masks = {path for path in images if str(PurePosixPath(path).parent) in folders}
    photos = tuple(path for path in images if path not in masks)
    others = [path for path in files if PurePosixPath(path).suffix.lower() not in PHOTO_SUFFIXES]
    left_out[BROKEN_LINKS] = tuple(path for path in others if not (root / path).exists())
    found = tuple(path for path in others if path not in left_out[BROKEN_LINKS])
    return PhotoFolder(root, photos, tuple(sorted(masks)), found, tuple(unreadable), left_out)


def folded(text: str) -> str:
    """Return a text in the form in which names are compared: without letter case, and in one Unicode form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def without_suffix(path: str) -> str:
    """Return a path without the suffix of its last part."""
    return str(PurePosixPath(path).with_suffix(""))


def _files(root: Path, unreadable: list[str]) -> Iterator[Path]:
    seen: set[str] = set()
    for folder, subfolders, names in os.walk(
        root, onerror=lambda exc: unreadable.append(exc.filename), followlinks=True
    ):
        place = os.path.realpath(folder)
        if place in seen:  # a link to a folder that contains it
            subfolders.clear()
            continue
        seen.add(place)
        subfolders[:] = sorted(each for each in subfolders if not each.startswith(".") and each not in SKIPPED_FOLDERS)
        yield from (Path(folder, name) for name in names if not name.startswith("."))


def _in_mask_folder(path: str) -> bool:
    return any(part.casefold() in known_names("mask_folders") for part in PurePosixPath(path).parts[:-1])


def _grouped(photos: Sequence[str], key: Callable[[PurePosixPath], str]) -> Mapping[str, Sequence[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for photo in photos:
        groups[key(PurePosixPath(folded(photo)))].append(photo)
    return groups


def _common_end(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many folders directly above the names are the same."""
    pairs = zip(reversed(one[:-1]), reversed(other[:-1]), strict=False)
    return next((number for number, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)) - 1)
