"""Write a config as YAML: as it is given, with remarks about the defaults, or completely."""

import math
from collections.abc import Iterator
from typing import Any

import yaml
from omegaconf import OmegaConf
from pydantic.fields import FieldInfo

from clipes_core.config.run import RunConfig
from clipes_core.config.section import Section
from clipes_core.errors import ConfigError

INDENT = "  "
MISSING = "???"  # omegaconf: a value that is still to be set
OPTIONS: dict[str, Any] = {"allow_unicode": True, "width": math.inf}


def complete_yaml(config: RunConfig) -> str:
    """Return a YAML text with every setting of a config. `clipes run` accepts it again."""
    return "\n".join(_lines(config, "", every=True)) + "\n"


def given_yaml(config: RunConfig) -> str:
    """Return a YAML text with the settings that a config states. Each line says what the default is."""
    return "\n".join(_lines(config, "", every=False)) + "\n"


def value_yaml(value: Any, inside: bool = False) -> str:
    """Return a plain value as YAML writes it on one line.

    Args:
        value: text, a number, true, false, null, or a list or mapping of such values.
        inside: true for an item of a list or mapping, in which more texts need quotes.

    Raises:
        ConfigError: a config cannot have this text as a value, because it would be read as a reference.
    """
    if isinstance(value, str) and ("${" in value or value == MISSING):
        raise ConfigError(f"a config cannot contain the text {value!r}, because ${{ and {MISSING} are references there")
    if isinstance(value, list):
        return f"[{', '.join(value_yaml(item, inside=True) for item in value)}]"
    if isinstance(value, dict):
        pairs = (f"{value_yaml(key, inside=True)}: {value_yaml(item, inside=True)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    text = item_yaml(value) if inside else yaml.safe_dump(value, **OPTIONS).removesuffix("...\n").strip()
    if isinstance(value, str) and OmegaConf.create(f"value: {text}").value != value:  # such as 1e5: a number there
        return yaml.safe_dump(value, default_style="'", **OPTIONS).strip()
    return text


def item_yaml(value: Any) -> str:
    """Return a plain value as YAML writes it on one line in a list, for files that are read as plain YAML.

    A config is no plain YAML, because it may have interpolations; see `value_yaml`.
    """
    return yaml.safe_dump([value], default_flow_style=True, **OPTIONS).strip()[1:-1]


def plain(value: Any) -> Any:
    """Return the value of a setting as YAML has it: without tuples and sections."""
    if isinstance(value, Section):
        return value.model_dump(mode="json")
    return list(value) if isinstance(value, tuple) else value


def _lines(section: Section, indent: str, every: bool) -> Iterator[str]:
    """Yield the lines of a section: all settings, or only those that are stated, with a remark."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if not every and name not in section.model_fields_set:
            continue
        if isinstance(value, Section):
            yield f"{indent}{name}:"
            yield from _lines(value, indent + INDENT, every)
        else:
            yield f"{indent}{name}: {value_yaml(plain(value))}{'' if every else _remark(field, value)}"
    for name, value in (section.model_extra or {}).items():  # the settings of a runner
        yield f"{indent}{name}: {value_yaml(plain(value))}"


def _remark(field: FieldInfo, value: Any) -> str:
    if field.is_required():
        return ""
    default = field.get_default(call_default_factory=True)
    return "  # the default" if value == default else f"  # default: {value_yaml(plain(default))}"
