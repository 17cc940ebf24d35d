"""Read configs from YAML files and the command line, check them, and resolve their paths."""

import posixpath
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial, reduce
from io import StringIO
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import GrammarParseError, OmegaConfBaseException
from yaml import YAMLError

from clipes.tasks.inputs.config_text.interpolations import interpolation_error, resolve_interpolations
from clipes.tasks.inputs.config_text.missing_file import explain_missing
from clipes.tasks.inputs.config_text.overrides import parse_override
from clipes.tasks.inputs.config_text.shipped_settings import with_model_settings
from clipes.tasks.inputs.config_text.yaml_text import check_yaml
from clipes.tasks.inputs.datasets.entries import dataset_root
from clipes.tasks.inputs.datasets.formats import find_format
from clipes.tasks.inputs.locations import checked_location
from clipes.tasks.storage.user_files import absolute, exists, is_absolute, join, parent, read_text
from clipes_core.config.dataset import DatasetConfig
from clipes_core.config.run import RunConfig, parse_config
from clipes_core.config.uri import is_uri
from clipes_core.errors import ConfigError, DatasetError

LIST_SUFFIXES = (".txt", ".csv", ".parquet", ".json")
VOCABULARY_SUFFIXES = (".yaml", ".yml")
WITHOUT_DATA_SET = ("dataset.classes", "clip.pretrained")  # files that are read even if no data set is
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


def load_config(path: str, overrides: Sequence[str] = (), given: Mapping[str, Any] | None = None) -> RunConfig:
    """Read and check a config with `read_config`, and complete it with `resolve_config`."""
    return resolve_config(read_config(path, overrides, given))


def read_config(
    path: str, overrides: Sequence[str] = (), given: Mapping[str, Any] | None = None, runs_here: bool = True
) -> RunConfig:
    """Read a config from a YAML file, apply `overrides` and then `given` to it, and check the result.

    A relative path stays as it is if it exists in the working directory. Otherwise, if it exists in the folder of the
    YAML file, it becomes absolute.

    Args:
        path: path or fsspec URI of the YAML file.
        overrides: strings `key=value`, as `parse_override` reads them. If a key occurs twice, the last value wins.
        given: nested dict of plain values, such as `name` and `store`. They are not read as YAML.
        runs_here: false if the run may start on another machine, so that a path that exists nowhere is no error.

    Raises:
        ConfigError: the file is missing, cannot be read or is not YAML; an override cannot be parsed; an interpolation
            is not permitted or cannot be resolved; or a key or value is invalid. The message has one line per invalid
            key or value. Or a relative path exists neither in the working directory nor in the folder of the YAML file.
        TransientError: the YAML file is not on the local disk, and the network or the server fails.
    """
    layers = (*map(parse_override, overrides), dict(given or {}))
    values = resolve_interpolations(reduce(_merged, layers, _from_file(path)))
    config = _checked({str(key): value for key, value in values.items()})
    return _next_to(config, parent(absolute(path)), runs_here)


