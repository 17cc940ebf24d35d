"""Decide which interpolations a config may contain, such as `${name}` and `${oc.env:CLIPES_DATA}`.

A config may come from somebody else, and run.json, the report and Prefect record its values. A config may therefore
read only the environment variables that `check_interpolations` permits: any other may hold a password.
"""

import re
from typing import Any

from clipes_core.config.run import config_texts
from clipes_core.errors import ConfigError

OWN_PREFIX = "CLIPES_"
HARMLESS_VARIABLES = ("HOME", "HOSTNAME", "PWD", "TMPDIR", "USER")
ADVICE = (
    f"a config may use ${{KEY}} for another key, and ${{oc.env:NAME}} for the environment variables "
    f"{', '.join(HARMLESS_VARIABLES)} and those whose names start with {OWN_PREFIX}, because files of the run record "
    "the values"
)
_VARIABLE = rf"(?:{OWN_PREFIX}\w*|{'|'.join(HARMLESS_VARIABLES)})"
PERMITTED = re.compile(rf"\$\{{(?:[\w.\-\[\]]+|oc\.env:{_VARIABLE}(?:,[^$}}]*)?)\}}")


def check_interpolations(values: Any) -> None:
    """Check the interpolations in all texts of a config, before they are resolved.

    Raises:
        ConfigError: an interpolation is not permitted. The message has one line per key, and repeats no value.
    """
    refused = [key for key, text in config_texts(values) if "${" in PERMITTED.sub("", text)]
    if refused:
        raise ConfigError("\n".join(f"{key}: its interpolation is not permitted; {ADVICE}" for key in sorted(refused)))
