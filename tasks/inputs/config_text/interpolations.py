"""Check and resolve the interpolations of a config, such as `${name}` and `${oc.env:CLIPES_DATA}`.

A config may come from somebody else, and run.json, the report and Prefect record its values. A config may therefore
read only the environment variables that `check_interpolations` permits: any other may hold a password.
"""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import GrammarParseError, InterpolationKeyError, OmegaConfBaseException

from clipes_core.config.run import config_texts
from clipes_core.errors import ConfigError

OWN_PREFIX = "CLIPES_"
HARMLESS_VARIABLES = ("HOME", "HOSTNAME", "PWD", "TMPDIR", "USER")
ADVICE = (
    f"a config may use ${{KEY}} for another key that it sets, and ${{oc.env:NAME}} for the environment variables "
    f"{', '.join(HARMLESS_VARIABLES)} and those whose names start with {OWN_PREFIX}, because files of the run record "
    "the values"
)
_VARIABLE = rf"(?:{OWN_PREFIX}\w*|{'|'.join(HARMLESS_VARIABLES)})"
PERMITTED = re.compile(rf"\$\{{(?:[\w.\-\[\]]+|oc\.env:{_VARIABLE}(?:,\s*[^$}}\s][^$}}]*)?)\}}")
REFERENCE = re.compile(r"\$\{(\.*)([\w.\-\[\]]+)\}")
WITHOUT_DEFAULT = re.compile(r"\$\{oc\.env:(\w+)\}")


def resolve_interpolations(values: dict[Any, Any]) -> dict[Any, Any]:
    """Return a config in which each interpolation is replaced by the value for which it stands.

    Raises:
        ConfigError: an interpolation is not permitted or cannot be resolved. The message names the key, and repeats no
            value. It does not name keys that only refer to such a key.
    """
    check_interpolations(values)
    try:
        config = OmegaConf.create(values)
    except GrammarParseError as exc:
        raise interpolation_error(exc) from exc
    try:
        resolved = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as exc:
        causes = list(_first_errors(config, dict(config_texts(values)))) or [exc]
        raise ConfigError("\n".join(sorted(str(interpolation_error(cause)) for cause in causes))) from exc
    assert isinstance(resolved, dict)  # because `values` is a dict
    return resolved


def _first_errors(config: Any, texts: Mapping[str, str]) -> Iterator[OmegaConfBaseException]:
    """Yield the error of each text that cannot be resolved, unless the text refers to another one of these texts.

    Args:
        config: the config, as omegaconf represents it.
        texts: dotted key -> text in the config.
    """
    errors = {}
    for key in texts:
        try:
            OmegaConf.select(config, key)
        except OmegaConfBaseException as exc:
            errors[key] = exc
    for key, error in errors.items():
        places = [f"{place}." for place in _references(key, texts[key])]
        others = [f"{other}." for other in errors]
        if not any(other.startswith(place) or place.startswith(other) for place in places for other in others):
            yield error


def _references(key: str, text: str) -> Iterator[str]:
    """Yield the dotted keys to which the interpolations in a text refer. A reference such as `..b` is relative."""
    for dots, name in REFERENCE.findall(text):
        folder = key.split(".")[: -len(dots)] if dots else []
        yield ".".join([*folder, *name.replace("[", ".").replace("]", "").split(".")])


def interpolation_error(error: OmegaConfBaseException) -> ConfigError:
    """Return an error for the key whose interpolation omegaconf cannot read or resolve."""
    if isinstance(error, GrammarParseError):
        fault = "cannot be read"
    elif isinstance(error, InterpolationKeyError):
        fault = "names a key that the config does not set"
    else:
        fault = "cannot be resolved, for example because it refers to itself"
    return ConfigError(f"{error.full_key}: its interpolation {fault}; {ADVICE}")


def check_interpolations(values: Any) -> None:
    """Check the interpolations in all texts of a config, before they are resolved.

    Raises:
        ConfigError: an interpolation is not permitted, or names an environment variable that is not set. The message
            has one line per key, and repeats no value.
    """
    faults = [f"{key}: {fault}" for key, text in config_texts(values) if (fault := _fault(text))]
    if faults:
        raise ConfigError("\n".join(sorted(faults)))


def _fault(text: str) -> str | None:
    if "${" in PERMITTED.sub("", text):
        return f"its interpolation is not permitted; {ADVICE}"
    unset = next((name for name in WITHOUT_DEFAULT.findall(text) if name not in os.environ), None)
    return unset and f"the environment variable {unset} is not set; set it, or write ${{oc.env:{unset},DEFAULT}}"
