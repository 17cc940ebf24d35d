"""Read configs from YAML files and the command line, check them, and resolve their paths."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import reduce
from io import StringIO
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import GrammarParseError, OmegaConfBaseException
from yaml import YAMLError

from clipes.tasks.inputs.config_text.interpolations import interpolation_error, resolve_interpolations
from clipes.tasks.inputs.config_text.missing_file import explain_missing
from clipes.tasks.inputs.config_text.overrides import parse_override
from clipes.tasks.inputs.config_text.paths import (
    absolute_file_or_name,
    absolute_location,
    with_absolute_paths,
    with_paths_next_to,
)
from clipes.tasks.inputs.config_text.shipped_settings import with_model_settings
from clipes.tasks.inputs.config_text.yaml_text import check_yaml
from clipes.tasks.inputs.datasets.entries import dataset_root
from clipes.tasks.inputs.datasets.formats import find_format
from clipes.tasks.storage.user_files import absolute, join, parent, read_text
from clipes_core.config.dataset import DatasetConfig
from clipes_core.config.run import RunConfig, parse_config
from clipes_core.errors import ConfigError, DatasetError

WITHOUT_DATA_SET = ("dataset.classes", "clip.pretrained")  # files that are read even if no data set is


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
    return with_paths_next_to(config, parent(absolute(path)), runs_here)


def config_of_overrides(values: Mapping[str, Any], overrides: Sequence[str]) -> RunConfig:
    """Return a config without a file, for code that reads no data set. Make its store and weights absolute.

    Args:
        values: nested dict of plain values.
        overrides: strings `key=value` that replace values, as for `read_config`.

    Raises:
        ConfigError: an override cannot be parsed, or a key or value is invalid; one line per key.
    """
    config = with_model_settings(parse_config(reduce(_merged, map(parse_override, overrides), dict(values))))
    weights = absolute_file_or_name(config.clip.pretrained, "clip.pretrained")
    clip = config.clip.model_copy(update={"pretrained": weights})
    return config.model_copy(update={"store": absolute_location(config.store, "store"), "clip": clip})


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
    return with_paths_next_to(config, parent(absolute(path)), runs_here=True, keys=WITHOUT_DATA_SET)


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
    store = absolute_location(config.store, "store")
    config = with_absolute_paths(config)
    dataset, folder = config.dataset, find_format(config.dataset.format).folder_in_store
    if dataset.root is None and folder:
        dataset = dataset.model_copy(update={"root": join(store, folder)})
    return config.model_copy(update={"store": store, "dataset": dataset})
