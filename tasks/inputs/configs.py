"""Read configs from YAML files and the command line, check them, and resolve their paths."""

import posixpath
from collections.abc import Mapping, Sequence
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any, overload

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from clipes.tasks.inputs.datasets.entries import dataset_root
from clipes.tasks.inputs.datasets.formats import find_format
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
        overrides: strings `key=value`, where the key is dotted and the value is YAML. If a key occurs twice, the last
            value wins.
        given: values of top-level keys, such as `name` and `store`. These values are plain text, not YAML.

    Raises:
        ConfigError: the file is missing, cannot be read or is not YAML, an override has no `=`, or a key or value is
            invalid. The message has one line per invalid key or value.
    """
    try:
        merged = OmegaConf.merge(_from_file(path), *map(_from_override, overrides), dict(given or {}))
        values = OmegaConf.to_container(merged, resolve=True)
    except OmegaConfBaseException as exc:
        raise ConfigError(f"{path}: {_one_line(exc)}") from exc
    assert isinstance(values, dict)  # because _from_file returns a DictConfig
    return _checked({str(key): value for key, value in values.items()})


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


def _from_file(path: str) -> DictConfig:
    try:
        values = OmegaConf.load(StringIO(read_text(path)))
    except FileNotFoundError as exc:
        raise ConfigError(f"{path}: there is no such config file") from exc
    except DatasetError as exc:
        raise ConfigError(str(exc)) from exc
    except (OmegaConfBaseException, YAMLError, ValueError, OSError) as exc:
        raise ConfigError(f"{path}: {_one_line(exc)}") from exc
    if not isinstance(values, DictConfig):
        raise ConfigError(f"{path}: expected keys and values, got a list")
    return values


def _from_override(override: str) -> DictConfig:
    key, separator, _ = override.partition("=")
    if not key or not separator:
        raise ConfigError(f"--set {override}: write it as key=value, for example --set cam.power=1")
    try:
        return OmegaConf.from_dotlist([override])
    except (OmegaConfBaseException, YAMLError) as exc:
        raise ConfigError(f"--set {override}: {_one_line(exc)}; put the value in quotes: '{key}=\"...\"'") from exc


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def resolve_config(config: RunConfig) -> RunConfig:
    """Replace {date} and {time} in the run's name, make relative paths absolute, and check the data set's format.

    If `dataset.root` is not set and the format has a default folder in the store, `dataset.root` becomes that folder.

    Raises:
        ConfigError: the data set's format does not exist, or the format needs `root` and `root` is not set.
    """
    check_dataset(config.dataset)
    dataset, evaluation, now, store = config.dataset, config.evaluation, datetime.now(), _absolute(config.store)
    folder = find_format(dataset.format).folder_in_store
    paths: dict[str, Any] = {
        "root": _absolute(dataset.root) or (join(store, folder) if folder else None),
        "truth": _absolute(dataset.truth),
        "split": _split(dataset, dataset.split),
        "classes": _absolute(dataset.classes) if _is_path(dataset.classes, (".yaml", ".yml")) else dataset.classes,
    }
    other_paths: dict[str, Any] = {
        "root": _absolute(evaluation.root),
        "truth": _absolute(evaluation.truth),
        "split": None if evaluation.split is None else _split(dataset, evaluation.split),
    }
    recipe = config.train.mmseg_config
    training = {"mmseg_config": _absolute(recipe) if recipe.endswith(".py") else recipe, "init": config.train.init}
    if config.train.init is not None:
        training["init"] = _file_or_name(config.train.init)
    return config.model_copy(
        update={
            "name": config.name.replace("{date}", f"{now:%Y-%m-%d}").replace("{time}", f"{now:%H%M%S}"),
            "store": store,
            "dataset": dataset.model_copy(update=paths),
            "clip": config.clip.model_copy(update={"pretrained": _file_or_name(config.clip.pretrained)}),
            "train": config.train.model_copy(update=training),
            "evaluation": evaluation.model_copy(update=other_paths),
        }
    )


def _split(dataset: DatasetConfig, split: str) -> str:
    """Return `split`. If it is the path of a list file, and not the name of a split, make the path absolute."""
    is_path = find_format(dataset.format).split_is_a_path or _is_path(split, LIST_SUFFIXES)
    return _absolute(split) if is_path else split


def _file_or_name(weights: str) -> str:
    return _absolute(weights) if Path(weights).expanduser().is_file() else weights


def _is_path(text: str, suffixes: tuple[str, ...]) -> bool:
    return "/" in text or posixpath.splitext(text)[1].lower() in suffixes


@overload
def _absolute(uri: str) -> str: ...
@overload
def _absolute(uri: None) -> None: ...
def _absolute(uri: str | None) -> str | None:
    if uri is None or "://" in uri:
        return uri
    return str(Path(uri).expanduser().absolute())
