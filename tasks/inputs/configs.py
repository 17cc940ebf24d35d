"""Configurations from YAML files and the command line."""

import posixpath
from collections.abc import Mapping, Sequence
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any, overload

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from clipes.tasks.storage.user_files import join, read_text
from clipes_core.config.run import DatasetConfig, RunConfig, parse_config
from clipes_core.errors import ConfigError, DatasetError

LIST_SUFFIXES = (".txt", ".csv", ".parquet", ".json")


def load_config(path: str, overrides: Sequence[str] = (), given: Mapping[str, str] | None = None) -> RunConfig:
    """As `read_config`, with its name and paths resolved."""
    return resolved(read_config(path, overrides, given))


def read_config(path: str, overrides: Sequence[str] = (), given: Mapping[str, str] | None = None) -> RunConfig:
    """Read a YAML, lay overrides and given values over it, and check it.

    Args:
        path: of the YAML; any fsspec URI.
        overrides: `key=value` with a dotted key and a YAML value; the last one wins.
        given: texts of top-level keys, such as `name` and `store`, taken as they are; they win over all.

    Raises:
        ConfigError: the file is missing or no YAML, an override has no `=`, or a key or value
            cannot be used; one line per bad key.
    """
    try:
        merged = OmegaConf.merge(_from_file(path), *map(_from_override, overrides), dict(given or {}))
        values = OmegaConf.to_container(merged, resolve=True)
    except OmegaConfBaseException as exc:
        raise ConfigError(f"{path}: {_one_line(exc)}") from exc
    assert isinstance(values, dict)  # both sides of the merge are
    return parse_config({str(key): value for key, value in values.items()})


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


def resolved(config: RunConfig) -> RunConfig:
    """The same configuration, {date} and {time} filled in and paths made absolute against the working directory."""
    dataset, evaluation, now, store = config.dataset, config.evaluation, datetime.now(), _absolute(config.store)
    made_here = join(store, "scenes") if dataset.format == "scenes" else None
    paths: dict[str, Any] = {
        "root": _absolute(dataset.root) or made_here,
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
    trained_as = {"mmseg_config": _absolute(recipe) if recipe.endswith(".py") else recipe, "init": config.train.init}
    if config.train.init is not None:
        trained_as["init"] = _file_or_name(config.train.init)
    return config.model_copy(
        update={
            "name": config.name.replace("{date}", f"{now:%Y-%m-%d}").replace("{time}", f"{now:%H%M%S}"),
            "store": store,
            "dataset": dataset.model_copy(update=paths),
            "clip": config.clip.model_copy(update={"pretrained": _file_or_name(config.clip.pretrained)}),
            "train": config.train.model_copy(update=trained_as),
            "evaluation": evaluation.model_copy(update=other_paths),
        }
    )


def _split(dataset: DatasetConfig, split: str) -> str:
    """A split's name as it is, the path of a list absolute."""
    return _absolute(split) if dataset.format == "list" or _is_path(split, LIST_SUFFIXES) else split


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
