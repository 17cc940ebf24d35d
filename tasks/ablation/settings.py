"""Settings of variants: dotted config keys and their values."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from clipes_core.config.run import config_values
from clipes_core.errors import ConfigError

Settings = Mapping[str, Any]  # dotted config key -> value
OF_ABLATION = ("name", "store")  # settings that an ablation gives to its runs


def flat_settings(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return dotted key -> value of settings, which may be nested.

    Raises:
        ValueError: a setting occurs twice, once with a dotted key and once nested.
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        own = flat_settings(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
        if twice := sorted(flat.keys() & own.keys()):
            raise ValueError(f"the setting {twice[0]} occurs twice")
        flat |= own
    return flat


def nested_settings(settings: Settings) -> dict[str, Any]:
    """Return settings as nested mappings, as a config has them.

    Raises:
        ConfigError: a setting has a value and also settings below it.
    """
    nested: dict[str, Any] = {}
    for key, value in sorted(settings.items()):  # sorted, so that a section comes before its own settings
        *sections, name = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise ConfigError(f"{key}: {section} also has a value; delete one of the two settings")
        place[name] = value
    return nested


def _settings_of_grid(values: Any) -> dict[str, Any]:
    """Return dotted key -> value of the settings in the file of a grid; raise ValueError if they cannot be used."""
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise ValueError("expected settings, such as {cam.refine: mhsa}")
    _check_keys(values)
    settings = flat_settings(values)
    for key, value in settings.items():
        if key in OF_ABLATION:
            raise ValueError(f"{key} is the same for all runs; use the option --{key}")
        for _, item in config_values(value):
            if not isinstance(item, str | int | float | None):  # YAML also has dates, for example
                raise ValueError(f"{key}: YAML reads a value as {item!r}; put text in quotes")
    return settings


def _check_keys(values: Mapping[Any, Any]) -> None:
    for key, value in values.items():
        if not isinstance(key, str) or not re.match(r"[^\W\d]", key) or not key.isprintable():
            raise ValueError(f"{key!r} is not a setting; write settings such as {{cam.refine: mhsa}}")
        if isinstance(value, Mapping):
            _check_keys(value)


FlatSettings = Annotated[dict[str, Any], BeforeValidator(_settings_of_grid)]
