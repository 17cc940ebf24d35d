"""The settings of Prefect that clipes chooses. Prefect reads them from the environment when it is imported."""

import logging
import os
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

DO_NOT_TRACK, ANALYTICS = "DO_NOT_TRACK", "PREFECT_SERVER_ANALYTICS_ENABLED"
CONSOLE_LEVEL, INTERNAL_LEVEL = "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "PREFECT_LOGGING_INTERNAL_LEVEL"
NO = ("0", "false", "no", "off")
DEFAULTS = {
    DO_NOT_TRACK: "1",  # Prefect's client sends no usage data
    ANALYTICS: "false",  # neither does a server that clipes starts
    CONSOLE_LEVEL: "CRITICAL",  # the command itself reports failures
    INTERNAL_LEVEL: "CRITICAL",  # also failures of threads that send logs and events to the server
}
RESTORED = (*DEFAULTS, "no_proxy", "NO_PROXY")  # clipes adds this host to the last two when it uses a server


def choose_settings(environment: MutableMapping[str, str]) -> None:
    """Add the settings that the environment lacks; call this before Prefect is imported.

    If the user has set DO_NOT_TRACK, it also applies to the server, which does not read it, and any spelling of "yes"
    counts, of which Prefect's client knows only some.

    Args:
        environment: environment variables of this process; changed in place.
    """
    wish = environment.get(DO_NOT_TRACK, "").strip().lower()
    if not wish:
        environment.pop(DO_NOT_TRACK, None)
    elif wish not in NO:
        environment.update({DO_NOT_TRACK: "1", ANALYTICS: "false"})
    for name, value in DEFAULTS.items():
        environment.setdefault(name, value)


@contextmanager
def use_settings() -> Iterator[None]:
    """Use the chosen settings in this process, and in those that it starts, while the block runs.

    This also works if Prefect was imported before. After the block, the environment variables and the loggers of
    Prefect are as they were before it.

    Raises:
        ConfigError: Prefect cannot use the settings of the user.
    """
    before = {name: os.environ.get(name) for name in RESTORED}
    chosen = dict(os.environ)
    choose_settings(chosen)
    try:
        os.environ.update({name: chosen[name] for name in (DO_NOT_TRACK, ANALYTICS)})
        with _use_levels(chosen[CONSOLE_LEVEL], chosen[INTERNAL_LEVEL]):
            os.environ.update({name: chosen[name] for name in DEFAULTS})
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _use_levels(console: str, internal: str) -> Iterator[None]:
    """Let Prefect write only messages of at least these levels to the console of this process while the block runs."""
    from clipes.tasks.machine.prefect_server.settings import load_prefect

    load_prefect()
    import prefect.main  # noqa: F401  # configures the loggers, which would keep the levels if the block imported it
    from prefect.logging.handlers import PrefectConsoleHandler
    from prefect.settings import PREFECT_LOGGING_INTERNAL_LEVEL, temporary_settings

    handlers = [each for each in logging.getLogger().handlers if isinstance(each, PrefectConsoleHandler)]
    levels = [each.level for each in handlers]
    with temporary_settings({PREFECT_LOGGING_INTERNAL_LEVEL: internal}):
        try:
            for handler in handlers:
                handler.setLevel(console)
            yield
        finally:
            for handler, level in zip(handlers, levels, strict=True):
                handler.setLevel(level)
