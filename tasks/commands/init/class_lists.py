"""Find the names of classes that label files give by number."""

import posixpath
from collections.abc import Mapping
from typing import Any

import yaml

from clipes.tasks.commands.init.doubts import Doubts
from clipes.tasks.commands.init.known_names import known_names
from clipes.tasks.commands.init.photo_folder import PhotoFolder
from clipes.tasks.inputs.config_text.yaml_text import check_yaml
from clipes.tasks.storage.user_files import read_lines, read_text
from clipes_core.errors import DatasetError

UNREADABLE = "files that may name the classes, but cannot be read, and are not used"


def find_class_list(folder: PhotoFolder, doubts: Doubts) -> tuple[str, dict[int, str]]:
    """Return the path of the file that names the classes, and number -> name; an empty path if there is no such file.

    The file is a YAML file with the key `names`, such as YOLO's data.yaml, or a text file with one name per line, such
    as classes.txt. In a text file, the class on the first line has the number 0, and blank lines count.

    Args:
        folder: folder of the photos.
        doubts: gets the files that cannot be read, and blank lines between names.
    """
    lists = known_names("class_lists")
    texts = [path for path in folder.others_with(".txt", ".names") if posixpath.basename(path).lower() in lists]
    readers = dict.fromkeys(folder.others_with(".yaml", ".yml"), _names_in_yaml) | dict.fromkeys(texts, _names)
    for path, read in readers.items():
        try:
            names = read(str(folder.root / path))
        except (yaml.YAMLError, DatasetError, ValueError) as exc:
            doubts.add(UNREADABLE, f"{path} ({' '.join(str(exc).split())})")
            continue
        if names:
            if path in texts and len(names) <= max(names):
                doubts.add(f"{path} has blank lines between names, which were counted as numbers without a class")
            return path, names
    return "", {}


def _names(path: str) -> dict[int, str]:
    return {line_number - 1: line.strip() for line_number, line in read_lines(path)}


def _names_in_yaml(path: str) -> dict[int, str]:
    text = read_text(path)
    check_yaml(text)
    values = yaml.safe_load(text)
    return _numbered(values.get("names")) if isinstance(values, Mapping) else {}


def _numbered(names: Any) -> dict[int, str]:
    if isinstance(names, list):
        return {number: str(name) for number, name in enumerate(names)}
    if isinstance(names, Mapping) and all(isinstance(number, int) for number in names):
        return {number: str(name) for number, name in sorted(names.items())}
    return {}
