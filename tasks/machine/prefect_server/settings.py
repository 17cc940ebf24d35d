"""Load Prefect, and check the settings that it reads.

Prefect is imported inside the functions, because it reads the user's settings when it is imported, and these may be
invalid.
"""

import io
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

from clipes.tasks.machine.prefect_server.errors import describe_error, translate_prefect_errors
from clipes.tasks.machine.terminal import announce
from clipes_core.errors import ConfigError, StorageError

logger = logging.getLogger(__name__)


def load_prefect() -> None:
    """Import Prefect, which reads its settings, and log its warnings about them.

    Raises:
        ConfigError: Prefect cannot use its settings.
    """
    printed = io.StringIO()  # Prefect prints some warnings, and warns of the cause of some errors before it raises them
    with (
        announce("loading Prefect"),
        warnings.catch_warnings(record=True) as caught,
        redirect_stderr(printed),
        translate_prefect_errors(),
    ):
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        from prefect.settings import PREFECT_HOME

        PREFECT_HOME.value()
    for text in (*(str(warning.message) for warning in caught), printed.getvalue()):
        if words := " ".join(text.split()):
            logger.warning("Prefect: %s", words)


def check_home(home: Path) -> None:
    """Create the folder PREFECT_HOME if it does not exist, and check that files can be written to it.

    Raises:
        ConfigError: the folder cannot be used.
    """
    with translate_home_errors(home):
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home) as file:
            file.write(b"clipes")


@contextmanager
def translate_home_errors(home: Path) -> Iterator[None]:
    """Turn an error of the block, which uses files in the folder PREFECT_HOME, into one that says what to do.

    Raises:
        ConfigError: the folder cannot be used.
    """
    try:
        yield
    except (OSError, StorageError) as exc:
        reason = (exc.strerror if isinstance(exc, OSError) else None) or describe_error(exc)
        advice = "set PREFECT_HOME to a folder with free space, to which you can write"
        raise ConfigError(f"PREFECT_HOME: cannot use {home} ({reason}): {advice}") from exc


def url_setting() -> str:
    """Return the name of the setting PREFECT_API_URL, and the profile that sets it, unless the environment sets it."""
    from prefect.context import get_settings_context
    from prefect.settings import PREFECT_API_URL

    profile = get_settings_context().profile
    if PREFECT_API_URL.name in os.environ or PREFECT_API_URL not in profile.settings:
        return PREFECT_API_URL.name
    return f"{PREFECT_API_URL.name} in the profile {profile.name} of {profile.source}"