def _next_to(config: RunConfig, folder: str, runs_here: bool, keys: Collection[str] | None = None) -> RunConfig:
    """Return a config in which each relative path that exists only in a folder is the absolute path of this place.

    Args:
        config: the config; left unchanged.
        folder: the folder.
        runs_here: as for `read_config`.
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
        if exists(other := _inside(folder, path)):
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
    return _updated(
        config, {setting.key: found[setting.key] for setting in settings if found[setting.key] != setting.value}
    )


def config_of_overrides(values: Mapping[str, Any], overrides: Sequence[str]) -> RunConfig:
    """Return a config without a file, for code that reads no data set. Make its store and weights absolute.

    Args:
        values: nested dict of plain values.
        overrides: strings `key=value` that replace values, as for `read_config`.

    Raises:
        ConfigError: an override cannot be parsed, or a key or value is invalid; one line per key.
    """
    config = with_model_settings(parse_config(reduce(_merged, map(parse_override, overrides), dict(values))))
    weights = _file_or_name(config.clip.pretrained, "clip.pretrained")
    clip = config.clip.model_copy(update={"pretrained": weights})
    return config.model_copy(update={"store": _absolute(config.store, "store"), "clip": clip})


def _inside(folder: str, path: str) -> str:
    """Return the normalised path or URI of a file below a folder, or next to it if the path has `..`."""
    protocol, mark, rest = folder.rpartition("://")
    return f"{protocol}{mark}{posixpath.normpath(join(rest, path))}"


def _merged(values: Any, others: Any) -> Any:
    """Return `others`. If both arguments are mappings, add the keys that only `values` has, at every depth."""
    if not (isinstance(values, dict) and isinstance(others, dict)):
        return others
    return {**values, **{key: _merged(values.get(key), other) for key, other in others.items()}}


def _checked(values: dict[str, Any]) -> RunConfig:
    """Build a config. One ConfigError reports all invalid values, including an unknown data set format."""
    lines = _unknown_format(values.get("dataset"))
    try:
        config = parse_config(values)
    except ConfigError as exc:
        lines += str(exc).splitlines()
    if lines:
        raise ConfigError("\n".join(sorted(lines)))
    check_dataset(config.dataset)
    return config


def config_of_values(values: Mapping[str, Any], changes: Mapping[str, Any]) -> RunConfig:
    """Check a config whose values do not come from a file, and complete it with `resolve_config`.

    Args:
        values: nested dict of plain values, as in a YAML file.
        changes: nested dict of values that replace those of `values`.

    Raises:
        ConfigError: a key or value is invalid; one line per key.
    """
    return resolve_config(_checked(_merged(dict(values), dict(changes))))


def config_without_data_set(values: Mapping[str, Any], changes: Mapping[str, Any]) -> RunConfig:
    """Check a config for code that reads no data set; see `config_of_values` and `config_of_overrides`."""
    return config_of_overrides(_merged(dict(values), dict(changes)), ())


def read_without_data_set(path: str, changes: Mapping[str, Any], name: str) -> RunConfig:
    """Read a config from a YAML file for code that reads no data set; see `config_of_overrides`.

    Of the relative paths, only those of the vocabulary and of CLIP's weights are looked up, as `read_config` does.

    Args:
        path: path or URI of the YAML file.
        changes: nested dict of values that replace those of the file.
        name: name of the config if the file does not state one.

    Raises:
        ConfigError: as for `read_config`.
        TransientError: the YAML file is not on the local disk, and the network or the server fails.
    """
    values = resolve_interpolations(_merged(_from_file(path), dict(changes)))
    config = config_of_overrides({"name": name, **values}, ())
    return _next_to(config, parent(absolute(path)), runs_here=True, keys=WITHOUT_DATA_SET)


def _unknown_format(dataset: Any) -> list[str]:
    name = dataset.get("format") if isinstance(dataset, dict) else None
    try:
        if isinstance(name, str):
            find_format(name)
    except ConfigError as exc:
        return [str(exc)]
    return []


def check_dataset(dataset: DatasetConfig) -> None:
    """Check that a data set's format exists, and that `root` is set if the format needs it.

    Raises:
        ConfigError: the format does not exist, or the format needs `root` and `root` is not set.
    """
    if find_format(dataset.format).needs_root:
        dataset_root(dataset)


def _from_file(path: str) -> dict[Any, Any]:
    try:
        text = read_text(path)
        check_yaml(text)
        values = OmegaConf.to_container(OmegaConf.load(StringIO(text)))
    except FileNotFoundError as exc:
        raise ConfigError(explain_missing(path)) from exc
    except DatasetError as exc:
        raise ConfigError(str(exc)) from exc
    except GrammarParseError as exc:
        raise interpolation_error(exc) from exc
    except OmegaConfBaseException as exc:
        reason = str(exc).partition("\n")[0]
        raise ConfigError(f"{path}: use text as keys, and text, numbers and lists as values ({reason})") from exc
    except (YAMLError, ValueError, OSError) as exc:
        raise ConfigError(f"{path}: {_one_line(exc)}") from exc
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected keys and values, got a list")
    return values


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def with_date_and_time(config: RunConfig) -> RunConfig:
    """Replace {date} and {time} in the run's name with the current date and time."""
    now = datetime.now()
    name = config.name.replace("{date}", f"{now:%Y-%m-%d}").replace("{time}", f"{now:%H%M%S}")
    return config.model_copy(update={"name": name})


def resolve_config(config: RunConfig) -> RunConfig:
    """Replace {date} and {time} in the run's name, make relative paths absolute, and check the data set's format.

    The settings that belong to the model replace the defaults of keys that the config does not set.

    If `dataset.root` is not set and the format has a default folder in the store, `dataset.root` becomes that folder.

    Raises:
        ConfigError: the data set's format does not exist; the format needs `root` and `root` is not set; or a path or
            URI is mistyped.
    """
    config = with_date_and_time(with_model_settings(config))
    check_dataset(config.dataset)
    store = _absolute(config.store, "store")
    folder = find_format(config.dataset.format).folder_in_store
    values = {setting.key: setting.changed(partial(_resolved, setting)) for setting in path_settings(config)}
    if config.dataset.root is None and folder:
        values["dataset.root"] = join(store, folder)
    return _updated(config.model_copy(update={"store": store}), values)


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


def _updated(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
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


def _resolved(setting: PathSetting, text: str) -> str:
    """Return a path as an absolute path, and a name or URI unchanged."""
    checked = checked_location(text, setting.key)
    is_path = Path(checked).is_file() if setting.is_path is None else setting.is_path
    return _absolute(checked, setting.key) if is_path else checked


def _is_list(dataset: DatasetConfig, split: str) -> bool:
    """Return whether `split` is the path of a list file, and not the name of a split."""
    return find_format(dataset.format).split_is_a_path or _is_path(split, LIST_SUFFIXES)


def _file_or_name(weights: str, key: str) -> str:
    return _resolved(PathSetting(key, weights, is_path=None), weights)


def _is_path(text: str, suffixes: tuple[str, ...]) -> bool:
    return "/" in text or posixpath.splitext(text)[1].lower() in suffixes


def _absolute(uri: str, key: str) -> str:
    checked = checked_location(uri, key)
    return checked if is_uri(checked) else str(Path(checked).absolute())
