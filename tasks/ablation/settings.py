"""Settings of variants: dotted config keys and their values."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from clipes_core.errors import ConfigError

Settings = Mapping[str, Any]  # dotted config key -> value


def flat_settings(values: Any, prefix: str = "") -> Any:
    """Return dotted key -> value of settings, which may be nested. None stands for no settings.

    Raises:
        ValueError: the values are no mapping, or a setting occurs twice, once with a dotted key and once nested.
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise ValueError("expected settings, such as {cam.refine: mhsa}")
    flat: dict[Any, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}" if isinstance(key, str) else key
        own = flat_settings(value, f"{name}.") if isinstance(value, Mapping) and isinstance(key, str) else {name: value}
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
                raise ConfigError(f"{key}: {section} has a value of its own; delete one of them")
        place[name] = value
    return nested


FlatSettings = Annotated[dict[str, Any], BeforeValidator(flat_settings)]
