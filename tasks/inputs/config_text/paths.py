"""The settings of a config that are paths or URIs: which they are, and where a relative path leads."""

import posixpath
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from clipes.tasks.inputs.datasets.formats import find_format
from clipes.tasks.inputs.locations import checked_location
from clipes.tasks.storage.user_files import exists, is_absolute, join
from clipes_core.config.dataset import DatasetConfig
from clipes_core.config.run import RunConfig
from clipes_core.config.uri import is_uri
from clipes_core.errors import ConfigError

LIST_SUFFIXES = (".txt", ".csv", ".parquet", ".json")
VOCABULARY_SUFFIXES = (".yaml", ".yml")
WEIGHTS_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")


@dataclass(frozen=True)
class PathSetting:
    """A setting whose value is a path or URI, or may be one.

    Attributes:
        key: dotted key, such as dataset.root.
        value: value of the setting; a tuple has several paths.
        is_path: false if the value is a name, such as the name of a split; None if it is a path only if this file
            exists, such as the value of clip.pretrained.
        must_exist: true if a run with this config reads the file or folder.
    """

    key: str
    value: str | tuple[str, ...]
    is_path: bool | None = True
    must_exist: bool = True

    def changed(self, change: Callable[[str], str]) -> str | tuple[str, ...]:
        """Return the value after a change of each of its paths."""
        return change(self.value) if isinstance(self.value, str) else tuple(map(change, self.value))


def path_settings(config: RunConfig) -> list[PathSetting]:
    """Return the settings of a config that are paths or may be paths, without the store and those that are null."""
    dataset, evaluation, train = config.dataset, config.evaluation, config.train
    reads_root = find_format(dataset.format).folder_in_store is None
    own_classes = isinstance(dataset.classes, str) and _is_path(dataset.classes, VOCABULARY_SUFFIXES)
    classes = dataset.classes if isinstance(dataset.classes, str) else None
    found: list[tuple[str, str | tuple[str, ...] | None, bool | None, bool]] = [
        ("dataset.root", dataset.root, True, reads_root),
        ("dataset.truth", dataset.truth, True, True),
        ("dataset.reach", dataset.reach, True, False),
        ("dataset.split", dataset.split, _is_list(dataset, dataset.split), True),
        ("dataset.classes", classes, own_classes, True),
        ("evaluation.root", evaluation.root, True, train.enabled and reads_root),
        ("evaluation.truth", evaluation.truth, True, train.enabled),
        ("evaluation.split", evaluation.split, _is_list(dataset, evaluation.split or ""), train.enabled),
        ("train.mmseg_config", train.mmseg_config, train.mmseg_config.endswith(".py"), train.enabled),
        ("train.init", train.init, None, train.enabled),
        ("clip.pretrained", config.clip.pretrained, None, True),
    ]
    return [PathSetting(key, value, is_path, needed) for key, value, is_path, needed in found if value is not None]


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """Return a config whose relative paths are absolute; names, URIs and the store stay as they are.

    Raises:
        ConfigError: a path or URI is mistyped.
    """
    values = {setting.key: setting.changed(partial(_absolute_or_name, setting)) for setting in path_settings(config)}
    return _with_values(config, values)


def absolute_file_or_name(text: str, key: str) -> str:
    """Return the absolute path of a file if there is one at `text`; return any other text, such as a name, unchanged.

    Args:
        text: value of the setting.
        key: dotted key of the setting, for the error message.

    Raises:
        ConfigError: the path or URI is mistyped.
    """
    return _absolute_or_name(PathSetting(key, text, is_path=None), text)


def absolute_location(text: str, key: str) -> str:
    """Return the absolute path of a path that need not exist, and a URI unchanged; see `absolute_file_or_name`."""
    checked = checked_location(text, key)
    return checked if is_uri(checked) else str(Path(checked).absolute())


def with_paths_next_to(
    config: RunConfig, folder: str, runs_here: bool, keys: Collection[str] | None = None
) -> RunConfig:
    """Return a config in which each relative path that exists only in a folder is the absolute path of this place.

    Args:
        config: the config; left unchanged.
        folder: the folder.
        runs_here: false if the run may start on another machine, so that a path that exists nowhere is no error.
        keys: dotted keys of the settings that are looked up; by default, all.

    Raises:
        ConfigError: a path that must exist exists neither in the working directory nor in the folder. If both are the
            same folder, this is no error, because the reader of the path describes it better.
    """
    faults: list[str] = []
    here = Path.cwd()
    if not is_uri(folder) and here == Path(folder):
        return config

    def find(setting: PathSetting, text: str) -> str:
        path = checked_location(text, setting.key)
        if is_absolute(path) or exists(str(here / path)):
            return text
        if exists(other := _joined(folder, path)):
            return other
        is_path = setting.is_path or _is_path(path, WEIGHTS_SUFFIXES)
        if is_path and setting.must_exist and runs_here:
            faults.append(
                f"{setting.key}: {text} exists neither in the working directory, {here}, nor next to the config, in "
                f"{folder}; correct the path"
            )
        return text

    settings = [
        setting
        for setting in path_settings(config)
        if setting.is_path is not False and (keys is None or setting.key in keys)
    ]
    found = {setting.key: setting.changed(partial(find, setting)) for setting in settings}
    if faults:
        raise ConfigError("\n".join(faults))
    return _with_values(
        config, {setting.key: found[setting.key] for setting in settings if found[setting.key] != setting.value}
    )


def _absolute_or_name(setting: PathSetting, text: str) -> str:
    checked = checked_location(text, setting.key)
    is_path = Path(checked).is_file() if setting.is_path is None else setting.is_path
    return absolute_location(checked, setting.key) if is_path else checked


def _joined(folder: str, path: str) -> str:
    """Return the normalised path or URI of a file below a folder, or next to it if the path has `..`."""
    protocol, mark, rest = folder.rpartition("://")
    return f"{protocol}{mark}{posixpath.normpath(join(rest, path))}"


def _with_values(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """Return a config with other values.

    Args:
        config: the config; left unchanged.
        values: dotted key of two parts -> value.
    """
    sections: dict[str, dict[str, Any]] = defaultdict(dict)
    for key, value in values.items():
        section, _, name = key.partition(".")
        sections[section][name] = value
    return config.model_copy(
        update={name: getattr(config, name).model_copy(update=own) for name, own in sections.items()}
    )


def _is_list(dataset: DatasetConfig, split: str) -> bool:
    """Return whether `split` is the path of a list file, and not the name of a split."""
    return find_format(dataset.format).split_is_a_path or _is_path(split, LIST_SUFFIXES)


def _is_path(text: str, suffixes: tuple[str, ...]) -> bool:
    return "/" in text or posixpath.splitext(text)[1].lower() in suffixes
