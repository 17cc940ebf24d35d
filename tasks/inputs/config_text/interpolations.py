"""Check and resolve the interpolations of a config, such as `${name}` and `${oc.env:CLIPES_DATA}`.

A config may come from somebody else, and run.json, the report and Prefect record its values. A config may therefore
read only the environment variables that `check_interpolations` permits: any other may hold a password.
"""

import os
import re
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
WITHOUT_DEFAULT = re.compile(r"\$\{oc\.env:(\w+)\}")


def resolve_interpolations(values: dict[Any, Any]) -> dict[Any, Any]:
    """Return a config in which each interpolation is replaced by the value for which it stands.

    Raises:
        ConfigError: an interpolation is not permitted or cannot be resolved. The message names the key, and repeats no
            value.
    """
    check_interpolations(values)
    try:
        resolved = OmegaConf.to_container(OmegaConf.create(values), resolve=True)
    except OmegaConfBaseException as exc:
        raise interpolation_error(exc) from exc
    assert isinstance(resolved, dict)  # because `values` is a dict
    return resolved


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
