"""Read configs from YAML files and the command line, check them, and resolve their paths."""

import posixpath
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import reduce
from io import StringIO
from pathlib import Path
from typing import Any, overload

from omegaconf import OmegaConf
from omegaconf.errors import GrammarParseError, OmegaConfBaseException
from yaml import YAMLError

from clipes.tasks.inputs.config_text.interpolations import interpolation_error, resolve_interpolations
from clipes.tasks.inputs.config_text.overrides import parse_override
from clipes.tasks.inputs.config_text.shipped_settings import with_model_settings
from clipes.tasks.inputs.config_text.yaml_text import check_yaml
from clipes.tasks.inputs.datasets.entries import dataset_root
from clipes.tasks.inputs.datasets.formats import find_format
from clipes.tasks.inputs.locations import checked_location
from clipes.tasks.storage.user_files import join, read_text
from clipes_core.config.dataset import DatasetConfig
from clipes_core.config.run import RunConfig, parse_config
from clipes_core.errors import ConfigError, DatasetError

LIST_SUFFIXES = (".txt", ".csv", ".parquet", ".json")


def load_config(path: str, overrides: Sequence[str] = (), given: Mapping[str, str] | None = None) -> RunConfig:
    """Read and check a config with `read_config`, and complete it with `resolve_config`."""
    return resolve_config(read_config(path, overrides, given))


def read_config(path: str, overrides: Sequence[str] = (), given: Mapping[str, str] | None = None) -> RunConfig:
    """Read a config from a YAML file, apply `overrides` and then `given` to it, and check the result.

    Args:
        path: path or fsspec URI of the YAML file.
        overrides: strings `key=value`, as `parse_override` reads them. If a key occurs twice, the last value wins.
        given: values of top-level keys, such as `name` and `store`. These values are plain text, not YAML.

    Raises:
        ConfigError: the file is missing, cannot be read or is not YAML; an override cannot be parsed; an interpolation
            is not permitted or cannot be resolved; or a key or value is invalid. The message has one line per invalid
            key or value.
    """
    layers = (*map(parse_override, overrides), dict(given or {}))
    values = resolve_interpolations(reduce(_merged, layers, _from_file(path)))
    return _checked({str(key): value for key, value in values.items()})


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
        raise ConfigError(f"{path}: there is no such config file") from exc
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


def resolve_config(config: RunConfig) -> RunConfig:
    """Replace {date} and {time} in the run's name, make relative paths absolute, and check the data set's format.

    The settings that belong to the model replace the defaults of keys that the config does not set.

    If `dataset.root` is not set and the format has a default folder in the store, `dataset.root` becomes that folder.

    Raises:
        ConfigError: the data set's format does not exist; the format needs `root` and `root` is not set; or a path or
            URI is mistyped.
    """
    config = with_model_settings(config)
    check_dataset(config.dataset)
    dataset, evaluation, now = config.dataset, config.evaluation, datetime.now()
    store, folder = _absolute(config.store, "store"), find_format(dataset.format).folder_in_store
    recipe, init, weights = config.train.mmseg_config, config.train.init, config.clip.pretrained
    paths: dict[str, Any] = {
        "root": _absolute(dataset.root, "dataset.root") or (join(store, folder) if folder else None),
        "truth": _absolute(dataset.truth, "dataset.truth"),
        "reach": dataset.reach and tuple(_absolute(place, "dataset.reach") for place in dataset.reach),
        "split": _name_or_path(dataset.split, "dataset.split", _is_list(dataset, dataset.split)),
        "classes": _classes(dataset.classes),
    }
    other_paths: dict[str, Any] = {
        "root": _absolute(evaluation.root, "evaluation.root"),
        "truth": _absolute(evaluation.truth, "evaluation.truth"),
        "split": evaluation.split
        and _name_or_path(evaluation.split, "evaluation.split", _is_list(dataset, evaluation.split)),
    }
    training = {
        "mmseg_config": _name_or_path(recipe, "train.mmseg_config", recipe.endswith(".py")),
        "init": init and _file_or_name(init, "train.init"),
    }
    return config.model_copy(
        update={
            "name": config.name.replace("{date}", f"{now:%Y-%m-%d}").replace("{time}", f"{now:%H%M%S}"),
            "store": store,
            "dataset": dataset.model_copy(update=paths),
            "clip": config.clip.model_copy(update={"pretrained": _file_or_name(weights, "clip.pretrained")}),
            "train": config.train.model_copy(update=training),
            "evaluation": evaluation.model_copy(update=other_paths),
        }
    )


def _is_list(dataset: DatasetConfig, split: str) -> bool:
    """Return whether `split` is the path of a list file, and not the name of a split."""
    return find_format(dataset.format).split_is_a_path or _is_path(split, LIST_SUFFIXES)


def _classes(classes: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """Return `classes`. If it is the path of a vocabulary, make the path absolute."""
    if not isinstance(classes, str):
        return classes
    return _name_or_path(classes, "dataset.classes", _is_path(classes, (".yaml", ".yml")))


def _name_or_path(text: str, key: str, is_path: bool) -> str:
    return _absolute(text, key) if is_path else checked_location(text, key)


def _file_or_name(weights: str, key: str) -> str:
    checked = checked_location(weights, key)
    return _absolute(checked, key) if Path(checked).is_file() else checked


def _is_path(text: str, suffixes: tuple[str, ...]) -> bool:
    return "/" in text or posixpath.splitext(text)[1].lower() in suffixes


@overload
def _absolute(uri: str, key: str) -> str: ...
@overload
def _absolute(uri: None, key: str) -> None: ...
def _absolute(uri: str | None, key: str) -> str | None:
    checked = None if uri is None else checked_location(uri, key)
    return checked if checked is None or "://" in checked else str(Path(checked).absolute())
