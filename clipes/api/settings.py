"""Turn the arguments of the Python functions into a configuration."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipes.tasks.inputs.configs import config_of_values, config_without_data_set, load_config, read_without_data_set
from clipes.tasks.machine.shipped_files import CLIP_MODELS
from clipes_core.config.run import RunConfig
from clipes_core.errors import ConfigError

ConfigSource = str | os.PathLike[str] | Mapping[str, Any] | RunConfig
SHORT_NAMES = {"demo": "clipes-demo"}  # short name of a model that clipes ships -> its name
UNNAMED = "masker"  # name of a config that belongs to no run; it occurs in no result


def run_config(config: ConfigSource, changes: Mapping[str, Any]) -> RunConfig:
    """Return the configuration of a run, with its paths resolved.

    Args:
        config: path or URI of a YAML file, a nested dict like the content of such a file, or a configuration.
        changes: nested dict of values that replace those of `config`.

    Raises:
        ConfigError: the file cannot be read, or a key or value is invalid; one line per key.
    """
    if isinstance(config, str | os.PathLike):
        return load_config(os.fspath(config), (), changes)
    return config_of_values(_values(config), changes)


def masker_config(config: ConfigSource | None, changes: Mapping[str, Any]) -> RunConfig:
    """Return the configuration of a masker, which needs no data set and no name; see `run_config`."""
    if isinstance(config, str | os.PathLike):
        return read_without_data_set(os.fspath(config), changes, UNNAMED)
    values = {"name": UNNAMED} if config is None else {"name": UNNAMED, **_values(config)}
    return config_without_data_set(values, changes)


def clip_values(model: str | None, device: str | None) -> dict[str, str]:
    """Return the values of the section `clip` for a model and a device; without values that are None.

    The weights of a model that clipes ships have the name of the model.

    Args:
        model: demo, or a value of `clip.model`.
        device: a value of `clip.device`.
    """
    values = {} if device is None else {"device": device}
    if model is None:
        return values
    name = SHORT_NAMES.get(model, model)
    shipped = Path(name).name == name and (CLIP_MODELS / f"{name}.safetensors").is_file()
    return {**values, "model": name, **({"pretrained": name} if shipped else {})}


def _values(config: Mapping[str, Any] | RunConfig) -> dict[str, Any]:
    """Return the values that a config states, without the defaults, which may depend on other values."""
    if isinstance(config, RunConfig):
        return config.model_dump(exclude_unset=True)
    if not isinstance(config, Mapping):
        raise ConfigError(f"config: expected a path, a dict or a RunConfig, got {type(config).__name__}")
    return dict(config)
