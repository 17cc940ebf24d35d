"""Find the names of classes that label files give by number."""

import posixpath
from collections.abc import Mapping
from typing import Any

import yaml

from clipes.tasks.commands.init.known_names import known_names
from clipes.tasks.commands.init.photo_folder import PhotoFolder
from clipes.tasks.inputs.config_text.yaml_text import check_yaml
from clipes.tasks.storage.user_files import read_lines, read_text
from clipes_core.errors import DatasetError


def find_class_list(folder: PhotoFolder) -> tuple[str, dict[int, str]]:
    """Return the path of the file that names the classes, and number -> name; an empty path if there is no such file.

    The file is a YAML file with the key `names`, such as YOLO's data.yaml, or a text file with one name per line, such
    as classes.txt. In a text file, the first class has the number 0.
    """
    for path in folder.others_with(".yaml", ".yml"):
        names = _names_in_yaml(str(folder.root / path))
        if names:
            return path, names
    for path in folder.others_with(".txt", ".names"):
        if posixpath.basename(path).lower() in known_names("class_lists"):
            lines = read_lines(str(folder.root / path))
            return path, {number: line.strip() for number, (_, line) in enumerate(lines)}
    return "", {}


def _names_in_yaml(path: str) -> dict[int, str]:
    try:
        text = read_text(path)
        check_yaml(text)
        values = yaml.safe_load(text)
    except (yaml.YAMLError, DatasetError, ValueError):  # the file is no data.yaml, or the user's labels stay numbers
        return {}
    return _numbered(values.get("names")) if isinstance(values, Mapping) else {}


def _numbered(names: Any) -> dict[int, str]:
    if isinstance(names, list):
        return {number: str(name) for number, name in enumerate(names)}
    if isinstance(names, Mapping) and all(isinstance(number, int) for number in names):
        return {number: str(name) for number, name in sorted(names.items())}
    return {}
